//! The sink: collects reports, keeps the ledger, gives the ventilator new ranges as
//! old ones are done, and publishes `stop` when the search is over.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};

use super::job::{Job, Order, Outcome, SearchEvent};
use super::ledger::{Ledger, Noted};
use super::message::{CONTROL, Range, Report, STOP};
use super::words::Hash;
use crate::erased::{AnyConsumer, AnyPublisher, PipelineLab, Token};
use crate::lab::{Guarantee, Place};
use crate::pipeline::Stage;
use crate::pubsub::Publisher;
use crate::queue::{Consumer, Delivery};
use crate::topic::Topic;

/// At most once: after this time without a report, the open ranges are issued again.
/// The time doubles until a report comes.
const OVERDUE: Duration = Duration::from_secs(1);
/// `stop` is published again after this time while workers have not left: some
/// transports do not confirm a subscription, and lose earlier messages.
const STOP_AGAIN: Duration = Duration::from_millis(100);
/// Maximum time for workers to leave after `stop`.
const LEAVING: Duration = Duration::from_secs(5);

/// The sink of one search.
pub(super) struct Sink<'a> {
    job: &'a Job,
    place: Place,
    guarantee: Guarantee,
    results: AnyConsumer,
    control: AnyPublisher,
    ledger: Ledger,
    /// All workers that have ever joined.
    joined: BTreeSet<String>,
    /// Workers that have joined and not left.
    here: BTreeSet<String>,
    /// Number of workers to wait for before the search begins.
    expected: usize,
    found: Option<String>,
    /// Words that were not tried: those after the word, in its range.
    untried: u64,
}

