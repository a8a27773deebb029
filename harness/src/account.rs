//! Each role's account of its messages, in small memory-mapped files, so that
//! it outlives kill -9 of the role: what was written is in the page cache.
//!
//! Three kinds of file, and a fourth where a trial is recorded message by message
//! ([`Journal`]). [`Counters`] is one page or two of numbers, also read by
//! others while the run goes on: that closes the loop of `--load max`. A
//! [`Bitmap`] has one bit for each message of one producer: received,
//! confirmed or refused. Its file is sparse; only what is touched takes memory.
//! The [`Times`] of a pipeline's messages say when each was where. Every file
//! has one writer, so plain loads and stores are enough.
#![expect(
    unsafe_code,
    reason = "memory-mapped files: each mapping is private to this module and bounds-checked here"
)]

mod hops;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use memmap2::{MmapOptions, MmapRaw};

use crate::guard;

mod journal;

pub use hops::{Collected, Journey, Times, Worked, journeys};
pub use journal::{Journal, MOST_ENTRIES, Subject, key, of_key};

/// Most producers a trial can have.
pub const MAX_PRODUCERS: usize = 1024;
/// Most messages a producer can send in one trial: 2^30, a bitmap of 128 MiB.
pub const MAX_MESSAGES: u64 = 1 << 30;

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
    /// Markers seen: one for each producer.
    Markers,
    /// Set when the role has sent all it will send.
    Done,
}

const COUNTERS: usize = 16;
const WORDS: usize = COUNTERS + MAX_PRODUCERS;

struct Words(MmapRaw);

impl Words {
    /// `path` is created sparse and zeroed if it is not there.
    fn map(path: &Path, words: usize) -> Result<Self> {
        let attempt = || -> std::io::Result<MmapRaw> {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let len = words as u64 * 8;
            if file.metadata()?.len() < len {
                file.set_len(len)?;
            }
            MmapOptions::new().len(words * 8).map_raw(&file)
        };
        Ok(Self(attempt().with_context(|| format!("cannot map the account {}", path.display()))?))
    }

    #[inline]
    fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.0.len() / 8, "account index out of bounds");
        // SAFETY: in bounds by the assertion; the mapping is page-aligned, lives
        // as long as `self`, and is only ever accessed through atomics.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().cast::<u64>().add(index)) }
    }

    fn len(&self) -> usize {
        self.0.len() / 8
    }
}

/// A role's numbers.
pub struct Counters(Words);

impl Counters {
    /// Opens the counters of `role` in `dir`, or makes them.
    pub fn open(dir: &Path, role: &str) -> Result<Self> {
        Words::map(&dir.join(format!("{role}.counters")), WORDS).map(Self)
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
        self.0.at((sequence / 64) as usize).load(Ordering::Relaxed) & (1 << (sequence % 64)) != 0
    }

    /// The words that hold messages `0..messages`, each with its bits.
    fn words(&self, messages: u64) -> impl Iterator<Item = u64> + '_ {
        let count = (messages.div_ceil(64) as usize).min(self.0.len());
        (0..count).map(|index| self.0.at(index).load(Ordering::Relaxed))
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

/// Where accounts are kept: in memory where there is a RAM disk, so that
/// measuring writes to no disk.
pub fn new_dir() -> Result<tempfile::TempDir> {
    let prefix = guard::shared_prefix();
    let named = |dir: &Path| tempfile::Builder::new().prefix(&prefix).tempdir_in(dir);
    named(Path::new(guard::SHARED))
        .or_else(|_| named(&std::env::temp_dir()))
        .context("cannot make a folder for the accounts, neither in /dev/shm nor in the temporary folder")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_are_seen_by_others_at_once() {
        let dir = new_dir().expect("a folder");
        let [mine, theirs] = [(); 2].map(|()| Counters::open(dir.path(), "receiver-0").expect("counters"));
        mine.add(Counter::Received, 41);
        mine.add(Counter::Received, 1);
        mine.set_progress(1023, 7);
        assert_eq!((theirs.get(Counter::Received), theirs.progress(1023)), (42, 7));
    }

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
