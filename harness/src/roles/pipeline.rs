//! A pipeline, measured end to end: due at the ventilator, received at the
//! sink, and at a rate hop by hop. A worker does no work of its own unless the
//! knob `work-us` says so; what is measured is the plumbing.

use anyhow::{Context as _, Result};
use futures_util::FutureExt;
use labs::lab::{Knob, Lab as _};
use labs::oneway::Sender;
use labs::pipeline::{Pipeline, Stage as Part};
use labs::pubsub::PubSub as _;
use labs::queue::Consumer;
use labs::topic::Filter;

use super::adapters::{Way, lossy};
use super::context::Stage;
use super::manual;
use super::protocol::Kind;
use super::queue::consume;
use super::send_loop::{self, Room};
use crate::measure::account::{Counter, Counters, Worked};
use crate::measure::clock::{self, Pacer};
use crate::measure::header::Stamp;
use crate::measure::recorder::Progress;
use labs::erased::{AnyConsumer, AnyPublisher, AnySender, AnySubscriber};

/// With work to do its default is 1: a result does not wait for the work on the
/// tasks behind it.
pub(super) const WORKER_BATCH: Knob =
    Knob::new("worker-batch", 64, "Results a worker flushes at once, then acks their tasks; 1 with work-us.");
/// A worker sleeps, as one that waits for a disk or another service does:
/// workers that spin on a machine with fewer CPUs than roles would measure its
/// scheduler.
pub(super) const WORK_US: Knob =
    Knob::new("work-us", 0, "Microseconds of work (sleep) that a worker spends on each task.");

pub(super) async fn run<L: Pipeline>(stage: Stage) -> Result<()> {
    let lab = L::open(&stage.place).await?;
    match (stage.init.kind, stage.init.measure.is_some()) {
        (Kind::Ventilator, true) => ventilate::<L>(&stage, lab.push(Part::Tasks).await?).await,
        (Kind::Ventilator, false) => {
            manual::sender(stage, AnySender::new(lab.push(Part::Tasks).await?)).await
        }
        (Kind::Worker, measured) => {
            // The way out first: a worker that has taken a task must be able to hand it on.
            let results = lab.push(Part::Results).await?;
            let tasks = lab.pull(Part::Tasks).await?;
            match measured {
                true => work(&stage, tasks, results).await,
                false => {
                    let control = L::Control::open(&stage.place.namespace("control")).await?;
                    let orders = control.subscriber(&Filter::All).await?;
                    let (tasks, results) = (AnyConsumer::new(tasks), AnySender::new(results));
                    manual::worker(stage, tasks, results, AnySubscriber::new(orders)).await
                }
            }
        }
        (_, true) => {
            let results = lab.pull(Part::Results).await?;
            stage.ready();
            let window = stage.go().await?;
            consume(&stage, results, window, Progress::Count).await
        }
        (_, false) => {
            let control = L::Control::open(&stage.place.namespace("control")).await?;
            let orders = control.publisher().await?;
            let results = AnyConsumer::new(lab.pull(Part::Results).await?);
            manual::sink(stage, results, AnyPublisher::new(orders)).await
        }
    }
}

async fn ventilate<L: Pipeline>(stage: &Stage, tasks: L::Push) -> Result<()> {
    stage.ready();
    let window = stage.go().await?;
    let meter = stage.meter(window)?;
    let room = Room::open(stage, &["sink-0".to_owned()], Progress::Count, lossy::<L>())?;
    let mut ledger = stage.ledger(window)?;
    let mut outlet = Way(tasks);
    send_loop::drive(stage, &mut outlet, &mut ledger, room, window).await?;
    stage.stop().await;
    outlet.0.close().await?;
    stage.report(Some(ledger), None, meter).await
}

async fn work<C: Consumer<Item = bytes::Bytes>>(
    stage: &Stage,
    mut tasks: C,
    mut results: impl Sender,
) -> Result<()> {
    stage.ready();
    let window = stage.go().await?;
    let meter = stage.meter(window)?;
    let work = stage.place.knob(WORK_US) as u64 * 1_000;
    let batch = if work > 0 { Knob { default: 1, ..WORKER_BATCH } } else { WORKER_BATCH };
    let batch = stage.knob(batch);
    let bench = Bench::open(stage, work)?;
    let mut stop = std::pin::pin!(stage.stop());
    let mut settled = Vec::new();
    loop {
        let task = match tasks.next().now_or_never() {
            Some(task) => task?,
            None => {
                settle(&mut tasks, &mut results, &mut settled).await?;
                tokio::select! {
                    biased;
                    task = tasks.next() => task?,
                    () = &mut stop => break,
                }
            }
        };
        let Some(task) = task else { break stop.await };
        bench.work(&task.item).await?;
        results.send(task.item).await?;
        settled.push(task.receipt);
        if settled.len() >= batch {
            settle(&mut tasks, &mut results, &mut settled).await?;
        }
    }
    settle(&mut tasks, &mut results, &mut settled).await?;
    tasks.close().await?;
    results.close().await?;
    stage.report(None, None, meter).await
}

/// Where a worker works, and what it writes down of that.
struct Bench {
    /// How long it sits on a task, ns.
    work: u64,
    pacer: Pacer,
    /// How much it did; a bare loop keeps no account.
    counters: Option<Counters>,
    /// When it had which task, at a rate.
    times: Option<Worked>,
    run: u32,
}

impl Bench {
    fn open(stage: &Stage, work: u64) -> Result<Self> {
        let (measure, role) = (stage.measure()?, stage.init.role());
        let counters = (!measure.bare).then(|| Counters::open(&measure.accounts, &role)).transpose()?;
        let timed = measure.load.is_open() && !measure.bare;
        let times = timed.then(|| Worked::open(&measure.accounts, &role, stage.init.senders));
        let times = times.transpose().context("this worker cannot keep the times of its tasks")?;
        Ok(Self { work, pacer: Pacer::new()?, counters, times, run: stage.init.run })
    }

    /// Does the task that has just been taken. When this returns, its result is
    /// about to be handed on: what happens from then on is not the worker's any
    /// more.
    async fn work(&self, task: &[u8]) -> Result<()> {
        // Flat out, and with nothing to do, nobody asks for the time.
        let taken = if self.work > 0 || self.times.is_some() { clock::now() } else { 0 };
        if self.work > 0 {
            self.pacer.sleep_until(taken + self.work).await?;
        }
        if let Some(counters) = &self.counters {
            counters.add(Counter::Sent, 1);
        }
        if let Some(times) = &self.times
            && let Some(stamp) = Stamp::unchecked(task).filter(|stamp| stamp.run == self.run)
        {
            let message = (stamp.producer as usize, stamp.sequence);
            // A task that came again keeps the times of the first.
            if times.get(message) == [0; 2] {
                times.set(message, 0, taken);
                times.set(message, 1, clock::now());
            }
        }
        Ok(())
    }
}

/// Results first, then the tasks they came from: whoever dies in between
/// leaves a task that will be done again, never one that is lost.
async fn settle<C: Consumer>(
    tasks: &mut C,
    results: &mut impl Sender,
    settled: &mut Vec<C::Receipt>,
) -> Result<()> {
    if settled.is_empty() {
        return Ok(());
    }
    results.flush().await?;
    for receipt in settled.drain(..) {
        tasks.ack(receipt).await?;
    }
    tasks.flush().await
}
