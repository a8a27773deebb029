//! A set of runs of failure scenarios, in one file.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::fault_store::{set_of, set_text, write_file};
use super::file::{MOST_RECORD, read_text};
use super::machine::{Host, Versions};
use super::scenario::{SCENARIO_SCHEMA, SCENARIOS, ScenarioRun};

/// Runs of scenarios on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScenarioSet {
    /// The version of this form.
    pub schema: u32,
    /// The machine.
    pub host: Host,
    /// The program.
    pub versions: Versions,
    /// The last run of each scenario over each lab.
    pub runs: Vec<ScenarioRun>,
}

impl ScenarioSet {
    /// A set without runs.
    pub const fn new(host: Host, versions: Versions) -> Self {
        Self { schema: SCENARIO_SCHEMA, host, versions, runs: Vec::new() }
    }

    /// The set in this folder.
    ///
    /// # Errors
    /// When it is missing, too large, damaged, or of a newer schema; it is named.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(SCENARIOS);
        let text = read_text(&path, MOST_RECORD)?;
        set_of(&text, &path, SCENARIO_SCHEMA)
    }

    /// Keeps a run, in the place of an earlier one of the same scenario over the same lab.
    pub fn put(&mut self, run: ScenarioRun) {
        self.runs.retain(|known| known.scenario != run.scenario || known.lab != run.lab);
        self.runs.push(run);
    }

    /// Writes it, all or nothing. Each run has a line of its own.
    ///
    /// # Errors
    /// When it cannot be written; it is named.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let text = set_text(self.schema, &self.host, &self.versions, &self.runs)?;
        write_file(dir, SCENARIOS, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_or_newer_file_is_named_with_what_is_wrong() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join(SCENARIOS);
        for (text, says) in [
            ("{\"schema\":1,", "is damaged"),
            ("{\"schema\":99,\"new\":true}", "has schema 99"),
            ("{\"runs\":[]}", "no `schema` field"),
            ("{\"schema\":1,\"runs\":[7]}", "does not follow schema 1"),
        ] {
            std::fs::write(&file, text).expect("written");
            let error = ScenarioSet::open(dir.path()).expect_err(text).to_string();
            assert!(error.contains(says) && error.contains(SCENARIOS), "{error}");
        }
    }
}
