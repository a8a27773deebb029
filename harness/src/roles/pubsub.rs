//! The measured loops of publish/subscribe: publishers offer the load, and every
//! subscriber receives all of it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use labs::lab::Join;
use labs::pubsub::{PubSub, Publisher, Subscriber};
use labs::topic::{Filter, FilterKind, Topic};

use super::adapters::{TopicSink, lossy};
use super::context::RoleContext;
use super::in_flight_window::InFlightWindow;
use super::manual;
use super::protocol::Kind;
use super::send_loop::{self, MessageSink};
use crate::measure::clock::{self, Pacer, SECOND};
use crate::measure::header::PROBE;
use crate::measure::recorder::{MessageKind, Progress, ReceiverRecorder, Recording, SenderRecorder, Window};
use labs::erased::{AnyPublisher, AnySubscriber};

/// The topic of measured events.
const TOPIC: &str = "lab.bench";
/// Gap between probes, ns.
const PROBING: u64 = 2_000_000;

pub(super) async fn run<L: PubSub, R: Recording>(context: RoleContext) -> Result<()> {
    let lab = L::open(&context.place).await?;
    match (context.init.kind, context.init.measure.is_some()) {
        (Kind::Publisher, true) => publish::<L, R>(&context, lab.publisher().await?).await,
        (Kind::Publisher, false) => {
            manual::publisher(context, AnyPublisher::new(lab.publisher().await?)).await
        }
        (_, measured) => {
            let filter = filter::<L>(context.init.filter.as_deref(), measured)?;
            let subscriber = lab.subscriber(&filter).await?;
            match measured {
                true => listen::<L, R>(&context, subscriber).await,
                false => manual::subscriber(context, AnySubscriber::new(subscriber)).await,
            }
        }
    }
}

/// The topic of measured events.
pub(super) fn topic() -> Result<Topic> {
    Topic::new(TOPIC)
}

/// The requested filter; otherwise, when measuring, the narrowest filter that the transport can
/// express.
pub(super) fn filter<L: PubSub>(asked: Option<&str>, measured: bool) -> Result<Filter> {
    match asked {
        Some(text) => text.parse(),
        None if !measured => Ok(Filter::All),
        None if L::FILTERS.contains(&FilterKind::Exact) => Ok(Filter::Exact(topic()?)),
        None if L::FILTERS.contains(&FilterKind::Prefix) => Ok(Filter::Prefix(TOPIC.to_owned())),
        None => Ok(Filter::All),
    }
}

async fn publish<L: PubSub, R: Recording>(context: &RoleContext, publisher: L::Publisher) -> Result<()> {
    let mut sink = TopicSink { publisher, topic: topic()? };
    context.ready();
    let window = match probes::<L>(context) {
        true => probe::<R>(context, &mut sink).await?,
        false => context.go().await?,
    };
    let meter = context.meter(window)?;
    let listeners: Vec<String> =
        (0..context.init.receivers).map(|index| format!("subscriber-{index}")).collect();
    let mut in_flight_window = InFlightWindow::open(context, &listeners, Progress::Highest, lossy::<L>())?;
    let mut sends = context.sender_recorder::<R>(window)?;
    send_loop::drive(context, &mut sink, &mut sends, &mut in_flight_window, window).await?;
    send_loop::mark(context, &mut sink, &mut sends).await?;
    sink.publisher.close().await?;
    context.report(Some((sends, in_flight_window.cost())), None, meter).await
}

/// Whether subscribers learn from probes that they have joined. The others of a role that is
/// started again are in the middle of the run and send none.
fn probes<L: PubSub>(context: &RoleContext) -> bool {
    L::JOIN == Join::Probed && !context.init.restarted
}

/// Publishes probes until every subscriber has reported one to the supervisor.
async fn probe<R: Recording>(context: &RoleContext, sink: &mut impl MessageSink) -> Result<Window> {
    let never = Window { start: 0, from: 0, to: 0 };
    let mut sends: SenderRecorder<R> = context.sender_recorder(never)?;
    let pacer = Pacer::new()?;
    let mut go = std::pin::pin!(context.go());
    loop {
        sink.put(sends.special(PROBE)).await?;
        sink.flush().await?;
        tokio::select! {
            biased;
            window = &mut go => return window,
            slept = pacer.sleep_until(clock::now() + PROBING) => drop(slept?),
        }
    }
}

async fn listen<L: PubSub, R: Recording>(context: &RoleContext, mut subscriber: L::Subscriber) -> Result<()> {
    if probes::<L>(context) {
        await_probes::<R>(context, &mut subscriber).await?;
    }
    context.ready();
    // Probes go on until everyone has seen one: they must not pile up meanwhile.
    let window = {
        let mut go = std::pin::pin!(context.go());
        loop {
            tokio::select! {
                biased;
                window = &mut go => break window?,
                event = subscriber.next(), if probes::<L>(context) => drop(event?),
            }
        }
    };
    let meter = context.meter(window)?;
    let mut receipts = context.receiver_recorder::<R>(Progress::Highest, window)?;
    let mut stop = std::pin::pin!(context.stop());
    loop {
        // Under load the next event is there already: nothing to select from.
        let event = match subscriber.next().now_or_never() {
            Some(event) => event?,
            None => tokio::select! {
                biased;
                event = subscriber.next() => {
                    receipts.refresh_clock();
                    event?
                }
                () = &mut stop => break,
            },
        };
        let Some(event) = event else {
            if RoleContext::await_newcomers(&mut stop).await {
                continue;
            }
            break;
        };
        receipts.take(&event.body, false);
    }
    context.report(None, Some(receipts), meter).await
}

/// Joined when a probe of every publisher has come through.
async fn await_probes<R: Recording>(context: &RoleContext, subscriber: &mut impl Subscriber) -> Result<()> {
    let far = clock::now() + 3600 * SECOND;
    let mut receipts: ReceiverRecorder<R> =
        context.receiver_recorder(Progress::Highest, Window { start: far, from: far, to: far })?;
    let mut seen = BTreeSet::new();
    while seen.len() < context.init.senders {
        let event = subscriber.next().await?.context("the publisher closed before a probe came")?;
        if let MessageKind::Probe(publisher) = receipts.take(&event.body, false) {
            seen.insert(publisher);
        }
    }
    Ok(())
}
