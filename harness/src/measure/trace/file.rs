//! What a role notes of every single message when a trial is recorded: pairs
//! of numbers, in a mapped file like the rest of its account. Nothing has to be
//! flushed, and what was noted outlives kill -9 of the role.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Result;

use crate::measure::account::mapped::Words;

/// Most entries one role keeps in one trial: a sparse file of 64 MB. What comes
/// later is counted, and the recording says that it is cut.
pub const MOST_ENTRIES: usize = 4_000_000;

/// What a trace file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// When each message was due and when it was sent, in the order sent.
    Sends,
    /// Which message was received, and when, in the order received.
    Receipts,
    /// The sequence number of each message that was confirmed, and when.
    Confirms,
    /// Which message was acknowledged, and when.
    Acks,
}

/// A role's notes, two numbers each. It has one writer.
pub struct TraceFile(Words);

impl TraceFile {
    /// Opens the trace file of `role` in `dir`, or begins it.
    ///
    /// # Errors
    /// When its file cannot be made or mapped.
    pub fn open(dir: &Path, role: &str, subject: Subject) -> Result<Self> {
        // The first pair of words counts the entries.
        Words::map(&path(dir, role, subject), 2 + 2 * MOST_ENTRIES).map(Self)
    }

    /// As [`TraceFile::open`], but `None` if nobody has begun it.
    ///
    /// # Errors
    /// When the file is there and cannot be mapped.
    pub fn existing(dir: &Path, role: &str, subject: Subject) -> Result<Option<Self>> {
        path(dir, role, subject).exists().then(|| Self::open(dir, role, subject)).transpose()
    }

    /// Notes a pair; one that has no room any more is only counted.
    #[inline]
    pub fn note(&self, pair: (u64, u64)) {
        let count = self.0.at(0).load(Ordering::Relaxed);
        if let Ok(entry @ 0..MOST_ENTRIES) = usize::try_from(count) {
            self.0.at(2 + 2 * entry).store(pair.0, Ordering::Relaxed);
            self.0.at(3 + 2 * entry).store(pair.1, Ordering::Relaxed);
        }
        self.0.at(0).store(count + 1, Ordering::Release);
    }

    /// How many entries had no room.
    pub fn cut(&self) -> u64 {
        self.count().saturating_sub(MOST_ENTRIES as u64)
    }

    /// What was noted, in order.
    pub fn entries(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let count = self.count().min(MOST_ENTRIES as u64) as usize;
        let mut words = self.0.iter(2, 2 + 2 * count);
        std::iter::from_fn(move || Some((words.next()?, words.next()?)))
    }

    /// How many were noted, those without room included.
    pub fn count(&self) -> u64 {
        self.0.iter(0, 1).next().unwrap_or(0)
    }
}

/// A message in one number: its producer and its sequence number, which are
/// below [`crate::measure::account::MAX_PRODUCERS`] and [`crate::measure::account::MAX_MESSAGES`].
#[inline]
pub const fn key(producer: u32, sequence: u64) -> u64 {
    (producer as u64) << 32 | sequence
}

/// In the key of a receipt: the transport has marked the message as delivered again.
pub const MARKED: u64 = 1 << 63;

/// The producer and the sequence number in a [`key`], marked or not.
pub const fn of_key(key: u64) -> (u32, u64) {
    (((key & !MARKED) >> 32) as u32, key & 0xffff_ffff)
}

fn path(dir: &Path, role: &str, subject: Subject) -> PathBuf {
    let subject = match subject {
        Subject::Sends => "sends",
        Subject::Receipts => "receipts",
        Subject::Confirms => "confirms",
        Subject::Acks => "acks",
    };
    dir.join(format!("{role}.{subject}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::account::new_dir;

    #[test]
    fn what_is_noted_is_read_by_others_in_order() {
        let dir = new_dir().expect("a folder");
        let mine = TraceFile::open(dir.path(), "sender-0", Subject::Sends).expect("a journal");
        [(1, 2), (3, 4), (5, 6)].into_iter().for_each(|pair| mine.note(pair));
        let theirs = TraceFile::existing(dir.path(), "sender-0", Subject::Sends).expect("it maps");
        let theirs = theirs.expect("it is there");
        assert_eq!(theirs.entries().collect::<Vec<_>>(), [(1, 2), (3, 4), (5, 6)]);
        assert_eq!(theirs.cut(), 0);
        assert!(TraceFile::existing(dir.path(), "sender-0", Subject::Receipts).expect("no error").is_none());
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let dir = new_dir().expect("a folder");
        let trace_file = TraceFile::open(dir.path(), "r", Subject::Receipts).expect("a journal");
        trace_file.0.at(0).store(MOST_ENTRIES as u64 - 1, Ordering::Relaxed);
        (0..3).for_each(|at| trace_file.note((at, at)));
        assert_eq!((trace_file.cut(), trace_file.entries().count()), (2, MOST_ENTRIES));
    }
}
