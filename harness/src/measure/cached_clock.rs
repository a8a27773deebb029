//! A cached clock for hot loops.

use crate::measure::clock;

/// The clock, looked at for every message or only now and then. Looking costs
/// some 20 ns, which holds back a loop that moves ten million messages a second.
#[derive(Debug)]
pub(super) struct CachedClock {
    every: u32,
    last: u64,
    left: u32,
}

impl CachedClock {
    /// Looks for one message in so many.
    pub(super) fn every(messages: u32) -> Self {
        Self { every: messages, last: 0, left: 0 }
    }

    /// The time of the last look, which is now where its turn has come.
    #[inline]
    pub(super) fn now(&mut self) -> u64 {
        if self.left == 0 {
            (self.last, self.left) = (clock::now(), self.every);
        }
        self.left -= 1;
        self.last
    }

    /// What was seen last is stale: somebody has waited since.
    #[inline]
    pub(super) fn refresh_clock(&mut self) {
        self.left = 0;
    }

    /// A better time than `seen`, which cannot be right: something that was seen
    /// then has happened later. `None` where `seen` was no old look.
    #[cold]
    pub(super) fn instead_of(&mut self, seen: u64) -> Option<u64> {
        self.refresh_clock();
        (self.every > 1 && seen == self.last).then(|| self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_when_its_turn_has_come_and_after_a_wait() {
        let mut exact = CachedClock::every(1);
        let mut coarse = CachedClock::every(4);
        let tick = || std::thread::sleep(std::time::Duration::from_micros(1));
        let look = |cached_clock: &mut CachedClock| {
            tick();
            cached_clock.now()
        };
        assert!(look(&mut exact) < look(&mut exact));
        let first: Vec<u64> = (0..5).map(|_| look(&mut coarse)).collect();
        assert!(first[..4].iter().all(|time| *time == first[0]), "{first:?}");
        assert!(first[4] > first[0]);
        coarse.refresh_clock();
        assert!(look(&mut coarse) > first[4]);
    }

    #[test]
    fn only_an_old_look_is_corrected() {
        let mut exact = CachedClock::every(1);
        let seen = exact.now();
        assert_eq!(exact.instead_of(seen), None);
        let mut coarse = CachedClock::every(4);
        let seen = coarse.now();
        assert_eq!(coarse.instead_of(seen - 1), None, "a time that somebody else has read");
        assert!(coarse.instead_of(coarse.last).is_some_and(|now| now >= seen));
    }
}
