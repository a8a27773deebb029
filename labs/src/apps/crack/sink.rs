//! The sink: collects reports, keeps the ledger, lets the ventilator go on as
//! ranges come back, and says `stop` when it is over.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};

use super::ledger::{Ledger, Noted};
use super::message::{Range, Report};
use super::words::Hash;
use super::{CONTROL, Ended, Happened, Job, Order, STOP};
use crate::erased::{AnyConsumer, AnyPublisher, PipelineLab, Token};
use crate::lab::{Guarantee, Place};
use crate::pipeline::Stage;
use crate::pubsub::Publisher;
use crate::queue::{Consumer, Delivery};
use crate::topic::Topic;

/// At most once: when nothing has come for so long, what is on its way is
/// issued again. Each time that this was no help, twice as long is waited.
const OVERDUE: Duration = Duration::from_secs(1);
/// `stop` is said again after this, to workers who have not left: some
/// transports do not confirm a subscription, and lose what came before it.
const STOP_AGAIN: Duration = Duration::from_millis(100);
/// How long workers may take to leave after `stop`.
const LEAVING: Duration = Duration::from_secs(5);

/// The sink of one hunt.
pub(super) struct Sink<'a> {
    job: &'a Job,
    guarantee: Guarantee,
    results: AnyConsumer,
    control: AnyPublisher,
    ledger: Ledger,
    /// Every worker that has ever joined.
    joined: BTreeSet<String>,
    /// Those of them that have not left.
    here: BTreeSet<String>,
    /// Workers that are still waited for before it begins.
    expected: usize,
    found: Option<String>,
    /// Words of the range in which the word was found, behind the word.
    untried: u64,
}

impl<'a> Sink<'a> {
    pub(super) async fn join(lab: &PipelineLab, place: &Place, job: &'a Job) -> Result<Self> {
        let results = lab.pull(place, Stage::Results).await?;
        let control = lab.control.publisher(&place.namespace(CONTROL)).await?;
        Ok(Self {
            job,
            guarantee: lab.guarantee,
            results,
            control,
            ledger: Ledger::new(job.words, job.batch),
            joined: BTreeSet::new(),
            here: BTreeSet::new(),
            expected: job.workers,
            found: None,
            untried: 0,
        })
    }

    /// Collects until it is over, then stops everybody. Ranges to hand out go to `next`.
    pub(super) async fn collect(
        mut self,
        next: mpsc::Sender<Range>,
        mut orders: mpsc::Receiver<Order>,
        tell: &mut dyn FnMut(Happened),
    ) -> Result<Ended> {
        let mut started = false;
        let mut patience = OVERDUE;
        let mut overdue = pin!(sleep(patience));
        while self.found.is_none() && !self.ledger.is_complete() {
            if !started && self.expected == 0 {
                started = true;
                overdue.set(sleep(patience));
                tell(Happened::Started);
            }
            while started && self.ledger.on_its_way() < self.job.window {
                // Room in the channel first: what the ledger hands out is on its way.
                let Ok(room) = next.try_reserve() else { break };
                let Some(range) = self.ledger.hand_out() else { break };
                room.send(range);
            }
            tokio::select! {
                report = self.results.next() => {
                    let report = report?.context("every worker has left, and nobody else can come")?;
                    if self.take_all(report, tell).await? {
                        patience = OVERDUE;
                        overdue.set(sleep(patience));
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Left(worker) | Order::Died(worker)) => self.gone(&worker),
                    Some(Order::Stop) | None => break,
                },
                () = &mut overdue, if started && self.guarantee == Guarantee::AtMostOnce => {
                    // What finds no room is still waiting to be handed out for the first time.
                    let again: Vec<Range> =
                        self.ledger.open().take_while(|range| next.try_send(*range).is_ok()).collect();
                    if !again.is_empty() {
                        tell(Happened::Again(again));
                    }
                    patience *= 2;
                    overdue.set(sleep(patience));
                }
            }
        }
        tell(Happened::Over(self.found.clone()));
        let stopped = self.stop(&mut orders, tell).await?;
        let ended = Ended {
            exhausted: self.ledger.is_complete() && self.found.is_none(),
            tried: self.ledger.tried() - self.untried,
            found: self.found,
            stopped,
            silent: self.here.into_iter().collect(),
        };
        self.results.close().await?;
        self.control.close().await?;
        Ok(ended)
    }

