//! Which words have been tried. Ranges are handed out in order, a bounded
//! number at a time, so all there is to remember is what is on its way:
//! whatever was handed out and is not on its way any more is done.

use std::collections::BTreeMap;

use super::message::Range;

/// The account of a key space.
#[derive(Debug)]
pub struct Ledger {
    total: u64,
    batch: u64,
    /// The first word that was not handed out yet.
    next: u64,
    /// Start and length of what is on its way.
    open: BTreeMap<u64, u64>,
}

/// What became of a range that is said to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It is done now.
    Done,
    /// It was done already: counted once, and not again.
    Twice,
    /// It was never handed out.
    Unknown,
}

impl Ledger {
    /// So many words, to be handed out in ranges of `batch`, which is at least 1.
    pub fn new(total: u64, batch: u64) -> Self {
        Self { total, batch: batch.max(1), next: 0, open: BTreeMap::new() }
    }

    /// The range at a start, as it is cut.
    fn cut(&self, start: u64) -> Range {
        Range { start, count: self.batch.min(self.total - start) }
    }

    /// The next range to hand out, which is on its way from now on.
    pub fn hand_out(&mut self) -> Option<Range> {
        if self.next >= self.total {
            return None;
        }
        let range = self.cut(self.next);
        self.next += range.count;
        self.open.insert(range.start, range.count);
        Some(range)
    }

    /// Somebody says that he has tried this range.
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

    /// What is on its way.
    pub fn open(&self) -> impl Iterator<Item = Range> {
        self.open.iter().map(|(&start, &count)| Range { start, count })
    }

    /// How many ranges are on their way.
    pub fn on_its_way(&self) -> usize {
        self.open.len()
    }

    /// Words that were tried.
    pub fn tried(&self) -> u64 {
        self.next - self.open.values().sum::<u64>()
    }

    /// Whether every word was tried.
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
    fn what_was_not_handed_out_yet_is_unknown() {
        assert_eq!(Ledger::new(20, 10).note(Range { start: 0, count: 10 }), Noted::Unknown);
    }

    proptest! {
        /// In whatever order, and however often, results come.
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
