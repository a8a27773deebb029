//! When a trial measures, and the intervals in which it is seen.

/// Length of an interval of the series, ns.
pub const INTERVAL: u64 = 50_000_000;

/// Messages for each look at the clock in a closed loop. It is there for
/// throughput, which 16 messages do not change.
pub(super) const CLOSED_LOOK: u32 = 16;

/// When a trial measures, ns of the clock. Messages due in `from..to` count
/// for latency, those received in it for throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The common start: warm-up begins.
    pub start: u64,
    /// The measurement begins.
    pub from: u64,
    /// It ends, and so does sending.
    pub to: u64,
}

impl Window {
    /// Whether a time is measured.
    #[inline]
    pub fn holds(&self, time: u64) -> bool {
        self.from <= time && time < self.to
    }
}
