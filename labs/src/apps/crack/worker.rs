//! The worker: takes a task, tries its words, reports, and acks the task when the
//! report is flushed. Workers may join and leave at any time.

use std::pin::pin;

use anyhow::Result;
use futures_util::FutureExt as _;

use super::message::{CONTROL, Report, STOP, Task};
use crate::erased::PipelineLab;
use crate::lab::Place;
use crate::oneway::Sender;
use crate::pipeline::Stage;
use crate::pubsub::Subscriber;
use crate::queue::{Consumer, Delivery};
use crate::topic::Filter;

/// Words tried without a pause. During this time, 1 ms or less, the worker does not
/// see `stop` and its connection is not served.
const SLICE: u64 = 4096;
/// Words after which reports are flushed and their tasks acked even if more tasks are
/// ready: small tasks share a round trip, large ones do not wait.
const SETTLE: u64 = 50_000;

/// Why a worker left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It received `stop`.
    Stopped,
    /// It was shut down.
    ShutDown,
    /// The ventilator or the sink is gone.
    SearchGone,
}

/// A worker's result.
#[derive(Debug, Clone)]
pub struct Worked {
    /// Number of finished tasks.
    pub tasks: u64,
    /// Number of words in them.
    pub words: u64,
    /// Number of bodies that are not tasks.
    pub refused: u64,
    /// Why it left.
    pub why: Why,
}

/// Works until it receives `stop` or `shutdown` resolves. Tasks that are not finished
/// then go back, if the transport takes them.
pub async fn work(lab: &PipelineLab, place: &Place, shutdown: impl Future<Output = ()>) -> Result<Worked> {
    let me = place.role().to_owned();
    // Results first: a worker that takes a task must be able to report it.
    let mut results = lab.push(place, Stage::Results).await?;
    let orders = lab.control.subscriber(&place.namespace(CONTROL), &Filter::All).await?;
    let mut tasks = lab.pull(place, Stage::Tasks).await?;
    results.send(Report::Joined(me.clone()).write()).await?;
    results.flush().await?;

    let mut leave = pin!(leave(orders, place, shutdown));
    let mut worked = Worked { tasks: 0, words: 0, refused: 0, why: Why::Stopped };
    let mut done = Done { receipts: Vec::new(), words: 0 };
    worked.why = loop {
        let task = match tasks.next().now_or_never() {
            Some(task) => task?,
            None => {
                done.settle(&mut tasks, &mut results).await?;
                tokio::select! {
                    biased;
                    why = &mut leave => break why?,
                    task = tasks.next() => task?,
                }
            }
        };
        // No task can come any more, but `stop` may.
        let Some(Delivery { item, attempt, receipt }) = task else { break leave.await? };
        let task = match Task::read(&item) {
            Ok(task) => task,
            Err(why) => {
                // No worker can do it, so it must not be delivered again.
                worked.refused += 1;
                place.message_skipped(format_args!("among the tasks: {why:#}"));
                tasks.ack(receipt).await?;
                continue;
            }
        };
        let found = tokio::select! {
            biased;
            why = &mut leave => break why?,
            found = search(&task) => found,
        };
        let report = Report::Done { range: task.range, found, worker: Some(me.clone()), attempt };
        results.send(report.write()).await?;
        done.receipts.push(receipt);
        done.words += task.range.count;
        worked.tasks += 1;
        worked.words += task.range.count;
        if done.words >= SETTLE {
            done.settle(&mut tasks, &mut results).await?;
        }
    };
    if worked.why != Why::SearchGone {
        done.settle(&mut tasks, &mut results).await?;
        results.send(Report::Left(me).write()).await?;
        results.flush().await?;
        tasks.close().await?;
        results.close().await?;
    }
    Ok(worked)
}

/// Resolves when the worker has to leave.
async fn leave(
    mut orders: impl Subscriber,
    place: &Place,
    shutdown: impl Future<Output = ()>,
) -> Result<Why> {
    let stopped = async {
        while let Some(order) = orders.next().await? {
            if order.body == STOP {
                return Ok(Why::Stopped);
            }
            place.message_skipped(format_args!("on {}: not an order", order.topic));
        }
        Ok(Why::SearchGone)
    };
    tokio::select! {
        why = stopped => why,
        () = shutdown => Ok(Why::ShutDown),
    }
}

/// Tries the words of a task, and yields to other work in between.
async fn search(task: &Task) -> Option<String> {
    let mut walk = task.alphabet.walk(task.range.start);
    let mut left = task.range.count;
    loop {
        let slice = left.min(SLICE);
        let found = walk.search(&task.hash, slice);
        left -= slice;
        if found.is_some() || left == 0 {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

/// Finished tasks that are not acked, since their reports are not flushed.
struct Done<Receipt> {
    receipts: Vec<Receipt>,
    words: u64,
}

impl<Receipt> Done<Receipt> {
    /// Flushes the reports, then acks their tasks: if the worker dies in between, a task
    /// is done again and none is lost.
    async fn settle<C: Consumer<Receipt = Receipt>>(
        &mut self,
        tasks: &mut C,
        results: &mut impl Sender,
    ) -> Result<()> {
        if self.receipts.is_empty() {
            return Ok(());
        }
        results.flush().await?;
        for receipt in self.receipts.drain(..) {
            tasks.ack(receipt).await?;
        }
        self.words = 0;
        tasks.flush().await
    }
}
