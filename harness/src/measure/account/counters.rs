//! A role's counters: a page or two of numbers, also read by others while the
//! run goes on. That closes the loop of `--load max`.

use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Result;

use super::limits::MAX_PRODUCERS;
use super::mapped::Words;

const COUNTERS: usize = 24;
pub(super) const WORDS: usize = COUNTERS + MAX_PRODUCERS;

/// The numbers of [`Counters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the result fields; see `results::Counts`")]
pub enum Counter {
    Sent,
    Refused,
    Confirmed,
    Received,
    Acked,
    Duplicated,
    Redelivered,
    Reordered,
    ReorderDistance,
    Corrupt,
    Misrouted,
    Negative,
    WindowResets,
    PeersDisconnected,
    MessagesSkipped,
    /// Markers seen: one for each producer.
    Markers,
    /// Set when the role has sent all it will send.
    Done,
}

/// A role's numbers.
pub struct Counters(Words);

impl Counters {
    /// Opens the counters of `role` in `dir`, or makes them.
    pub fn open(dir: &Path, role: &str) -> Result<Self> {
        Words::whole(&dir.join(format!("{role}.counters")), WORDS).map(Self)
    }

    /// A number.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.at(counter as usize).load(Ordering::Relaxed)
    }

    /// Sets a number. Only the role itself may.
    #[inline]
    pub fn set(&self, counter: Counter, value: u64) {
        self.0.at(counter as usize).store(value, Ordering::Release);
    }

    /// Adds to a number. Only the role itself may.
    #[inline]
    pub fn add(&self, counter: Counter, more: u64) {
        self.set(counter, self.get(counter) + more);
    }

    /// How far a producer's messages have come, as this receiver sees it.
    #[inline]
    pub fn progress(&self, producer: usize) -> u64 {
        self.0.at(COUNTERS + producer).load(Ordering::Acquire)
    }

    /// Publishes how far a producer's messages have come.
    #[inline]
    pub fn set_progress(&self, producer: usize, value: u64) {
        self.0.at(COUNTERS + producer).store(value, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::account::new_dir;

    #[test]
    fn numbers_are_seen_by_others_at_once() {
        let dir = new_dir().expect("a folder");
        let [mine, theirs] = [(); 2].map(|()| Counters::open(dir.path(), "receiver-0").expect("counters"));
        mine.add(Counter::Received, 41);
        mine.add(Counter::Received, 1);
        mine.set_progress(1023, 7);
        assert_eq!((theirs.get(Counter::Received), theirs.progress(1023)), (42, 7));
    }
}
