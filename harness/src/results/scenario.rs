//! What a failure scenario leaves behind: one run of `lab break run`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of [`ScenarioRun`].
pub const SCENARIO_SCHEMA: u32 = 1;
/// The file of the runs of a set, in its folder.
pub const SCENARIOS: &str = "scenarios.json";
/// Most events that are kept of one part.
pub const MOST_EVENTS: usize = 400;

/// Whether something is as it was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was seen.
    Holds,
    /// Too little was seen: the fault did not hit, or what it needs did not happen.
    CannotTell,
    /// The opposite was seen.
    DoesNotHold,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "holds",
            Self::CannotTell => "cannot tell",
            Self::DoesNotHold => "does not hold",
        })
    }
}

/// One run of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScenarioRun {
    /// The scenario's name.
    pub scenario: String,
    /// What it shows, in one line.
    pub title: String,
    /// The lab.
    pub lab: String,
    /// Its broker and the version; `None`: peer to peer.
    pub broker: Option<String>,
    /// The command that repeats it.
    pub command: String,
    /// What all checks say together: one that does not hold is enough.
    pub outcome: Outcome,
    /// What was claimed, and what was seen.
    pub checks: Vec<Check>,
    /// Figures beside the checks.
    pub facts: Vec<Fact>,
    /// The parts, in the order in which they were run.
    pub parts: Vec<Part>,
    /// How long it took, broker included, seconds.
    pub seconds: f64,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// What should be so.
    pub claim: String,
    /// What was seen.
    pub seen: String,
    /// Whether it is so.
    pub outcome: Outcome,
}

/// A figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// Its value, with its unit.
    pub value: String,
}

/// One part of a scenario: roles at one place, from their start to their end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Part {
    /// What is different in it.
    pub name: String,
    /// What the roles reported, and what was done to them; at most 400, in the order of time.
    pub events: Vec<ScenarioEvent>,
    /// Events that are not kept.
    pub left_out: u64,
    /// Figures over time.
    pub series: Vec<Series>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScenarioEvent {
    /// ns from the begin of the part.
    pub at: u64,
    /// The role; `lab` for what is done from outside.
    pub who: String,
    /// What happened.
    pub what: String,
    /// The message, or more about it.
    pub text: String,
    /// Which delivery it was, for queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// A figure over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Seconds from the begin of the part, and the value.
    pub points: Vec<(f64, f64)>,
}

/// What several checks say together.
pub fn together(checks: &[Check]) -> Outcome {
    checks.iter().map(|check| check.outcome).max().unwrap_or(Outcome::CannotTell)
}
