//! The worker: takes a task, tries its words, reports, and acks the task when
//! the report is out of its hands. It may come and go as it likes.

use std::pin::pin;

use anyhow::Result;
use futures_util::FutureExt as _;

use super::message::{Report, Task};
use super::{CONTROL, STOP};
use crate::erased::PipelineLab;
use crate::lab::Place;
use crate::oneway::Sender;
use crate::pipeline::Stage;
use crate::pubsub::Subscriber;
use crate::queue::{Consumer, Delivery};
use crate::topic::Filter;

/// Words tried without a pause: for so long, 1 ms or less, `stop` is not heard
/// and the connection is not attended to.
const STRETCH: u64 = 4096;
/// Words tried before reports are flushed and their tasks acked although more
/// tasks are at hand: small tasks share the round trip, large ones do not wait.
const SETTLE: u64 = 50_000;

/// Why a worker has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It heard `stop`.
    Stopped,
    /// It was told to go.
    Dismissed,
    /// Ventilator and sink have gone.
    Deserted,
}

/// What a worker has done.
#[derive(Debug, Clone)]
pub struct Worked {
    /// Tasks it finished.
    pub tasks: u64,
    /// Words it tried in them.
    pub words: u64,
    /// Bodies that were no tasks.
    pub refused: u64,
    /// Why it left.
    pub why: Why,
}

/// Works until `stop` is heard or `dismissed` resolves. What it has not
/// finished then goes back, where the transport takes it.
pub async fn work(lab: &PipelineLab, place: &Place, dismissed: impl Future<Output = ()>) -> Result<Worked> {
    let me = place.role().to_owned();
    // The way out first: whoever takes a task must be able to report it.
    let mut results = lab.push(place, Stage::Results).await?;
    let orders = lab.control.subscriber(&place.namespace(CONTROL), &Filter::All).await?;
    let mut tasks = lab.pull(place, Stage::Tasks).await?;
    results.send(Report::Joined(me.clone()).write()).await?;
    results.flush().await?;

    let mut leave = pin!(leave(orders, dismissed));
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
        // No task can come any more; `stop` may still.
        let Some(Delivery { item, attempt, receipt }) = task else { break leave.await? };
        let Ok(task) = Task::read(&item) else {
            // Nobody could do anything with it: it must not come again.
            worked.refused += 1;
            tasks.ack(receipt).await?;
            continue;
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
    if worked.why != Why::Deserted {
        done.settle(&mut tasks, &mut results).await?;
        results.send(Report::Left(me).write()).await?;
        results.flush().await?;
        tasks.close().await?;
        results.close().await?;
    }
    Ok(worked)
}

/// Resolves when it is time to go.
async fn leave(mut orders: impl Subscriber, dismissed: impl Future<Output = ()>) -> Result<Why> {
    let stopped = async {
        while let Some(order) = orders.next().await? {
            if order.body == STOP {
                return Ok(Why::Stopped);
            }
        }
        Ok(Why::Deserted)
    };
    tokio::select! {
        why = stopped => why,
        () = dismissed => Ok(Why::Dismissed),
    }
}

/// Tries the words of a task, and lets others have their turn meanwhile.
async fn search(task: &Task) -> Option<String> {
    let mut walk = task.alphabet.walk(task.range.start);
    let mut left = task.range.count;
    loop {
        let stretch = left.min(STRETCH);
        let found = walk.search(&task.hash, stretch);
        left -= stretch;
        if found.is_some() || left == 0 {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

/// Tasks whose reports are on their way.
struct Done<Receipt> {
    receipts: Vec<Receipt>,
    words: u64,
}

impl<Receipt> Done<Receipt> {
    /// Reports first, then the tasks they came from: whoever dies in between
    /// leaves a task that will be done again, never one that is lost.
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
