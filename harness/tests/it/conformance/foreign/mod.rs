//! What no lab wrote is skipped and counted, and what stands behind it arrives.
//!
//! Another program puts messages between those of a lab, with the broker's own client
//! ([`stranger`]); which ones, the table says ([`table`]). Peer to peer, it plays the side that
//! sends ([`peer`]).

mod peer;
mod stranger;
mod table;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::FutureExt as _;
use labs::durable::DurablePubSub;
use labs::lab::Place;
use labs::oneway::{OneWay, Receiver as _, Sender};
use labs::pipeline::{Pipeline, Stage};
use labs::pubsub::{PubSub, Publisher};
use labs::queue::{Consumer, Producer as _, Queue};
use labs::reqrep::{RequestReply, Requester as _};
use labs::topic::{Filter, Topic};

use super::durable::{ANN, next, publish, until};
use super::place::Site;
use super::pubsub::{TOPIC, hear};
use super::stream::{message, number};
use super::{Promise, promises, reqrep};
use stranger::{Put, Stranger};

pub(super) fn one_way<L: OneWay>() -> Vec<Promise> {
    if table::bodies(L::TRANSPORT).is_empty() { Vec::new() } else { promises![L: foreign_bodies] }
}

pub(super) fn request_reply<L: RequestReply>() -> Vec<Promise> {
    let has_foreign = L::BROKER.is_some() || ["zeromq", "faulty"].contains(&L::TRANSPORT);
    if has_foreign { promises![L: foreign_requests] } else { Vec::new() }
}

pub(super) fn pub_sub<L: PubSub>() -> Vec<Promise> {
    if L::TRANSPORT == "inproc" { Vec::new() } else { promises![L: foreign_events] }
}

pub(super) fn queue<L: Queue>() -> Vec<Promise> {
    if table::entries(L::TRANSPORT, "").is_empty() { Vec::new() } else { promises![L: foreign_entries] }
}

pub(super) fn pipeline<L: Pipeline>() -> Vec<Promise> {
    if table::results(L::TRANSPORT, "").is_empty() { Vec::new() } else { promises![L: foreign_results] }
}

pub(super) fn durable<L: DurablePubSub>() -> Vec<Promise> {
    vec![Promise::of::<super::durable::Kept<L>, _>("foreign_events_kept", foreign_events_kept::<L>)]
}

/// Waits until so many messages are counted as skipped; it is an error if there are more.
async fn skipped(site: &Site, place: &Place, due: usize) -> Result<()> {
    let mut counts = place.incidents().watch();
    let all = async {
        counts.wait_for(|counts| counts.messages_skipped >= due as u64).await?;
        Ok(())
    };
    site.soon(&format!("{due} foreign messages are counted as skipped"), all).await?;
    let counts = place.incidents().counts();
    let (count, latest) = (counts.messages_skipped, counts.latest);
    ensure!(
        count == due as u64,
        "{count} messages were counted as skipped, and {due} were foreign: {latest:?}"
    );
    Ok(())
}

/// Over a broker another program publishes between two events; peer to peer it is the publisher.
async fn foreign_events<L: PubSub>(site: Site) -> Result<()> {
    let place = site.place();
    let lab = L::open(&place).await?;
    let (mut subscriber, due, _publisher);
    if L::BROKER.is_none() && L::TRANSPORT != "faulty" {
        let joining = lab.subscriber(&Filter::All);
        let playing = peer::publish(L::TRANSPORT, &place);
        let both = async { tokio::try_join!(joining, playing) };
        let (joined, played) = site.soon("the subscriber joins a publisher that is not ours", both).await?;
        (subscriber, due, _publisher) = (joined, played.foreign, Some(played.publisher));
    } else {
        subscriber = lab.subscriber(&Filter::All).await?;
        let mut publisher = lab.publisher().await?;
        publish(&site, &mut publisher, [0]).await?;
        due = put_events(&site, &place, table::events(L::TRANSPORT, &place.name()), &mut publisher).await?;
        publish(&site, &mut publisher, [1]).await?;
        _publisher = None;
    }
    for expected in [0, 1] {
        let event = site.soon("an event behind a foreign one comes", hear(&mut subscriber)).await?;
        let came = number(&event.body).with_context(|| format!("on {}", event.topic))?;
        ensure!(came == expected, "event {came} came where {expected} was due");
    }
    skipped(&site, &place, due).await
}

