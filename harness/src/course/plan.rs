//! How much a run sends and does, and what a check of a program finds.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

/// What the messages travel over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// The checker listens; the program connects.
    Tcp,
    /// A private Redis.
    Redis,
}

/// How much is sent in a run, and what is done meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    pub(crate) messages: usize,
    pub(crate) faults: BTreeSet<&'static str>,
    /// Decides the order and the moments of things. The bodies of messages are random, and do not
    /// follow from it.
    pub(crate) seed: u64,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) holds: bool,
    pub(crate) expected: String,
    pub(crate) got: String,
}

/// The check that every program has to pass: it runs, and keeps to the protocol.
pub(crate) const RUNS: &str = "runs";

/// What a check of a program came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Valid,
    Invalid,
    /// What was to be shown did not happen, as when no work succeeded during a fault.
    Unknown,
}

/// How long a run may take.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);
/// How long the search for a smaller witness may take.
pub(crate) const SHRINKING: Duration = Duration::from_secs(60);
