//! A peer that joins and then never reads: it costs its own connection, and the others get all
//! that is theirs.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use labs::lab::{Overload, Place};
use labs::pubsub::{PubSub, Publisher as _, Subscriber as _};
use labs::queue::{Consumer as _, Producer as _, Queue};
use labs::topic::Topic;
use labs::{pubsub, queue};
use libtest_mimic::Trial;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Promise;
use super::broken::fault;
use super::hostile::{Connection, addresses, connect, framed, joined, upgraded};
use super::place::Site;
use super::stream::{message, number};

/// A consumer that joins with the largest credit and never reads or settles anything keeps a part of
/// the messages from the others, and gives it back when it is silent for too long.
pub(super) async fn consumer<L: Queue>(site: Site) -> Result<()> {
    const MESSAGES: u64 = 2_000;
    let place = site.place();
    let lab = L::open(&place).await?;
    let producer = lab.producer().await?;
    let address = addresses(&place).pop().context("nothing listens")?;
    let mut deaf = connect(&address).await?;
    let join = [&[b'J'][..], &u32::MAX.to_be_bytes()].concat();
    if L::TRANSPORT == "zeromq" {
        deaf.write_all(&[&joined(b"DEALER")[..], &[0, 5], &join].concat()).await?;
    } else {
        deaf.write_all(&framed(&join)).await?;
    }
    // It is there when it has been answered.
    ensure!(deaf.read(&mut [0; 64]).await? > 0, "no answer to a consumer that joins");
    let body = |number| message(number, 1_000);
    let send = try_join_all((0..MESSAGES).map(|number| producer.send(body(number))));
    let receive = async {
        let mut consumer = lab.consumer(16).await?;
        let mut came = BTreeSet::new();
        while (came.len() as u64) < MESSAGES {
            let delivery = consumer.next().await?.context("nothing can come any more")?;
            came.insert(number(&delivery.item)?);
            consumer.ack(delivery.receipt).await?;
        }
        consumer.close().await
    };
    site.soon("what a deaf consumer was sent comes to another", async { tokio::try_join!(send, receive) })
        .await?;
    drop(deaf);
    site.soon("the producer leaves", producer.close()).await
}

/// A subscriber that never reads. The publisher waits for it, as for each of them, until it has
/// taken nothing for too long; the other has missed nothing then.
async fn subscriber<L: PubSub>(site: Site) -> Result<()> {
    /// More than the kernel buffers for one connection, together.
    const EVENTS: u64 = 1_500;
    const BYTES: usize = 16 << 10;
    let place = site.place();
    let lab = L::open(&place).await?;
    let mut publisher = lab.publisher().await?;
    let _deaf = site.soon("one that will never read subscribes", subscribe::<L>(&place)).await?;
    let mut subscriber = lab.subscriber(&"prefix:".parse()?).await?;
    let publish = async {
        let topic = Topic::new("news")?;
        for event in 0..EVENTS {
            publisher.publish(&topic, message(event, BYTES)).await?;
            publisher.flush().await?;
        }
        anyhow::Ok(())
    };
    let receive = async {
        for expected in 0..EVENTS {
            let event = subscriber.next().await?.context("nothing can come any more")?;
            ensure!(number(&event.body)? == expected, "event {expected} did not come");
        }
        anyhow::Ok(())
    };
    let both = async { tokio::try_join!(publish, receive).map(drop) };
    site.soon("a subscriber gets every event beside one that never reads", both).await?;
    let counted = place.incidents().counts().peers_disconnected;
    ensure!(counted == 1, "{counted} peers were counted, and one never read");
    Ok(())
}

/// Where a publisher waits for its subscribers. Over ØMQ, one that does not read loses what does
/// not fit.
pub(super) fn pub_sub<L: PubSub>() -> Option<Promise> {
    let deaf = |site: Site| subscriber::<L>(site.with(&[("stalled-ms", 500)]));
    (L::OVERLOAD == Overload::Waits).then(|| Promise::of::<L, _>("deaf", deaf))
}

/// Joins by hand, for all events.
async fn subscribe<L: PubSub>(place: &Place) -> Result<Box<dyn Connection>> {
    let address = addresses(place).pop().context("nothing listens")?;
    let mut connection = connect(&address).await?;
    let filter = b"prefix:";
    let mut answer = [0; 1024];
    if L::TRANSPORT == "websocket" {
        let mask = [0; 4];
        let text = [&[0x81, 0x80 | filter.len() as u8][..], &mask, filter].concat();
        let attack = upgraded("nothing at all", &text);
        connection.write_all(&attack.first).await?;
        ensure!(connection.read(&mut answer).await? > 0, "no answer to a handshake");
        connection.write_all(&attack.bytes).await?;
    } else {
        connection.write_all(&framed(filter)).await?;
    }
    // It has subscribed when it has been answered.
    ensure!(connection.read(&mut answer).await? > 0, "no answer to a subscriber");
    Ok(connection)
}

/// Labs that wait for a deaf peer for ever.
pub(super) fn trials() -> Vec<Trial> {
    type Outbox = queue::tcp::Tcp;
    type Frames = pubsub::tcp::Tcp;
    let queue = Promise::of::<Outbox, _>("deaf", |site| consumer::<Outbox>(site.with(&[("lease-ms", 0)])));
    let pubsub =
        Promise::of::<Frames, _>("deaf", |site| subscriber::<Frames>(site.with(&[("stalled-ms", 0)])));
    vec![
        fault("queue_deaf", queue, "what a deaf consumer was sent comes to another: not within"),
        fault("pubsub_deaf", pubsub, "a subscriber gets every event beside one that never reads: not within"),
    ]
}