/// A durable subscriber skips it for good: it does not come again when the subscriber is back.
async fn foreign_events_kept<L: DurablePubSub>(site: Site) -> Result<()> {
    let site = site.claiming_soon();
    let place = site.place();
    let lab = L::open(&place).await?;
    let mut publisher = lab.publisher().await?;
    let mut first = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, [0]).await?;
    let due = put_events(&site, &place, table::events(L::TRANSPORT, &place.name()), &mut publisher).await?;
    publish(&site, &mut publisher, [1]).await?;
    for expected in [0, 1] {
        let delivery = next(&site, &mut first).await?;
        let came = number(&delivery.item.body).with_context(|| format!("on {}", delivery.item.topic))?;
        ensure!(came == expected, "event {came} came where {expected} was due");
        first.ack(delivery.receipt).await?;
    }
    skipped(&site, &place, due).await?;
    site.soon("the acks are known", first.flush()).await?;
    drop(first);
    let mut second = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, [2]).await?;
    until(&site, &mut second, [2]).await?;
    skipped(&site, &place, due).await.context("foreign messages came again")?;
    second.close().await
}

/// Puts them, and returns how many of them are foreign.
async fn put_events<P: Publisher>(
    site: &Site,
    place: &Place,
    puts: Vec<Put>,
    publisher: &mut P,
) -> Result<usize> {
    let (topic, mut stranger, mut due) = (Topic::new(TOPIC)?, Stranger::default(), 0);
    for put in puts {
        let taken = match put {
            Put::Lab(body) => publisher.publish(&topic, body).await.map(|()| true)?,
            put => site.soon("the broker takes a foreign event", stranger.put(place, put)).await?,
        };
        due += usize::from(taken);
    }
    Ok(due)
}

/// Requests that cannot be answered, and replies to nobody: the responder goes on, and so does
/// the requester.
async fn foreign_requests<L: RequestReply>(site: Site) -> Result<()> {
    let place = site.place();
    let lab = L::open(&place).await?;
    let (requester, mut responder) = tokio::try_join!(lab.requester(), lab.responder())?;
    let (requests, unanswerable) = (
        table::requests(L::TRANSPORT, L::VARIANT, &place.name()),
        table::unanswerable(L::TRANSPORT, &place.name()),
    );
    let replies = table::replies(L::TRANSPORT, &place.name());
    let asking = async {
        let (mut stranger, mut due) = (Stranger::default(), 0);
        reqrep::ask(&requester, 0).await?;
        for put in requests {
            let taken = match put {
                // Nobody waits for the reply.
                Put::Lab(body) => requester.ask(body.into()).now_or_never().is_none(),
                put => stranger.put(&place, put).await?,
            };
            due += usize::from(taken);
        }
        for put in unanswerable {
            stranger.put(&place, put).await?;
        }
        reqrep::ask(&requester, 1).await?;
        skipped(&site, &place, due).await?;
        for put in replies {
            due += usize::from(stranger.put(&place, put).await?);
        }
        reqrep::ask(&requester, 2).await?;
        skipped(&site, &place, due).await
    };
    reqrep::while_served::<L, _>(&site, &mut responder, asking).await
}

