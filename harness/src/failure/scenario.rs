//! What a failure scenario is.

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use labs::catalog::{Entry, Pattern};

use super::experiment::Experiment;

/// One failure scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line. No lab has it.
    pub name: &'static str,
    /// What it shows, in one line.
    pub title: &'static str,
    /// The pattern of the labs that it runs over.
    pub pattern: Pattern,
    /// The transport, where none is asked for.
    pub usual: &'static str,
    /// What to predict before it is run.
    pub question: &'static str,
    /// What it teaches, in three sentences.
    pub lesson: [&'static str; 3],
    /// Why it cannot be shown over a lab, if it cannot.
    pub why_not: fn(&Entry) -> Option<&'static str>,
    /// Plays it.
    pub(super) play: for<'e> fn(&'e mut Experiment) -> LocalBoxFuture<'e, Result<()>>,
}

impl Scenario {
    /// The page about it, in `docs/`.
    pub fn page(&self) -> String {
        format!("failures/{}.md", self.name)
    }

    /// The transports that it runs over, as they are called in the names of labs.
    pub fn transports(&self, entries: &[Entry]) -> Vec<String> {
        let labs = entries.iter().filter(|entry| entry.pattern == self.pattern);
        labs.filter(|entry| (self.why_not)(entry).is_none()).map(|entry| self.transport_of(entry)).collect()
    }

    /// What stands behind the pattern in a lab's name.
    pub fn transport_of(&self, entry: &Entry) -> String {
        entry.name.trim_start_matches(self.pattern.as_str()).trim_start_matches('-').to_owned()
    }
}
