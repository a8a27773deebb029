//! What the outbox makes of connections that are gone before it knows.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Tcp;
use crate::lab::{Lab as _, Place};
use crate::queue::{Consumer as _, Producer as _, Queue as _};
use crate::wire::frames::FrameConnection;
use crate::wire::peer_queue::QueueFrame;

/// Six consumers have joined and reset their connections, and the producer has not heard of it. On
/// one thread nothing looks at the sockets before the delivery, which tries all of them in turn.
#[tokio::test]
async fn what_was_never_written_is_no_failed_attempt() -> Result<()> {
    let knobs = [("max-attempts".to_owned(), 2), ("fsync".to_owned(), 0)].into();
    let name = format!("hop-{}", std::process::id());
    let place = Place::new(&name, None).with_role("producer-0").with_knobs(knobs);
    let producer = Tcp::open(&place).await?.producer().await?;
    let address = place.peer().await?;
    let mut gone = Vec::new();
    for _ in 0..6 {
        let mut one = TcpStream::connect(&address).await?;
        // Join, with room for one message; the answer says that it has joined.
        one.write_all(&[0, 0, 0, 5, b'J', 0, 0, 0, 1]).await?;
        one.read_exact(&mut [0; 13]).await?;
        one.set_zero_linger()?;
        gone.push(one);
    }
    drop(gone);
    producer.send(Bytes::from_static(b"m")).await?;
    let mut consumer = Tcp::open(&place).await?.consumer(1).await?;
    let delivery = timeout(Duration::from_secs(10), consumer.next()).await??.context("nothing came")?;
    assert_eq!((&delivery.item[..], delivery.attempt), (&b"m"[..], 1));
    consumer.ack(delivery.receipt).await?;
    consumer.close().await?;
    producer.close().await?;
    Tcp::remove(&place).await
}

/// Asks, and waits for an answer of this kind.
async fn ask(
    connection: &mut FrameConnection,
    question: QueueFrame,
    is_answer: fn(&QueueFrame) -> bool,
) -> Result<QueueFrame> {
    connection.put(&[&question.head()])?;
    connection.flush().await?;
    loop {
        let frame = timeout(Duration::from_secs(10), connection.next()).await??.context("it has gone")?;
        let frame = QueueFrame::decode(frame)?;
        if is_answer(&frame) {
            return Ok(frame);
        }
    }
}

/// A consumer is done with a message, and its connection breaks before it can say so: the message is
/// given up. When the consumer is back and acks it, it is no dead letter any more.
#[tokio::test]
async fn what_is_acked_late_is_no_dead_letter() -> Result<()> {
    let knobs = [("max-attempts".to_owned(), 1), ("fsync".to_owned(), 0)].into();
    let name = format!("late-ack-{}", std::process::id());
    let place = Place::new(&name, None).with_role("producer-0").with_knobs(knobs);
    let producer = Tcp::open(&place).await?.producer().await?;
    let address = place.peer().await?;
    producer.send(Bytes::from_static(b"m")).await?;
    let mut consumer = FrameConnection::connect(&address).await?;
    let message = ask(&mut consumer, QueueFrame::Join(1), |frame| matches!(frame, QueueFrame::Message(..)));
    let QueueFrame::Message(id, ..) = message.await? else { unreachable!("it is asked for") };
    drop(consumer);

    let mut back = FrameConnection::connect(&address).await?;
    let found = |frame: &QueueFrame| matches!(frame, QueueFrame::Found(_));
    while ask(&mut back, QueueFrame::Inspect(0), found).await? == QueueFrame::Found(false) {
        tokio::task::yield_now().await;
    }
    ask(&mut back, QueueFrame::Acked(7, vec![id]), |frame| matches!(frame, QueueFrame::Durable(7))).await?;
    assert_eq!(ask(&mut back, QueueFrame::Inspect(0), found).await?, QueueFrame::Found(false));
    drop(back);
    producer.close().await?;
    Tcp::remove(&place).await
}
