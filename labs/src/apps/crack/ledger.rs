//! The ledger: which words have been tried. Ranges are handed out in order, a bounded
//! number at a time. So it stores only the ranges that are handed out and not
//! reported: all others below the next range are done.

use std::collections::BTreeMap;

use super::message::Range;

/// Which ranges of a key space are handed out, and which are done.
#[derive(Debug)]
pub struct Ledger {
    total: u64,
    batch: u64,
    /// The first word that is not handed out yet.
    next: u64,
    /// Start and length of the ranges that are handed out and not reported.
    open: BTreeMap<u64, u64>,
}

/// What a report of a range means to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// The range is done now.
    Done,
    /// The range was done already: it does not count again.
    Twice,
    /// The range was never handed out.
    Unknown,
}

impl Ledger {
    /// A key space of `total` words, handed out in ranges of `batch`, which is at least 1.
    pub fn new(total: u64, batch: u64) -> Self {
        Self { total, batch: batch.max(1), next: 0, open: BTreeMap::new() }
    }

    /// The range that begins at `start`.
    fn cut(&self, start: u64) -> Range {
        Range { start, count: self.batch.min(self.total - start) }
    }

    /// The next range to hand out.
    pub fn hand_out(&mut self) -> Option<Range> {
        if self.next >= self.total {
            return None;
        }
        let range = self.cut(self.next);
        self.next += range.count;
        self.open.insert(range.start, range.count);
        Some(range)
    }

    /// A worker reports that it has tried this range.
    pub fn note(&mut self, range: Range) -> Noted {
        let known = range.start < self.next
            && range.start.is_multiple_of(self.batch)
            && self.cut(range.start) == range;
        match known {
            false => Noted::Unknown,
            true if self.open.remove(&range.start).is_some() => Noted::Done,
            true => Noted::Twice,
        }
    }

    /// The ranges that are handed out and not reported.
    pub fn open(&self) -> impl Iterator<Item = Range> {
        self.open.iter().map(|(&start, &count)| Range { start, count })
    }

    /// Number of ranges that are handed out and not reported.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Number of words that were tried.
    pub fn tried(&self) -> u64 {
        self.next - self.open.values().sum::<u64>()
    }

    /// Whether all words were tried.
    pub fn is_complete(&self) -> bool {
        self.next == self.total && self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_counts_once_and_only_as_it_was_handed_out() {
        let mut ledger = Ledger::new(25, 10);
        let ranges: Vec<Range> = std::iter::from_fn(|| ledger.hand_out()).collect();
        assert_eq!(ranges.iter().map(|range| range.count).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(ledger.note(ranges[1]), Noted::Done);
        assert_eq!(ledger.note(ranges[1]), Noted::Twice);
        for (start, count) in [(1, 10), (0, 9), (20, 10), (30, 10), (0, 25)] {
            assert_eq!(ledger.note(Range { start, count }), Noted::Unknown, "{start}, {count}");
        }
        assert_eq!(ledger.tried(), 10);
        assert_eq!([ledger.note(ranges[2]), ledger.note(ranges[0])], [Noted::Done; 2]);
        assert!(ledger.is_complete() && ledger.tried() == 25);
    }

    #[test]
    fn a_range_that_is_not_handed_out_yet_is_unknown() {
        assert_eq!(Ledger::new(20, 10).note(Range { start: 0, count: 10 }), Noted::Unknown);
    }

    proptest! {
        /// In any order of the reports, with any number of repetitions.
        #[test]
        fn every_word_is_counted_once(
            total in 1_u64..500, batch in 1_u64..60, order in proptest::collection::vec(0_usize..600, 0..900),
        ) {
            let mut ledger = Ledger::new(total, batch);
            let ranges: Vec<Range> = std::iter::from_fn(|| ledger.hand_out()).collect();
            let mut done = std::collections::BTreeSet::new();
            for at in order.into_iter().map(|at| at % ranges.len()).chain(0..ranges.len()) {
                let expected = if done.insert(at) { Noted::Done } else { Noted::Twice };
                prop_assert_eq!(ledger.note(ranges[at]), expected);
                let words: u64 = done.iter().map(|&at| ranges[at].count).sum();
                prop_assert_eq!(ledger.tried(), words);
                prop_assert_eq!(ledger.is_complete(), done.len() == ranges.len());
            }
            prop_assert_eq!(ledger.tried(), total);
        }
    }
}
