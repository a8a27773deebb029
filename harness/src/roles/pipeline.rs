//! The measured loops of a pipeline, end to end: due at the ventilator, received at the
//! sink, and, at a rate, hop by hop. A worker does no work of its own unless the knob
//! `work-us` asks for it; only the transport is measured.

use anyhow::{Context as _, Result};
use futures_util::FutureExt;
use labs::lab::{Guarantee, Knob, Lab as _};
use labs::oneway::Sender;
use labs::pipeline::{Pipeline, Stage as PipelineStage};
use labs::pubsub::PubSub as _;
use labs::queue::Consumer;
use labs::topic::Filter;

use super::adapters::{SenderSink, lossy};
use super::context::RoleContext;
use super::in_flight_window::InFlightWindow;
use super::manual;
use super::protocol::Kind;
use super::queue::consume;
use super::send_loop;
use crate::measure::account::{Counter, Counters, Worked};
use crate::measure::clock::{self, Pacer};
use crate::measure::header::Header;
use crate::measure::recorder::{Progress, Recording};
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

pub(super) async fn run<L: Pipeline, R: Recording>(context: RoleContext) -> Result<()> {
    let lab = L::open(&context.place).await?;
    match (context.init.kind, context.init.measure.is_some()) {
        (Kind::Ventilator, true) => ventilate::<L, R>(&context, lab.push(PipelineStage::Tasks).await?).await,
        (Kind::Ventilator, false) => {
            manual::sender(context, AnySender::new(lab.push(PipelineStage::Tasks).await?)).await
        }
        (Kind::Worker, measured) => {
            // The way out first: a worker that has taken a task must be able to hand it on.
            let results = lab.push(PipelineStage::Results).await?;
            let tasks = lab.pull(PipelineStage::Tasks).await?;
            match measured {
                true => work::<_, R>(&context, tasks, results).await,
                false => {
                    let control = L::Control::open(&context.place.namespace("control")).await?;
                    let orders = control.subscriber(&Filter::All).await?;
                    let (tasks, results) = (AnyConsumer::new(tasks), AnySender::new(results));
                    manual::worker(context, tasks, results, AnySubscriber::new(orders)).await
                }
            }
        }
        (_, true) => {
            let results = lab.pull(PipelineStage::Results).await?;
            context.ready();
            let window = context.go().await?;
            consume::<_, R>(&context, results, window, Progress::Count).await
        }
        (_, false) => {
            let control = L::Control::open(&context.place.namespace("control")).await?;
            let orders = control.publisher().await?;
            let results = AnyConsumer::new(lab.pull(PipelineStage::Results).await?);
            manual::sink(context, results, AnyPublisher::new(orders)).await
        }
    }
}

async fn ventilate<L: Pipeline, R: Recording>(context: &RoleContext, tasks: L::Push) -> Result<()> {
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    let mut in_flight_window =
        InFlightWindow::open(context, &["sink-0".to_owned()], Progress::Count, lossy::<L>())?;
    let mut sends = context.sender_recorder::<R>(window)?;
    // In a run under faults each confirmation counts; else a pipeline is measured end to end.
    let confirms = context.measure()?.record && L::GUARANTEE > Guarantee::AtMostOnce;
    let mut sink = SenderSink { sender: tasks, confirms };
    send_loop::drive(context, &mut sink, &mut sends, &mut in_flight_window, window).await?;
    context.stop().await;
    sink.sender.close().await?;
    context.report(Some((sends, in_flight_window.cost())), None, meter).await
}

async fn work<C: Consumer<Item = bytes::Bytes>, R: Recording>(
    context: &RoleContext,
    mut tasks: C,
    mut results: impl Sender,
) -> Result<()> {
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    let work = context.place.knob(WORK_US) as u64 * 1_000;
    let batch = if work > 0 { Knob { default: 1, ..WORKER_BATCH } } else { WORKER_BATCH };
    let batch = context.knob(batch);
    let workbench = Workbench::open::<R>(context, work)?;
    let mut stop = std::pin::pin!(context.stop());
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
        let Some(task) = task else {
            if RoleContext::await_newcomers(&mut stop).await {
                continue;
            }
            break;
        };
        workbench.work(&task.item).await?;
        results.send(task.item).await?;
        settled.push(task.receipt);
        if settled.len() >= batch {
            settle(&mut tasks, &mut results, &mut settled).await?;
        }
    }
    settle(&mut tasks, &mut results, &mut settled).await?;
    tasks.close().await?;
    results.close().await?;
    context.report::<R>(None, None, meter).await
}

/// The state of a worker: the work per task, and the counts and times of its tasks.
struct Workbench {
    /// How long it sits on a task, ns.
    work: u64,
    pacer: Pacer,
    /// How much it did; a loop that only counts keeps no account.
    counters: Option<Counters>,
    /// When it had which task, at a rate.
    times: Option<Worked>,
    run: u32,
}

impl Workbench {
    fn open<R: Recording>(context: &RoleContext, work: u64) -> Result<Self> {
        let (measure, role) = (context.measure()?, context.init.role());
        let counters = R::ACCOUNTS.then(|| Counters::open(&measure.accounts, &role)).transpose()?;
        let timed = measure.load.is_open() && R::ACCOUNTS;
        let times = timed.then(|| Worked::open(&measure.accounts, &role, context.init.senders));
        let times = times.transpose().context("this worker cannot record the times of its tasks")?;
        Ok(Self { work, pacer: Pacer::new()?, counters, times, run: context.init.run })
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
            && let Some(header) = Header::unchecked(task).filter(|header| header.run == self.run)
        {
            let message = (header.producer as usize, header.sequence);
            // A task that came again keeps the times of the first.
            if !times.has(message) {
                times.set(message, 0, taken);
                times.set(message, 1, clock::now());
            }
        }
        Ok(())
    }
}

/// Results first, then the tasks they came from: a worker that dies in between leaves a task
/// that will be done again, never one that is lost.
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
