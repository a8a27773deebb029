//! A check of the self-test: the faults applied to the messages, and the values that the
//! harness must find.

use std::fmt;

use labs::catalog::Pattern;

use super::fault::{Faults, Harm};
use crate::results::{Arrivals, Flag, Load};

/// One check, with its expected result.
#[derive(Clone)]
pub struct Check {
    /// Its name, unique.
    pub name: &'static str,
    /// The faults of the transport, in a few words.
    pub about: &'static str,
    /// The pattern whose loops are put to the test.
    pub pattern: Pattern,
    pub(super) load: Load,
    pub(super) senders: usize,
    pub(super) receivers: usize,
    /// Warm-up and measured time, seconds.
    pub(super) warmup: f64,
    pub(super) seconds: f64,
    pub(super) window: Option<u64>,
    pub(super) faults: Faults,
    /// Figures that the table shows although nothing is wrong with them.
    pub(super) headline: &'static [&'static str],
    /// What never comes makes the trial fail: no marker says that it will not.
    pub(super) stalls: bool,
    /// Times whose maximum is far above what a busy machine adds.
    pub(super) longest: &'static [Times],
    /// The backlog is watched while the trial runs.
    pub(super) backlog: bool,
    /// Values that follow from the plan alone.
    pub(super) known: &'static [Known],
    /// Flags that must be raised, and such that must not.
    pub(super) raised: &'static [Flag],
    pub(super) not_raised: &'static [Flag],
}

/// The four times that the harness measures; docs/method.md defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Lag,
    Service,
    Response,
    Confirm,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lag => "lag",
            Self::Service => "service",
            Self::Response => "response",
            Self::Confirm => "confirm",
        })
    }
}

/// The name of the figure that [`Known::Sustained`] makes.
pub(super) const SUSTAINED: &str = "sustained";

/// A value that can be worked out beforehand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// Messages a second at the receivers.
    Throughput(f64),
    /// A quantile of a time, ns.
    Time(Times, f64, u64),
    /// The number of messages that take longer than a limit in ns.
    Beyond(u64, u64),
    /// This share of the gaps between due times is longer than the mean.
    LongGaps(f64),
    /// This number of messages is lost.
    Lost(u64),
    /// The sustainable rate, messages a second, for a search.
    Sustained(f64),
}

impl Check {
    pub(super) fn ending(&self) -> &'static str {
        if self.stalls { "stalled" } else { "complete" }
    }

    /// One sender, one receiver, 2,000 messages a second, nothing wrong.
    pub(super) fn of(
        name: &'static str,
        pattern: Pattern,
        about: &'static str,
        headline: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            about,
            pattern,
            load: Load::rate(2_000.0, Arrivals::Constant),
            senders: 1,
            receivers: 1,
            warmup: 0.1,
            seconds: 0.6,
            window: None,
            faults: Faults::default(),
            headline,
            stalls: false,
            longest: &[],
            backlog: false,
            known: &[],
            raised: &[],
            not_raised: &[Flag::NegativeLatency],
        }
    }

    /// This many of a thousand messages are affected.
    pub(super) fn harmed(self, shares: &'static [(Harm, u32)]) -> Self {
        Self { faults: Faults { shares, ..self.faults }, ..self }
    }

    pub(super) fn role_counts(self, senders: usize, receivers: usize) -> Self {
        Self { senders, receivers, ..self }
    }

    /// Messages stay away, and no marker says so.
    pub(super) fn stalls(self) -> Self {
        Self { stalls: true, ..self }
    }
}
