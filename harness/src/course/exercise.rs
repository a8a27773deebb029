//! What an exercise is.

use futures_util::future::LocalBoxFuture;

use super::plan::{Plan, Transport};
use super::session::Session;

/// One exercise: its files are in `labs/exercises/NAME/`.
pub(crate) struct Exercise {
    /// Its name on the command line, and of its files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// How long a student takes.
    pub(crate) minutes: u32,
    pub(crate) transport: Transport,
    /// What a program must do: name and meaning of each check.
    pub(crate) checks: &'static [(&'static str, &'static str)],
    /// The check that the starter fails.
    pub(crate) anomaly: &'static str,
    /// How many messages a whole check sends.
    pub(crate) messages: usize,
    /// What is done to the program and to the link meanwhile.
    pub(crate) faults: &'static [&'static str],
    /// The page of the book about its subject, below `docs/`.
    pub(crate) page: &'static str,
    /// Plays all other parties, and judges.
    pub(crate) play: for<'a> fn(&'a mut Session) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

impl Exercise {
    /// All messages and all faults of a check.
    pub(crate) fn whole(&self, seed: u64) -> Plan {
        Plan { messages: self.messages, faults: self.faults.iter().copied().collect(), seed }
    }
}
