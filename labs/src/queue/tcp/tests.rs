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
