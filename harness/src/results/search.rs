//! What is found by measuring at several rates: the rate that a lab sustains,
//! and its latency against load.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Arrivals;

/// What a load must keep to be called sustainable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Objective {
    /// Response time at the 99th percentile, ns, at most.
    pub p99_ns: u64,
    /// Share of the messages due in the measured time that was received in it, at least.
    pub achieved: f64,
}

impl Default for Objective {
    /// 99 % of the load within 10 ms at the 99th percentile.
    fn default() -> Self {
        Self { p99_ns: 10_000_000, achieved: 0.99 }
    }
}

/// What a cell was made for, where it is not one of the plan's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// A step of a search for the sustainable rate.
    Capacity,
    /// A point of latency against load.
    Sweep,
}

/// What was searched or swept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Subject {
    /// The lab.
    pub lab: String,
    /// Its pattern.
    pub pattern: String,
    /// What survives: `at-most-once`, `at-least-once`, `durable`.
    pub guarantee: String,
    /// Declared message size, bytes.
    pub size: u64,
    /// Senders.
    pub senders: usize,
    /// Receivers.
    pub receivers: usize,
    /// Knobs that are axes of the plan.
    pub set: BTreeMap<String, usize>,
}

/// The search for the highest rate that a lab sustains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Capacity {
    /// What was searched.
    pub subject: Subject,
    /// How messages were spaced.
    pub arrivals: Arrivals,
    /// What a load had to keep.
    pub objective: Objective,
    /// Every rate that was tried, in order.
    pub steps: Vec<Step>,
    /// The highest rate that passed and was confirmed by a longer run, messages a second.
    pub sustainable_per_s: Option<f64>,
    /// The highest rate that passed in short trials.
    pub highest_pass_per_s: Option<f64>,
    /// The lowest rate that failed; null where none did, and the generator set the end.
    pub lowest_fail_per_s: Option<f64>,
    /// Why there is no sustainable rate, or why it is only a lower bound.
    pub note: Option<String>,
    /// Whether the search came to its end.
    pub complete: bool,
}

/// One rate of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Step {
    /// Its cell.
    pub cell: String,
    /// Messages a second.
    pub rate: f64,
    /// What it was tried for.
    pub purpose: Purpose,
    /// The majority of its trials passed.
    pub passed: bool,
    /// Its trials, as they were judged.
    pub trials: Vec<Attempt>,
}

/// What a rate was tried for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Doubled (or halved) until one passes and one fails.
    Bracket,
    /// Halfway between pass and fail.
    Bisect,
    /// A longer run at the highest pass.
    Confirm,
}

/// How one trial of a search was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Attempt {
    /// Its index in the cell.
    pub trial: usize,
    /// Why it did not pass; null where it did.
    pub why: Option<String>,
}

/// Latency against load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Sweep {
    /// What was swept.
    pub subject: Subject,
    /// How messages were spaced.
    pub arrivals: Arrivals,
    /// The sustainable rate, messages a second: 100 % of the load.
    pub sustainable_per_s: f64,
    /// From the lowest load to the highest.
    pub points: Vec<Point>,
    /// The share at which the knee lies: where load divided by mean response
    /// time is largest (Kleinrock's *power*); null before two points are made.
    pub knee: Option<f64>,
    /// Mean response at the lowest load, ns: what a message takes when it never queues.
    pub base_ns: Option<f64>,
    /// Squared coefficient of variation of the service time at the lowest load.
    pub service_scv: Option<f64>,
}

/// One load of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Point {
    /// Share of the sustainable rate.
    pub share: f64,
    /// Messages a second.
    pub rate: f64,
    /// Its cell.
    pub cell: String,
    /// Mean response that queueing theory predicts, ns; null at and above 100 %, where there is none.
    pub predicted_ns: Option<f64>,
}
