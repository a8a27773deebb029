//! Sets of one producer's messages, one bit a message, and what became of the
//! messages when these sets are put together.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};

use super::limits::MAX_MESSAGES;
use super::mapped::Words;

/// One bit for each message of one producer.
pub struct Bitmap(Words);

/// The three sets of messages an account keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Received by this role.
    Received,
    /// Confirmed to this role.
    Confirmed,
    /// Refused to this role.
    Refused,
}

impl Bitmap {
    /// Opens the set that `role` keeps of a producer's messages, or makes it.
    pub fn open(dir: &Path, role: &str, set: Set, producer: usize) -> Result<Self> {
        Words::map(&path(dir, role, set, producer), (MAX_MESSAGES / 64) as usize).map(Self)
    }

    /// As [`Bitmap::open`], but `None` if nobody has made it.
    pub fn existing(dir: &Path, role: &str, set: Set, producer: usize) -> Result<Option<Self>> {
        if path(dir, role, set, producer).exists() {
            Self::open(dir, role, set, producer).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Puts a message in; `false` if it was in already.
    #[inline]
    pub fn insert(&self, sequence: u64) -> bool {
        let word = self.0.at((sequence / 64) as usize);
        let (old, bit) = (word.load(Ordering::Relaxed), 1 << (sequence % 64));
        word.store(old | bit, Ordering::Relaxed);
        old & bit == 0
    }

    /// Whether a message is in it.
    pub fn contains(&self, sequence: u64) -> bool {
        let word = self.0.iter((sequence / 64) as usize, (sequence / 64) as usize + 1).next().unwrap_or(0);
        word & (1 << (sequence % 64)) != 0
    }

    /// The words that hold messages `0..messages`, each with its bits.
    fn words(&self, messages: u64) -> impl Iterator<Item = u64> + '_ {
        let count = (messages.div_ceil(64) as usize).min(self.0.len());
        self.0.iter(0, count)
    }
}

fn path(dir: &Path, role: &str, set: Set, producer: usize) -> PathBuf {
    let set = match set {
        Set::Received => "received",
        Set::Confirmed => "confirmed",
        Set::Refused => "refused",
    };
    dir.join(format!("{role}.{set}.{producer}"))
}

/// What became of one producer's messages, from the sets that were kept of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    /// In the received set of at least one role.
    pub received: u64,
    /// In the received sets of several roles: once too often each.
    pub overlap: u64,
    /// Sent, not refused, and in no received set.
    pub lost: u64,
    /// Of these, confirmed.
    pub confirmed_lost: u64,
}

/// Holds the `sent` first messages of a producer against what was received
/// (by any of several roles), confirmed and refused.
pub fn fate(
    sent: u64,
    received: &[Bitmap],
    confirmed: Option<&Bitmap>,
    refused: Option<&Bitmap>,
) -> Result<Fate> {
    ensure!(sent <= MAX_MESSAGES, "{sent} messages are more than an account holds");
    let mut fate = Fate::default();
    let mut received: Vec<_> = received.iter().map(|set| set.words(sent)).collect();
    let mut confirmed = confirmed.map(|set| set.words(sent));
    let mut refused = refused.map(|set| set.words(sent));
    for index in 0..sent.div_ceil(64) {
        let left = sent - index * 64;
        let all = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
        let mut any = 0;
        for set in &mut received {
            let word = set.next().unwrap_or(0) & all;
            fate.overlap += u64::from((any & word).count_ones());
            any |= word;
        }
        let refused = refused.as_mut().and_then(Iterator::next).unwrap_or(0);
        let confirmed = confirmed.as_mut().and_then(Iterator::next).unwrap_or(0);
        let lost = all & !any & !refused;
        fate.received += u64::from(any.count_ones());
        fate.lost += u64::from(lost.count_ones());
        fate.confirmed_lost += u64::from((lost & confirmed).count_ones());
    }
    Ok(fate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::account::new_dir;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    #[should_panic(expected = "out of bounds")]
    fn a_message_beyond_the_end_is_refused() {
        let dir = new_dir().expect("a folder");
        Bitmap::open(dir.path(), "r", Set::Received, 0).expect("a set").insert(MAX_MESSAGES);
    }

    fn bitmap(dir: &Path, role: &str, set: Set, members: &BTreeSet<u64>) -> Bitmap {
        let bitmap = Bitmap::open(dir, role, set, 0).expect("a set");
        for member in members {
            assert!(bitmap.insert(*member));
            assert!(!bitmap.insert(*member));
        }
        bitmap
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// The same answer as with plain sets.
        #[test]
        fn fates_are_those_of_plain_sets(
            sent in 0u64..200,
            a in prop::collection::btree_set(0u64..200, 0..150),
            b in prop::collection::btree_set(0u64..200, 0..150),
            confirmed in prop::collection::btree_set(0u64..200, 0..150),
            refused in prop::collection::btree_set(0u64..200, 0..20),
        ) {
            let dir = new_dir().expect("a folder");
            let maps = [bitmap(dir.path(), "a", Set::Received, &a), bitmap(dir.path(), "b", Set::Received, &b)];
            let c = bitmap(dir.path(), "p", Set::Confirmed, &confirmed);
            let r = bitmap(dir.path(), "p", Set::Refused, &refused);
            let lost: BTreeSet<u64> =
                (0..sent).filter(|s| !a.contains(s) && !b.contains(s) && !refused.contains(s)).collect();
            let expected = Fate {
                received: a.union(&b).filter(|s| **s < sent).count() as u64,
                overlap: a.intersection(&b).filter(|s| **s < sent).count() as u64,
                lost: lost.len() as u64,
                confirmed_lost: lost.intersection(&confirmed).count() as u64,
            };
            prop_assert_eq!(fate(sent, &maps, Some(&c), Some(&r)).expect("a fate"), expected);
        }
    }
}