/// An entry that is not one of the queue's does not come again either.
async fn foreign_entries<L: Queue>(site: Site) -> Result<()> {
    let site = site.claiming_soon();
    let place = site.place();
    let lab = L::open(&place).await?;
    let (producer, mut first) = tokio::try_join!(lab.producer(), lab.consumer(4))?;
    site.soon("the first is confirmed", producer.send(message(0, 64))).await?;
    let entries = table::entries(L::TRANSPORT, &place.name());
    let (due, mut stranger) = (entries.len(), Stranger::default());
    for put in entries {
        match put {
            Put::Lab(body) => producer.send(body).await?,
            put => {
                site.soon("the broker takes a foreign entry", stranger.put(&place, put)).await?;
            }
        }
    }
    site.soon("the second is confirmed", producer.send(message(1, 64))).await?;
    take(&site, &mut first, &[0, 1]).await?;
    skipped(&site, &place, due).await?;
    site.soon("the acks are known", first.flush()).await?;
    drop(first);
    let mut second = lab.consumer(4).await?;
    site.soon("the last is confirmed", producer.send(message(2, 64))).await?;
    take(&site, &mut second, &[2]).await?;
    skipped(&site, &place, due).await.context("foreign messages came again")?;
    second.close().await
}

/// Takes and acks exactly these, in any order.
async fn take<C: Consumer<Item = Bytes>>(site: &Site, consumer: &mut C, expected: &[u64]) -> Result<()> {
    let mut came = Vec::new();
    while came.len() < expected.len() {
        let next = async { consumer.next().await?.context("nothing can come any more") };
        let delivery = site.soon("a message behind a foreign one comes", next).await?;
        came.push(number(&delivery.item)?);
        consumer.ack(delivery.receipt).await?;
    }
    came.sort_unstable();
    ensure!(came == expected, "{came:?} came where {expected:?} were due");
    Ok(())
}

/// What another program puts into the stage of the results does not end the sink.
async fn foreign_results<L: Pipeline>(site: Site) -> Result<()> {
    let site = site.claiming_soon();
    let place = site.place();
    let lab = L::open(&place).await?;
    let (mut push, mut pull) = tokio::try_join!(lab.push(Stage::Results), lab.pull(Stage::Results))?;
    let inside = place.namespace(Stage::Results.namespace());
    push.send(message(0, 64)).await?;
    site.soon("the first is written", push.flush()).await?;
    let puts = table::results(L::TRANSPORT, &inside.name());
    let (due, mut stranger) = (puts.len(), Stranger::default());
    for put in puts {
        match put {
            Put::Lab(body) => push.send(body).await?,
            put => {
                site.soon("a foreign result is taken", stranger.put(&inside, put)).await?;
            }
        }
    }
    push.send(message(1, 64)).await?;
    site.soon("the second is written", push.flush()).await?;
    take(&site, &mut pull, &[0, 1]).await?;
    // What came behind the last of ours is seen when the next is waited for.
    tokio::select! {
        more = pull.next() => { more?; anyhow::bail!("a foreign result was handed out") }
        counted = skipped(&site, &place, due) => counted,
    }
}

/// A message of several frames is nobody's body.
async fn foreign_bodies<L: OneWay>(site: Site) -> Result<()> {
    let place = site.place();
    let lab = L::open(&place).await?;
    let (mut sender, mut receiver) = tokio::try_join!(lab.sender(), lab.receiver())?;
    sender.send(message(0, 64)).await?;
    let (puts, mut stranger) = (table::bodies(L::TRANSPORT), Stranger::default());
    let due = puts.len();
    for put in puts {
        match put {
            Put::Lab(body) => sender.send(body).await?,
            put => {
                site.soon("the receiver takes a foreign message", stranger.put(&place, put)).await?;
            }
        }
    }
    sender.send(message(1, 64)).await?;
    sender.flush().await?;
    for expected in [0, 1] {
        let next = async { receiver.recv().await?.context("nothing can come any more") };
        let came = number(&site.soon("a message behind a foreign one comes", next).await?)?;
        ensure!(came == expected, "message {came} came where {expected} was due");
    }
    tokio::select! {
        more = receiver.recv() => { more?; anyhow::bail!("a foreign message was handed out") }
        counted = skipped(&site, &place, due) => counted,
    }
}
