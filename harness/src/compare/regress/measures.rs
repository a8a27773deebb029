//! The measures that are compared between two programs, and those that decide.

use serde::{Deserialize, Serialize};

/// A measure that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Median response time at the fixed load, ns.
    P50,
    /// CPU time of all roles per message at the fixed load, ns.
    Cpu,
    /// Bytes that all roles hand to the kernel per message at the fixed load.
    Bytes,
    /// Allocations of all roles per message at the fixed load.
    Allocations,
    /// Writes of all roles per message at the fixed load.
    Writes,
    /// 99th percentile of response time at the fixed load, ns.
    P99,
    /// Largest response time at the fixed load, ns.
    Max,
    /// Context switches of all roles per message at the fixed load.
    Switches,
    /// CPU time of a private broker per message, joining included, ns.
    BrokerCpu,
    /// Messages a second at full speed.
    Peak,
    /// CPU time of all roles per message at full speed, ns.
    PeakCpu,
}

impl Measure {
    /// All, those that decide first.
    pub const ALL: [Self; 11] = [
        Self::P50,
        Self::Cpu,
        Self::Bytes,
        Self::Allocations,
        Self::Writes,
        Self::P99,
        Self::Max,
        Self::Switches,
        Self::BrokerCpu,
        Self::Peak,
        Self::PeakCpu,
    ];

    /// Whether it decides. Only what repeats well enough on a shared machine does.
    pub const fn gates(self) -> bool {
        matches!(self, Self::P50 | Self::Cpu | Self::Bytes | Self::Allocations)
    }

    /// Less than this is nothing: a count below one in a hundred messages is of what
    /// happens beside them, and twice zero is not a regression. 0 where every value counts.
    pub const fn least(self) -> f64 {
        match self {
            Self::Bytes | Self::Allocations | Self::Writes => 0.01,
            _ => 0.0,
        }
    }

    /// As people read it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::P50 => "p50 of response",
            Self::Cpu => "CPU per message",
            Self::Bytes => "bytes per message",
            Self::Allocations => "allocations per message",
            Self::Writes => "writes per message",
            Self::P99 => "p99 of response",
            Self::Max => "largest response",
            Self::Switches => "context switches per message",
            Self::BrokerCpu => "broker's CPU per message",
            Self::Peak => "peak rate",
            Self::PeakCpu => "CPU per message, at full speed",
        }
    }

    /// A value with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Switches | Self::Allocations | Self::Writes => format!("{value:.2}"),
            Self::Bytes => format!("{value:.1} B"),
            Self::Peak => format!("{:.0}/s", value),
            _ if value < 1_000.0 => format!("{value:.0} ns"),
            _ => format!("{:.1} µs", value / 1e3),
        }
    }
}
