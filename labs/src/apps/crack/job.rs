//! What a search is given, and what it reports: the job, orders while it runs,
//! events, the outcome.

use super::message::{Range, Task};
use super::words::{Alphabet, Hash};

/// What to search for, and how to divide the work.
#[derive(Debug, Clone)]
pub struct Job {
    /// The hash whose word is searched for.
    pub hash: Hash,
    /// The letters of the words.
    pub alphabet: Alphabet,
    /// Number of words to try, from number 0.
    pub words: u64,
    /// Words per task, at least 1.
    pub batch: u64,
    /// Maximum number of tasks that are handed out and not reported, at least 1.
    pub window: usize,
    /// Workers to wait for before the first task is handed out, so that they
    /// begin together: some transports lose a task when no worker is there.
    pub workers: usize,
}

impl Job {
    pub(super) fn task(&self, range: Range) -> Task {
        Task { hash: self.hash, alphabet: self.alphabet.clone(), range }
    }

    /// The same search in this thread, without messages: the baseline for comparisons.
    pub fn alone(&self) -> Option<String> {
        self.alphabet.walk(0).search(&self.hash, self.words)
    }
}

/// What the program that started the search tells it.
#[derive(Debug, Clone)]
pub enum Order {
    /// This worker has ended without an error; its last message may have been lost.
    Left(String),
    /// This worker has died.
    Died(String),
    /// Stop all workers and end the search.
    Stop,
}

/// An event of the search, reported when it happens.
#[derive(Debug, Clone)]
pub enum SearchEvent {
    /// Ventilator and sink are connected: workers can join.
    Open,
    /// A worker has joined.
    Joined(String),
    /// A worker has reported that it leaves.
    Left(String),
    /// All expected workers have joined: tasks are handed out.
    Started,
    /// A range is done.
    Done {
        /// Words that this adds to those that were tried.
        words: u64,
        /// The worker, if it gave its name.
        worker: Option<String>,
        /// Which delivery of its task it was.
        attempt: u32,
    },
    /// A range was reported again: it does not count again.
    Twice(Range),
    /// No report has come for a while: these ranges are handed out again.
    Again(Vec<Range>),
    /// A body that is not a report, or a false report: why it was refused.
    Refused(String),
    /// The search has ended, with the word or without. The workers are stopped next.
    Over(Option<String>),
}

/// How the search ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The word.
    pub found: Option<String>,
    /// Words that were tried, each counted once.
    pub tried: u64,
    /// Whether all words were tried without a match.
    pub exhausted: bool,
    /// Number of workers that left after `stop`.
    pub stopped: usize,
    /// Workers that did not answer `stop`.
    pub silent: Vec<String>,
}
