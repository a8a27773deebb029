//! What the good trials of a cell say together.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cost, Counts, Hops, Percentiles};

/// A median with a bootstrap interval (95 %) over the trials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Estimate {
    /// The median of the trials; for a percentile, that of their merged histogram.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// What the good trials of a cell say together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Summary {
    /// Received messages a second.
    pub throughput_per_s: Estimate,
    /// Sums over the trials (distance: the maximum).
    #[serde(flatten)]
    pub counts: Counts,
    /// From the merged histograms.
    pub response_ns: Percentiles,
    /// The p50 of `response_ns` with its interval; null where that is withheld.
    #[serde(default)]
    pub response_p50_ns: Option<Estimate>,
    /// The p99 of `response_ns` with its interval; null where that is withheld.
    #[serde(default)]
    pub response_p99_ns: Option<Estimate>,
    /// From the merged histograms.
    pub service_ns: Percentiles,
    /// From the merged histograms.
    pub lag_ns: Percentiles,
    /// From the merged histograms.
    #[serde(default)]
    pub pacer_ns: Option<Percentiles>,
    /// From the merged histograms.
    pub confirm_ns: Option<Percentiles>,
    /// From the merged histograms.
    #[serde(default)]
    pub hops_ns: Option<Hops<Percentiles>>,
    /// Sums over the trials, worker by worker; empty for other patterns than pipelines.
    #[serde(default)]
    pub shares: Vec<u64>,
    /// Medians over the trials.
    pub cost: BTreeMap<String, Cost>,
    /// Every flag that at least one good trial has, and `too-few-samples`.
    pub flags: Vec<Flag>,
}

/// Why a figure is not to be believed as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// Confirmed messages were lost although the lab promises that none is.
    BrokenPromise,
    /// Flat out, more than a fifth of the CPU time was the harness's own.
    HarnessCpu,
    /// The load generator, not the lab, set the figure.
    GeneratorLimited,
    /// Flat out, most of what was received in the measured time had been sent before it.
    SentBefore,
    /// The two halves of the measurement differ by more than a fifth.
    Unsteady,
    /// Too few samples for the 99th percentile.
    TooFewSamples,
    /// Times of two hosts, whose clocks are not known well enough: they are withheld.
    UncertainClock,
    /// A message was received before it was sent, by the clock.
    NegativeLatency,
    /// Others used the machine, or the hypervisor took it away.
    NoisyMachine,
}

impl Flag {
    /// The name in results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BrokenPromise => "broken-promise",
            Self::HarnessCpu => "harness-cpu",
            Self::GeneratorLimited => "generator-limited",
            Self::SentBefore => "sent-before",
            Self::Unsteady => "unsteady",
            Self::TooFewSamples => "too-few-samples",
            Self::UncertainClock => "uncertain-clock",
            Self::NegativeLatency => "negative-latency",
            Self::NoisyMachine => "noisy-machine",
        }
    }
}
