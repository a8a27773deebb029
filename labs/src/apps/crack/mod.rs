//! A hash cracker: which word has this SHA-1 hash? The words over an alphabet
//! are numbered, a ventilator hands out ranges of numbers, workers try them, a
//! sink keeps account and says `stop` when one has found it. Over any pipeline
//! lab, written once.
//!
//! ```text
//!   ventilator ──tasks──▶ worker ──results──▶ sink
//!        ▲                   ▲                 │ │
//!        └──── next ranges ──│─────────────────┘ │
//!                            └───── "stop" ──────┘ control
//! ```
//!
//! Read [`words`] (the key space), [`message`] (the wire), then the three roles:
//! [`ventilator`], [`worker`], [`sink`]. The sink's [`ledger`] decides what is
//! handed out next: so many ranges are on their way and no more, which bounds
//! what brokers hold and what is in vain after a match.
//!
//! Where the transport gives tasks back when a worker dies, nothing more is
//! needed, and what was done twice is counted once. Where it does not, the sink
//! issues again what is missing when nothing has come for a while.
//!
//! Run it with `just crack`.

use std::cell::Cell;

use anyhow::Result;
use tokio::sync::mpsc;

use crate::erased::PipelineLab;
use crate::lab::Place;
use crate::pipeline::Stage;

pub mod ledger;
pub mod message;
pub mod sink;
pub mod ventilator;
pub mod words;
pub mod worker;

use message::{Range, Task};
use sink::Sink;
use words::{Alphabet, Hash};

/// The namespace of the place where `stop` is said.
const CONTROL: &str = "control";
/// What is said there, under the topic of the same name as the namespace.
const STOP: &str = "stop";

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Job {
    /// The hash whose word is looked for.
    pub hash: Hash,
    /// What words are made of.
    pub alphabet: Alphabet,
    /// How many words there are, from number 0.
    pub words: u64,
    /// Words in a task, at least 1.
    pub batch: u64,
    /// Tasks on their way at most, at least 1.
    pub window: usize,
    /// Workers to wait for before the first task is handed out, so that they
    /// begin together: some transports lose a task for which nobody is there.
    pub workers: usize,
}

impl Job {
    fn task(&self, range: Range) -> Task {
        Task { hash: self.hash, alphabet: self.alphabet.clone(), range }
    }

    /// The same, in this thread, without a message: what the rest is measured against.
    pub fn alone(&self) -> Option<String> {
        self.alphabet.walk(0).search(&self.hash, self.words)
    }
}

/// What whoever started the hunt has to say to it.
#[derive(Debug, Clone)]
pub enum Order {
    /// This worker has ended in order; what it has said last may have been lost.
    Left(String),
    /// This worker has died.
    Died(String),
    /// Enough: stop everybody.
    Stop,
}

/// Something that happened, at the moment when it did.
#[derive(Debug, Clone)]
pub enum Happened {
    /// Ventilator and sink are there: workers can join.
    Open,
    /// A worker has joined.
    Joined(String),
    /// A worker has left, and has said so.
    Left(String),
    /// All workers that are waited for are there: tasks are handed out.
    Started,
    /// A range is done.
    Done {
        /// Words that this adds to those that were tried.
        words: u64,
        /// Who did it, where he has said so.
        worker: Option<String>,
        /// Which delivery of its task it was.
        attempt: u32,
    },
    /// A range is done that was done before: it does not count again.
    Twice(Range),
    /// Nothing has come for a while: these ranges are handed out again.
    Again(Vec<Range>),
    /// A body that is not a report, or a false one: why it was refused.
    Refused(String),
    /// The hunt is over: the word, or none. Workers are about to be stopped.
    Over(Option<String>),
}

/// How it ended.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    /// The word.
    pub found: Option<String>,
    /// Words that were tried, each counted once.
    pub tried: u64,
    /// All of them were.
    pub exhausted: bool,
    /// Workers that have answered `stop` by leaving.
    pub stopped: usize,
    /// Workers of which nothing was heard after `stop`.
    pub silent: Vec<String>,
}

/// Ventilator and sink, until the word is found, all words are tried, or
/// [`Order::Stop`]. `tell` hears what happens.
pub async fn hunt(
    lab: &PipelineLab,
    place: &Place,
    job: &Job,
    orders: mpsc::Receiver<Order>,
    tell: &mut dyn FnMut(Happened),
) -> Result<Ended> {
    let sink = Sink::join(lab, place, job).await?;
    let mut tasks = lab.push(place, Stage::Tasks).await?;
    tell(Happened::Open);
    let (next, ranges) = mpsc::channel(job.window.max(1));
    let over = Cell::new(false);
    let mut tell = |happened| {
        over.set(over.get() || matches!(happened, Happened::Over(_)));
        tell(happened);
    };
    let collecting = sink.collect(next, orders, &mut tell);
    let handing_out = async {
        match ventilator::hand_out(&mut tasks, job, ranges).await {
            // Workers who leave because it is over leave tasks that nobody needs.
            Err(error) if !over.get() => Err(error),
            _ => Ok(()),
        }
    };
    // The ventilator's end stays until the workers have left, or some would see
    // their tasks end before they hear `stop`.
    tokio::select! {
        ended = collecting => ended,
        Err(error) = handing_out => Err(error),
    }
}
