//! Two clocks, compared over the control lines.
//!
//! In a round trip the agent says what its clock showed somewhere between the question and the answer.
//! Whenever that was, its clock differs from ours by its time less the middle of the round trip, give or
//! take half of the round trip (Cristian, *Probabilistic clock synchronization*, 1989). The shortest
//! round trip of many says it best. Between two such comparisons, before and after a trial, clocks may
//! have drifted: that is added to the bound.

use std::time::Duration;

/// How many round trips are made, or as many as [`LONGEST`] allows.
pub(super) const ROUND_TRIPS: u64 = 120;
/// How long they may take together, but for the first: across the world one takes a quarter of a second.
pub(super) const LONGEST: Duration = Duration::from_secs(2);

/// What one comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comparison {
    /// The agent's clock less ours, ns.
    pub(super) offset: i64,
    /// How far from the truth that may be, ns.
    pub(super) bound: u64,
}

/// The shortest of the round trips seen so far decides.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    best: Option<Comparison>,
    pub(super) seen: u64,
}

impl Comparing {
    /// A round trip: asked and answered by our clock, and the agent's time.
    pub(super) fn add(&mut self, asked: u64, theirs: u64, answered: u64) {
        self.seen += 1;
        let trip = answered.saturating_sub(asked);
        let middle = asked.saturating_add(trip / 2);
        let found = Comparison { offset: theirs.wrapping_sub(middle).cast_signed(), bound: trip.div_ceil(2) };
        if self.best.is_none_or(|best| found.bound < best.bound) {
            self.best = Some(found);
        }
    }

    pub(super) fn best(&self) -> Option<Comparison> {
        self.best
    }
}

/// The bound of a whole trial, from the comparisons before and after it: the larger of both, and the
/// drift between them.
pub(super) fn bound(before: Comparison, after: Comparison) -> u64 {
    before.bound.max(after.bound).saturating_add(before.offset.abs_diff(after.offset))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_shortest_round_trip_decides() {
        let mut comparing = Comparing::default();
        comparing.add(1_000, 6_001_500, 3_000);
        comparing.add(5_000, 6_005_050, 5_100);
        comparing.add(9_000, 6_019_000, 11_000);
        assert_eq!(comparing.best(), Some(Comparison { offset: 6_000_000, bound: 50 }));
        assert_eq!(comparing.seen, 3);
        // A clock that is behind.
        let mut behind = Comparing::default();
        behind.add(9_000_000, 4_000_010, 9_000_020);
        assert_eq!(behind.best(), Some(Comparison { offset: -5_000_000, bound: 10 }));
        let drifted = Comparison { offset: -5_000_040, bound: 30 };
        assert_eq!(bound(behind.best().expect("one"), drifted), 70);
    }

    proptest! {
        /// Wherever in the round trip the agent read its clock, the truth is within the bound.
        #[test]
        fn the_truth_is_within_the_bound(
            truth in -10_000_000_000_i64..10_000_000_000,
            trips in prop::collection::vec((0..1_000_000_u64, 0..1_000_000_u64), 1..50),
        ) {
            let mut comparing = Comparing::default();
            let mut now = 20_000_000_000_u64;
            for (there, back) in trips {
                let (asked, read) = (now, now + there);
                now = read + back;
                comparing.add(asked, read.wrapping_add_signed(truth), now);
            }
            let best = comparing.best().expect("a round trip");
            prop_assert!(best.offset.abs_diff(truth) <= best.bound);
        }
    }
}
