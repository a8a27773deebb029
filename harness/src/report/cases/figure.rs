//! The figures of a case that are compared, and when they cannot be.

use std::cmp::Ordering;

use serde::Serialize;

use super::row::{figures, flags, p50, p99, throughput, trial_cpu};
use crate::results::{BenchmarkCase, Estimate, Flag, Trial};

/// A figure of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// Messages a second, at full speed or when a backlog is drained.
    Throughput,
    /// Median response time at a rate, ns.
    P50,
    /// Its 99th percentile, ns.
    P99,
    /// CPU time of all roles and the broker per message, ns.
    Cpu,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Throughput, Self::P50, Self::P99, Self::Cpu];

    /// As people read it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Throughput => "messages/s",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Cpu => "CPU per message",
        }
    }

    /// Whether more of it is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput)
    }

    /// Whether raw sockets have it, too.
    pub(crate) const fn has_baseline(self) -> bool {
        matches!(self, Self::Throughput | Self::P50)
    }

    /// What each good trial says.
    pub(crate) fn trials(self, cell: &BenchmarkCase) -> Vec<f64> {
        let figure: fn(&Trial) -> Option<f64> = match self {
            Self::Throughput => throughput,
            Self::P50 => p50,
            Self::P99 => p99,
            Self::Cpu => trial_cpu,
        };
        figures(cell, figure)
    }

    /// The flag of one of the two cases that makes this figure useless for comparing.
    pub(crate) fn spoilt_by(self, cells: [&BenchmarkCase; 2]) -> Option<Flag> {
        let spoils = |flag: &Flag| match flag {
            Flag::NegativeLatency | Flag::GeneratorLimited | Flag::UncertainClock => {
                matches!(self, Self::P50 | Self::P99)
            }
            Flag::HarnessCpu => self == Self::Throughput,
            Flag::SentBefore => self == Self::Cpu,
            Flag::BrokenPromise => true,
            _ => false,
        };
        cells.into_iter().flat_map(flags).filter(spoils).min()
    }
}

/// Whether what a ratio says is more or less than 1; nothing where its interval includes 1, as it is
/// shown: a difference below half a percent is none that anybody acts on.
pub(crate) fn apart(ratio: &Estimate) -> Option<Ordering> {
    match (ratio.low, ratio.high) {
        (1.005.., _) => Some(Ordering::Greater),
        (_, ..0.995) => Some(Ordering::Less),
        _ => None,
    }
}