impl<'a> Sink<'a> {
    pub(super) async fn join(lab: &PipelineLab, place: &Place, job: &'a Job) -> Result<Self> {
        let results = lab.pull(place, Stage::Results).await?;
        let control = lab.control.publisher(&place.namespace(CONTROL)).await?;
        Ok(Self {
            job,
            place: place.clone(),
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

    /// Collects reports until the search is over, then stops the workers. Ranges to hand
    /// out go to `next`.
    pub(super) async fn collect(
        mut self,
        next: mpsc::Sender<Range>,
        mut orders: mpsc::Receiver<Order>,
        on_event: &mut dyn FnMut(SearchEvent),
    ) -> Result<Outcome> {
        let mut started = false;
        let mut wait = OVERDUE;
        let mut overdue = pin!(sleep(wait));
        while self.found.is_none() && !self.ledger.is_complete() {
            if !started && self.expected == 0 {
                started = true;
                overdue.set(sleep(wait));
                on_event(SearchEvent::Started);
            }
            while started && self.ledger.open_count() < self.job.window {
                // Reserve room in the channel first: the ledger counts a range as handed out.
                let Ok(room) = next.try_reserve() else { break };
                let Some(range) = self.ledger.hand_out() else { break };
                room.send(range);
            }
            tokio::select! {
                report = self.results.next() => {
                    let report = report?.context("all workers have left, and no other can join")?;
                    if self.take_all(report, on_event).await? {
                        wait = OVERDUE;
                        overdue.set(sleep(wait));
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Left(worker) | Order::Died(worker)) => self.gone(&worker),
                    Some(Order::Stop) | None => break,
                },
                () = &mut overdue, if started && self.guarantee == Guarantee::AtMostOnce => {
                    // If the channel is full, the rest still waits there for the first time.
                    let again: Vec<Range> =
                        self.ledger.open().take_while(|range| next.try_send(*range).is_ok()).collect();
                    if !again.is_empty() {
                        on_event(SearchEvent::Again(again));
                    }
                    wait *= 2;
                    overdue.set(sleep(wait));
                }
            }
        }
        on_event(SearchEvent::Over(self.found.clone()));
        let stopped = self.stop(&mut orders, on_event).await?;
        let outcome = Outcome {
            exhausted: self.ledger.is_complete() && self.found.is_none(),
            tried: self.ledger.tried() - self.untried,
            found: self.found,
            stopped,
            silent: self.here.into_iter().collect(),
        };
        self.results.close().await?;
        self.control.close().await?;
        Ok(outcome)
    }

    /// Takes this report and all others that are ready; returns whether a range is newly
    /// done.
    async fn take_all(
        &mut self,
        first: Delivery<Bytes, Token>,
        on_event: &mut dyn FnMut(SearchEvent),
    ) -> Result<bool> {
        let (mut report, mut news) = (Some(first), false);
        while let Some(Delivery { item, receipt, .. }) = report {
            news |= self.note(&item, on_event);
            self.results.ack(receipt).await?;
            report = match self.results.next().now_or_never() {
                Some(next) => next?,
                None => None,
            };
        }
        self.results.flush().await?;
        Ok(news)
    }

    /// Records a report; returns whether a range is newly done.
    fn note(&mut self, body: &Bytes, on_event: &mut dyn FnMut(SearchEvent)) -> bool {
        let (range, found, worker, attempt) = match Report::read(body) {
            Ok(Report::Done { range, found, worker, attempt }) => (range, found, worker, attempt),
            Ok(Report::Joined(worker)) => {
                if self.joined.insert(worker.clone()) {
                    self.expected = self.expected.saturating_sub(1);
                }
                self.here.insert(worker.clone());
                on_event(SearchEvent::Joined(worker));
                return false;
            }
            Ok(Report::Left(worker)) => {
                if self.here.remove(&worker) {
                    on_event(SearchEvent::Left(worker));
                }
                return false;
            }
            Err(why) => {
                self.place.message_skipped(format_args!("among the results: {why:#}"));
                on_event(SearchEvent::Refused(format!("{why:#}")));
                return false;
            }
        };
        let mut untried = 0;
        if let Some(word) = &found {
            // Any client can write to this queue: a word counts only if its hash is right.
            let number = self.job.alphabet.number(word).filter(|number| range.holds(*number));
            let Some(number) = number.filter(|_| Hash::of(word) == self.job.hash) else {
                on_event(SearchEvent::Refused(format!(
                    "`{word}` was reported in {range}, but does not have the hash"
                )));
                return false;
            };
            untried = range.count - 1 - (number - range.start);
        }
        match self.ledger.note(range) {
            Noted::Done => {
                self.untried += untried;
                self.found = self.found.take().or(found);
                on_event(SearchEvent::Done { words: range.count - untried, worker, attempt });
                true
            }
            Noted::Twice => {
                on_event(SearchEvent::Twice(range));
                false
            }
            Noted::Unknown => {
                on_event(SearchEvent::Refused(format!("{range} is not a range that was handed out")));
                false
            }
        }
    }

    fn gone(&mut self, worker: &str) {
        self.here.remove(worker);
        // Do not wait for a worker that has died before it joined.
        if self.joined.insert(worker.to_owned()) {
            self.expected = self.expected.saturating_sub(1);
        }
    }

    /// Publishes `stop` until all workers have left; returns how many left.
    async fn stop(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        on_event: &mut dyn FnMut(SearchEvent),
    ) -> Result<usize> {
        let topic = Topic::new(CONTROL)?;
        let (before, mut died, mut published) = (self.here.len(), 0, false);
        let mut again = interval(STOP_AGAIN);
        let all_left = async {
            while !published || !self.here.is_empty() {
                tokio::select! {
                    _ = again.tick() => {
                        self.control.publish(&topic, Bytes::from_static(STOP.as_bytes())).await?;
                        self.control.flush().await?;
                        published = true;
                    }
                    report = self.results.next() => match report? {
                        Some(report) => drop(self.take_all(report, on_event).await?),
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
        // Workers that do not answer are named in the outcome.
        if let Ok(stopped) = timeout(LEAVING, all_left).await {
            stopped.context("`stop` could not be published")?;
        }
        Ok(before.saturating_sub(self.here.len() + died))
    }
}
