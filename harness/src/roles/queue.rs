//! The measured loops of queued delivery: producers keep many messages in flight until
//! they are confirmed; consumers settle what they receive.

use anyhow::Result;
use futures_util::FutureExt;
use labs::lab::Knob;
use labs::queue::{Consumer, Producer, Queue};

use super::context::RoleContext;
use super::error_budget::ErrorBudget;
use super::in_flight::InFlight;
use super::in_flight_window::InFlightWindow;
use super::manual;
use super::protocol::Kind;

use crate::measure::clock::{self, Pacer};
use crate::measure::recorder::{Progress, Recording, Window};
use crate::results::LoadKind;
use labs::erased::{AnyConsumer, AnyProducer};

pub(super) const IN_FLIGHT: Knob =
    Knob::new("in-flight", 512, "Messages sent and not yet confirmed, in a closed loop.");
/// The same at a rate: beyond it, due messages wait, and lag shows it.
const IN_FLIGHT_OPEN: usize = 10_000;
pub(super) const PREFETCH: Knob =
    Knob::new("prefetch", 256, "Deliveries a consumer holds unsettled while it is measured.");
pub(super) const PLAY_PREFETCH: Knob =
    Knob::new("play-prefetch", 2, "Deliveries a consumer holds unsettled when it is played by hand.");
/// Settled deliveries that wait for a flush.
const ACK_BATCH: usize = 64;

pub(super) async fn run<L: Queue, R: Recording>(context: RoleContext) -> Result<()> {
    let lab = L::open(&context.place).await?;
    let prefetch = u16::try_from(context.knob(PREFETCH)).unwrap_or(u16::MAX);
    match (context.init.kind, context.init.measure.is_some()) {
        (Kind::Producer, true) => produce::<R>(&context, lab.producer().await?).await,
        (Kind::Producer, false) => manual::producer(context, AnyProducer::new(lab.producer().await?)).await,
        (_, true) => {
            // A backlog is queued up while nobody is there to take it.
            let consumer = if context.is_backlog()? { None } else { Some(lab.consumer(prefetch).await?) };
            context.ready();
            let window = context.go().await?;
            let consumer = match consumer {
                Some(consumer) => consumer,
                None => {
                    context.backlog().await?;
                    lab.consumer(prefetch).await?
                }
            };
            consume::<_, R>(&context, consumer, window, Progress::Count).await
        }
        (_, false) => {
            let prefetch = u16::try_from(context.knob(PLAY_PREFETCH)).unwrap_or(u16::MAX);
            manual::consumer(context, AnyConsumer::new(lab.consumer(prefetch).await?)).await
        }
    }
}

async fn produce<R: Recording>(context: &RoleContext, producer: impl Producer) -> Result<()> {
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    let measure = context.measure()?;
    let consumers: Vec<String> =
        (0..context.init.receivers).map(|index| format!("consumer-{index}")).collect();
    let mut in_flight_window = InFlightWindow::open(context, &consumers, Progress::Count, false)?;
    let mut sends = context.sender_recorder::<R>(window)?;
    let mut schedule = context.schedule(sends.sent())?;
    let quota = context.quota()?.unwrap_or(u64::MAX);
    let limit = match measure.load.kind {
        LoadKind::Rate => IN_FLIGHT_OPEN,
        _ => context.knob(IN_FLIGHT),
    };
    let pacer = Pacer::new()?;
    in_flight_window.calibrate(&pacer).await?;
    pacer.sleep_until(window.start).await?;
    let mut due = schedule.as_mut().and_then(Iterator::next).map(|first| window.start + first);
    let mut error_budget = ErrorBudget::new();
    let mut in_flight = InFlight::new();
    let mut stop = std::pin::pin!(context.stop());
    let mut told = false;
    // When to look again at a window that was full.
    let mut look = None;
    loop {
        if in_flight.has_waited() {
            sends.refresh_clock();
        }
        let mut full;
        // Everything that is due and fits is sent before anything is awaited.
        loop {
            let now = sends.now();
            let scheduled = due.unwrap_or(now);
            // A refused message is never received, and is in the way of no other.
            full = look.is_some_and(|look| now < look) || !in_flight_window.has(sends.accepted());
            let over = scheduled >= window.to || sends.sent() >= quota;
            if scheduled > now || over || in_flight.len() >= limit || full {
                break;
            }
            let (sequence, body) = sends.next(scheduled, now)?;
            in_flight.add(producer.send(body).map(move |sent| (sequence, now, clock::now(), sent)));
            due = schedule.as_mut().and_then(Iterator::next).map(|next| window.start + next);
        }
        let ended = due.unwrap_or_else(clock::now) >= window.to || sends.sent() >= quota;
        if ended && in_flight.len() == 0 && !std::mem::replace(&mut told, true) {
            sends.done();
            context.done(sends.sent());
        }
        look = full.then(|| {
            look.filter(|look| clock::now() < *look).unwrap_or_else(|| in_flight_window.next_look())
        });
        let wake = look.or(due).unwrap_or(window.to).min(window.to);
        tokio::select! {
            biased;
            Some((sequence, sent, at, confirmed)) = in_flight.next() => match confirmed {
                Ok(()) => {
                    error_budget.success();
                    sends.confirm(sequence, sent, at);
                }
                Err(error) => {
                    sends.refuse(sequence);
                    error_budget.failure(error)?;
                }
            },
            slept = pacer.sleep_until(wake), if !ended && in_flight.len() < limit => {
                // Waiting for a full window, or for the end of a closed loop, is not part of a
                // message's time.
                let late = slept?.filter(|_| due == Some(wake));
                sends.refresh_clock();
                sends.woke(wake, late);
            }
            () = &mut stop => break,
        }
    }
    // Messages still in flight were never confirmed, and the account shows them so.
    drop(in_flight);
    producer.close().await?;
    context.report(Some((sends, in_flight_window.cost())), None, meter).await
}

/// Takes and settles until stopped; a pipeline's sink and a durable
/// subscriber do the same.
pub(super) async fn consume<C, R: Recording>(
    context: &RoleContext,
    mut consumer: C,
    window: Window,
    progress: Progress,
) -> Result<()>
where
    C: Consumer<Item = bytes::Bytes>,
{
    let meter = context.meter(window)?;
    let mut receipts = context.receiver_recorder::<R>(progress, window)?;
    receipts.begin();
    let mut stop = std::pin::pin!(context.stop());
    let mut unflushed = 0;
    loop {
        // Acknowledgements go out in batches while deliveries keep coming, and
        // at once when they do not.
        let delivery = match consumer.next().now_or_never() {
            Some(delivery) => delivery?,
            None => {
                if std::mem::take(&mut unflushed) > 0 {
                    consumer.flush().await?;
                    receipts.settled();
                }
                tokio::select! {
                    biased;
                    delivery = consumer.next() => {
                        receipts.refresh_clock();
                        delivery?
                    }
                    () = &mut stop => break,
                }
            }
        };
        let Some(delivery) = delivery else {
            if RoleContext::await_newcomers(&mut stop).await {
                continue;
            }
            break;
        };
        receipts.take(&delivery.item, delivery.attempt > 1);
        consumer.ack(delivery.receipt).await?;
        receipts.acked();
        unflushed += 1;
        if unflushed >= ACK_BATCH {
            consumer.flush().await?;
            receipts.settled();
            receipts.refresh_clock();
            unflushed = 0;
        }
    }
    consumer.close().await?;
    context.report(None, Some(receipts), meter).await
}
