//! The figures of a case that are compared.

use serde::Serialize;

use crate::report::cases;
use crate::results::{BenchmarkCase, LoadKind, Trial};
use crate::stats;

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
    pub(super) const fn has_baseline(self) -> bool {
        matches!(self, Self::Throughput | Self::P50)
    }

    /// The median of the good trials, where the case has this figure.
    pub(super) fn value(self, cell: &BenchmarkCase) -> Option<f64> {
        let rate = cell.load.kind == LoadKind::Rate;
        let has = match self {
            Self::Throughput => !rate,
            Self::P50 | Self::P99 => rate,
            Self::Cpu => true,
        };
        stats::median(&self.trials(cell)).filter(|_| has)
    }

    /// What each good trial says.
    pub(super) fn trials(self, cell: &BenchmarkCase) -> Vec<f64> {
        let figure: fn(&Trial) -> Option<f64> = match self {
            Self::Throughput => cases::throughput,
            Self::P50 => cases::p50,
            Self::P99 => cases::p99,
            Self::Cpu => cases::trial_cpu,
        };
        cases::figures(cell, figure)
    }
}