    /// Takes a report and all that are at hand behind it; whether a range is
    /// done that was not.
    async fn take_all(
        &mut self,
        first: Delivery<Bytes, Token>,
        tell: &mut dyn FnMut(Happened),
    ) -> Result<bool> {
        let (mut report, mut news) = (Some(first), false);
        while let Some(Delivery { item, receipt, .. }) = report {
            news |= self.note(&item, tell);
            self.results.ack(receipt).await?;
            report = match self.results.next().now_or_never() {
                Some(next) => next?,
                None => None,
            };
        }
        self.results.flush().await?;
        Ok(news)
    }

    /// Notes what a report says; whether a range is done that was not.
    fn note(&mut self, body: &Bytes, tell: &mut dyn FnMut(Happened)) -> bool {
        let (range, found, worker, attempt) = match Report::read(body) {
            Ok(Report::Done { range, found, worker, attempt }) => (range, found, worker, attempt),
            Ok(Report::Joined(worker)) => {
                if self.joined.insert(worker.clone()) {
                    self.expected = self.expected.saturating_sub(1);
                }
                self.here.insert(worker.clone());
                tell(Happened::Joined(worker));
                return false;
            }
            Ok(Report::Left(worker)) => {
                if self.here.remove(&worker) {
                    tell(Happened::Left(worker));
                }
                return false;
            }
            Err(why) => {
                tell(Happened::Refused(format!("{why:#}")));
                return false;
            }
        };
        let mut untried = 0;
        if let Some(word) = &found {
            // Anybody can write here: a word counts when its hash says so.
            let number = self.job.alphabet.number(word).filter(|number| range.holds(*number));
            let Some(number) = number.filter(|_| Hash::of(word) == self.job.hash) else {
                tell(Happened::Refused(format!("`{word}` is said to be found in {range}, and is not it")));
                return false;
            };
            untried = range.count - 1 - (number - range.start);
        }
        match self.ledger.note(range) {
            Noted::Done => {
                self.untried += untried;
                self.found = self.found.take().or(found);
                tell(Happened::Done { words: range.count - untried, worker, attempt });
                true
            }
            Noted::Twice => {
                tell(Happened::Twice(range));
                false
            }
            Noted::Unknown => {
                tell(Happened::Refused(format!("{range} was never handed out like this")));
                false
            }
        }
    }

    fn gone(&mut self, worker: &str) {
        self.here.remove(worker);
        // One that dies before it has joined is not waited for.
        if self.joined.insert(worker.to_owned()) {
            self.expected = self.expected.saturating_sub(1);
        }
    }

    /// Says `stop` until everybody has left; how many have.
    async fn stop(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        tell: &mut dyn FnMut(Happened),
    ) -> Result<usize> {
        let topic = Topic::new(CONTROL)?;
        let (before, mut died, mut said) = (self.here.len(), 0, false);
        let mut again = interval(STOP_AGAIN);
        let everybody = async {
            while !said || !self.here.is_empty() {
                tokio::select! {
                    _ = again.tick() => {
                        self.control.publish(&topic, Bytes::from_static(STOP.as_bytes())).await?;
                        self.control.flush().await?;
                        said = true;
                    }
                    report = self.results.next() => match report? {
                        Some(report) => drop(self.take_all(report, tell).await?),
                        None => break,
                    },
                    Some(order) = orders.recv() => match order {
                        Order::Left(worker) => self.gone(&worker),
                        Order::Died(worker) => {
                            died += usize::from(self.here.contains(&worker));
                            self.gone(&worker);
                        }
                        Order::Stop => {}
                    },
                }
            }
            anyhow::Ok(())
        };
        // Whoever does not answer is named in the end.
        if let Ok(stopped) = timeout(LEAVING, everybody).await {
            stopped.context("`stop` could not be said")?;
        }
        Ok(before.saturating_sub(self.here.len() + died))
    }
}
