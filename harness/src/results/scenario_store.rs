//! A set of runs of failure scenarios, in one file.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::fault_store::write_file;
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
    /// When it cannot be read, or is of another version.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(SCENARIOS);
        let text = read_text(&path, MOST_RECORD)?;
        let set: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a set of scenarios", path.display()))?;
        ensure!(
            set.schema == SCENARIO_SCHEMA,
            "{} has schema {}, and this `lab` reads {SCENARIO_SCHEMA}",
            path.display(),
            set.schema
        );
        Ok(set)
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
        let lines = self.runs.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        let (host, versions) = (serde_json::to_string(&self.host)?, serde_json::to_string(&self.versions)?);
        let text = format!(
            "{{\n\"schema\":{},\n\"host\":{host},\n\"versions\":{versions},\n\"runs\":[\n{}\n]\n}}\n",
            self.schema,
            lines.join(",\n")
        );
        write_file(dir, SCENARIOS, &text)
    }
}
