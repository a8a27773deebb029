//! Publish/subscribe, measured: publishers offer the load, every subscriber
//! takes all of it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use labs::lab::Join;
use labs::pubsub::{PubSub, Publisher, Subscriber};
use labs::topic::{Filter, FilterKind, Topic};

use super::adapters::{Channel, lossy};
use super::context::Stage;
use super::manual;
use super::protocol::Kind;
use super::send_loop::{self, Outlet, Room};
use crate::measure::clock::{self, Pacer, SECOND};
use crate::measure::header::PROBE;
use crate::measure::recorder::{Books, Ledger, Progress, Seen, Window};
use labs::erased::{AnyPublisher, AnySubscriber};

/// What is published under when measuring.
const TOPIC: &str = "lab.bench";
/// Gap between probes, ns.
const PROBING: u64 = 2_000_000;

pub(super) async fn run<L: PubSub>(stage: Stage) -> Result<()> {
    let lab = L::open(&stage.place).await?;
    match (stage.init.kind, stage.init.measure.is_some()) {
        (Kind::Publisher, true) => publish::<L>(&stage, lab.publisher().await?).await,
        (Kind::Publisher, false) => manual::publisher(stage, AnyPublisher::new(lab.publisher().await?)).await,
        (_, measured) => {
            let filter = filter::<L>(stage.init.filter.as_deref(), measured)?;
            let subscriber = lab.subscriber(&filter).await?;
            match measured {
                true => listen::<L>(&stage, subscriber).await,
                false => manual::subscriber(stage, AnySubscriber::new(subscriber)).await,
            }
        }
    }
}

/// What is published under when measuring.
pub(super) fn topic() -> Result<Topic> {
    Topic::new(TOPIC)
}

/// What was asked for; else, when measuring, the narrowest filter the
/// transport can express.
pub(super) fn filter<L: PubSub>(asked: Option<&str>, measured: bool) -> Result<Filter> {
    match asked {
        Some(text) => text.parse(),
        None if !measured => Ok(Filter::All),
        None if L::FILTERS.contains(&FilterKind::Exact) => Ok(Filter::Exact(topic()?)),
        None if L::FILTERS.contains(&FilterKind::Prefix) => Ok(Filter::Prefix(TOPIC.to_owned())),
        None => Ok(Filter::All),
    }
}

async fn publish<L: PubSub>(stage: &Stage, publisher: L::Publisher) -> Result<()> {
    let mut outlet = Channel { publisher, topic: topic()? };
    stage.ready();
    let window = if L::JOIN == Join::Probed { probe(stage, &mut outlet).await? } else { stage.go().await? };
    let meter = stage.meter(window)?;
    let listeners: Vec<String> =
        (0..stage.init.receivers).map(|index| format!("subscriber-{index}")).collect();
    let room = Room::open(stage, &listeners, Progress::Highest, lossy::<L>())?;
    let mut ledger = stage.ledger(window)?;
    send_loop::drive(stage, &mut outlet, &mut ledger, room, window).await?;
    send_loop::mark(stage, &mut outlet, &mut ledger).await?;
    outlet.publisher.close().await?;
    stage.report(Some(ledger), None, meter).await
}

/// Publishes probes until the conductor has heard that everyone saw one.
async fn probe(stage: &Stage, outlet: &mut impl Outlet) -> Result<Window> {
    let never = Window { start: 0, from: 0, to: 0 };
    let mut ledger: Ledger = stage.ledger(never)?;
    let pacer = Pacer::new()?;
    let mut go = std::pin::pin!(stage.go());
    loop {
        outlet.put(ledger.special(PROBE)).await?;
        outlet.flush().await?;
        tokio::select! {
            biased;
            window = &mut go => return window,
            slept = pacer.sleep_until(clock::now() + PROBING) => drop(slept?),
        }
    }
}

async fn listen<L: PubSub>(stage: &Stage, mut subscriber: L::Subscriber) -> Result<()> {
    if L::JOIN == Join::Probed {
        await_probes(stage, &mut subscriber).await?;
    }
    stage.ready();
    // Probes go on until everyone has seen one: they must not pile up meanwhile.
    let window = {
        let mut go = std::pin::pin!(stage.go());
        loop {
            tokio::select! {
                biased;
                window = &mut go => break window?,
                event = subscriber.next(), if L::JOIN == Join::Probed => drop(event?),
            }
        }
    };
    let meter = stage.meter(window)?;
    let mut books = stage.books(Progress::Highest, window)?;
    let mut stop = std::pin::pin!(stage.stop());
    loop {
        // Under load the next event is there already: nothing to select from.
        let event = match subscriber.next().now_or_never() {
            Some(event) => event?,
            None => tokio::select! {
                biased;
                event = subscriber.next() => {
                    books.look_again();
                    event?
                }
                () = &mut stop => break,
            },
        };
        let Some(event) = event else { break stop.await };
        books.take(&event.body, false);
    }
    stage.report(None, Some(books), meter).await
}

/// Joined when a probe of every publisher has come through.
async fn await_probes(stage: &Stage, subscriber: &mut impl Subscriber) -> Result<()> {
    let far = clock::now() + 3600 * SECOND;
    let mut books: Books = stage.books(Progress::Highest, Window { start: far, from: far, to: far })?;
    let mut seen = BTreeSet::new();
    while seen.len() < stage.init.senders {
        let event = subscriber.next().await?.context("the publisher closed before a probe came")?;
        if let Seen::Probe(publisher) = books.take(&event.body, false) {
            seen.insert(publisher);
        }
    }
    Ok(())
}
