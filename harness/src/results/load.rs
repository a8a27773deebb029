//! How messages are offered.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How messages are offered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Load {
    /// As fast as the window allows, at a rate, a backlog, or a search over rates.
    pub kind: LoadKind,
    /// Messages a second over all senders, for `rate`.
    pub rate: Option<f64>,
    /// How the scheduled times are spaced, for `rate`, `capacity` and `sweep`.
    pub arrivals: Option<Arrivals>,
    /// Messages that are due at the same moment, for arrivals in bursts.
    #[serde(default)]
    pub burst: Option<u64>,
    /// Messages that are queued up before they are drained, for `drain`.
    #[serde(default)]
    pub messages: Option<u64>,
}

/// Closed loop, open loop, or what is made of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LoadKind {
    /// Closed loop, for throughput.
    Max,
    /// Open loop, for latency.
    Rate,
    /// A backlog is queued up while no consumer takes anything, then drained.
    Drain,
    /// A search for the highest rate that is sustained; only in plans. Its
    /// cells are of the kind `rate`.
    Capacity,
    /// Latency from 1 % to 105 % of the sustainable rate; only in plans. Its
    /// cells are of the kind `rate`.
    Sweep,
}

/// How scheduled send times are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Equal gaps.
    Constant,
    /// Exponential gaps from the run's seed.
    Poisson,
    /// `burst` messages at the same moment, then a gap that keeps the rate.
    Burst,
    /// From nothing evenly up to the rate, at the end of the measured time.
    Ramp,
}

impl Load {
    /// The load of a closed loop.
    pub fn max() -> Self {
        Self { kind: LoadKind::Max, rate: None, arrivals: None, burst: None, messages: None }
    }

    /// The load of an open loop, messages a second.
    pub fn rate(per_s: f64, arrivals: Arrivals) -> Self {
        Self { kind: LoadKind::Rate, rate: Some(per_s), arrivals: Some(arrivals), ..Self::max() }
    }

    /// Whether messages have due times.
    pub fn is_open(&self) -> bool {
        self.kind == LoadKind::Rate
    }

    /// The mean time between two due times of all senders together, ns; `None` in a closed loop.
    pub fn gap_ns(&self) -> Option<f64> {
        self.rate.filter(|rate| self.is_open() && *rate > 0.0).map(|rate| 1e9 / rate)
    }

    /// `max`, `1000/s`, `1000/s poisson`, `drain 10000`.
    pub fn label(&self) -> String {
        let mut label = match (self.kind, self.rate, self.messages) {
            (LoadKind::Rate, Some(rate), _) => format!("{rate}/s"),
            (LoadKind::Drain, _, Some(messages)) => format!("drain {messages}"),
            (LoadKind::Drain, ..) => "drain".to_owned(),
            (LoadKind::Capacity, ..) => "capacity".to_owned(),
            (LoadKind::Sweep, ..) => "sweep".to_owned(),
            (LoadKind::Max | LoadKind::Rate, ..) => "max".to_owned(),
        };
        match self.arrivals {
            Some(Arrivals::Poisson) => label.push_str(" poisson"),
            Some(Arrivals::Burst) => label.push_str(&format!(" burst {}", self.burst.unwrap_or(1))),
            Some(Arrivals::Ramp) => label.push_str(" ramp"),
            Some(Arrivals::Constant) | None => {}
        }
        label
    }
}
