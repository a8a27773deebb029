//! What a role records of its messages: the hot path of the harness. Every
//! message is stamped, checked, accounted for and recorded; nothing is sampled.

mod bare;
mod glance;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use bare::{BareBooks, BareLedger};
use bytes::Bytes;
use glance::Glance;
use hdrhistogram::Histogram;

use crate::account::{self, Bitmap, Collected, Counter, Counters, Journal, MAX_MESSAGES, Set, Subject};
use crate::clock;
use crate::results::Interval;
use crate::stamp::{MARKER, Mint, PROBE, Stamp};
use crate::stats;

/// Length of an interval of the series, ns.
pub const INTERVAL: u64 = 50_000_000;
/// Most intervals kept: what comes later counts into the last.
const MAX_INTERVALS: usize = 20_000;

/// Messages for each look at the clock in a closed loop. It is there for
/// throughput, which 16 messages do not change.
const CLOSED_LOOK: u32 = 16;

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

/// A sender's side of the account.
pub struct Ledger {
    counters: Counters,
    run: u32,
    producer: u32,
    sequence: u64,
    mint: Mint,
    refused: Bitmap,
    confirmed: Bitmap,
    window: Window,
    /// Every single message, where the trial is recorded.
    journal: Option<Journal>,
    bare: Option<BareLedger>,
    glance: Glance,
    /// From due to sent.
    pub lag: Histogram<u64>,
    /// From due to awake: the part of the lag that is the timer's.
    pub pacer: Histogram<u64>,
    /// From sent to confirmed.
    pub confirm: Histogram<u64>,
    /// From the start until everything was sent and, where the pattern confirms, confirmed; ns of the clock.
    pub span: Option<(u64, u64)>,
}

impl Ledger {
    /// The account of producer `producer`, called `role`.
    pub fn open(
        dir: &Path,
        role: &str,
        run: u32,
        producer: usize,
        size: usize,
        window: Window,
    ) -> Result<Self> {
        Ok(Self {
            counters: Counters::open(dir, role)?,
            run,
            producer: u32::try_from(producer)?,
            sequence: 0,
            mint: Mint::new(size),
            refused: Bitmap::open(dir, role, Set::Refused, producer)?,
            confirmed: Bitmap::open(dir, role, Set::Confirmed, producer)?,
            window,
            journal: None,
            bare: None,
            glance: Glance::every(1),
            lag: stats::new_histogram(),
            pacer: stats::new_histogram(),
            confirm: stats::new_histogram(),
            span: None,
        })
    }

    /// Notes every message from now on; see [`crate::recording`].
    pub fn keep(&mut self, dir: &Path, role: &str) -> Result<()> {
        self.journal = Some(Journal::open(dir, role, Subject::Sends)?);
        Ok(())
    }

    /// In a closed loop nothing is due at a time: the clock is looked at only for
    /// one message in 16, and after each wait.
    pub fn in_a_closed_loop(&mut self) {
        self.glance = Glance::every(CLOSED_LOOK);
    }

    /// The time, for the next message.
    #[inline]
    pub fn now(&mut self) -> u64 {
        self.glance.now()
    }

    /// Somebody has waited: the next message needs a look at the clock.
    #[inline]
    pub fn look_again(&mut self) {
        self.glance.look_again();
    }

    /// The next message: due at `scheduled`, sent at `now`. Written down
    /// before it is handed to the lab.
    #[inline]
    pub fn next(&mut self, scheduled: u64, now: u64) -> Result<(u64, Bytes)> {
        let sequence = self.sequence;
        if sequence >= MAX_MESSAGES {
            bail!(
                "a trial of more than {MAX_MESSAGES} messages a sender cannot be accounted for; measure for a shorter time"
            );
        }
        self.sequence += 1;
        self.counters.set(Counter::Sent, self.sequence);
        if let Some(message) = self.bare_message() {
            return Ok((sequence, message));
        }
        let lag = now.saturating_sub(scheduled);
        if self.window.holds(scheduled) {
            self.lag.saturating_record(lag);
        }
        if let Some(journal) = &self.journal {
            let since = |time: u64| time.saturating_sub(self.window.start);
            journal.note((since(scheduled), since(now)));
        }
        Ok((sequence, self.message(sequence, scheduled, u32::try_from(lag).unwrap_or(u32::MAX))))
    }

    /// The pacer woke for the message due at `scheduled`, so many ns too late; see
    /// [`clock::Pacer::sleep_until`].
    #[inline]
    pub fn woke(&mut self, scheduled: u64, late: Option<u64>) {
        if let Some(late) = late.filter(|_| self.window.holds(scheduled)) {
            self.pacer.saturating_record(late);
        }
    }

    /// A probe or a marker: not counted.
    pub fn special(&mut self, sequence: u64) -> Bytes {
        self.message(sequence, clock::now(), 0)
    }

    #[inline]
    fn message(&mut self, sequence: u64, scheduled: u64, lag: u32) -> Bytes {
        let stamp = Stamp { run: self.run, producer: self.producer, sequence, scheduled, lag };
        self.mint.message(&stamp)
    }

    /// Messages handed to the lab so far.
    #[inline]
    pub fn sent(&self) -> u64 {
        self.sequence
    }

    /// The lab said no.
    pub fn refuse(&mut self, sequence: u64) {
        self.refused.insert(sequence);
        self.counters.add(Counter::Refused, 1);
    }

    /// Responsibility has moved, at `at`: when it was known, not when the loop
    /// came round to it.
    #[inline]
    pub fn confirm(&mut self, sequence: u64, sent: u64, at: u64) {
        if self.bare.is_some() {
            return;
        }
        if self.confirmed.insert(sequence) {
            self.counters.add(Counter::Confirmed, 1);
        }
        if self.window.holds(sent) {
            self.confirm.saturating_record(at.saturating_sub(sent));
        }
    }

    /// The window was given up: nothing moved.
    pub fn reset_window(&mut self) {
        self.counters.add(Counter::WindowResets, 1);
    }

    /// All is sent.
    pub fn done(&mut self) {
        self.span = Some((self.window.start, clock::now()));
        self.counters.set(Counter::Done, 1);
    }
}

/// What a message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// One of the run's messages, for the first time.
    New,
    /// Received before.
    Again,
    /// A probe of this producer.
    Probe(usize),
    /// A marker of this producer.
    Marker,
    /// Corrupt or misrouted: counted, not looked at further.
    Bad,
}

/// How a receiver's progress is told to the senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The highest sequence number seen: loss does not hold up the window.
    Highest,
    /// How many were received: several receivers share the messages.
    Count,
}

/// A receiver's side of the account.
pub struct Books {
    counters: Counters,
    run: u32,
    producers: Vec<Shelf>,
    progress: Progress,
    window: Window,
    latencies: bool,
    /// Every single receipt, where the trial is recorded.
    journal: Option<Journal>,
    /// Messages received for the first time in the measured window.
    pub measured: u64,
    /// From due to received.
    pub response: Histogram<u64>,
    /// From sent to received.
    pub service: Histogram<u64>,
    /// What each interval saw.
    pub series: Vec<Interval>,
    /// The times of measured messages, for a pipeline's sink.
    times: Option<Collected>,
    /// Those of them that wait to be settled: producer and sequence number.
    unsettled: Vec<(usize, u64)>,
    bare: Option<BareBooks>,
    glance: Glance,
    began: u64,
    last: u64,
}

/// What a receiver keeps of one producer.
struct Shelf {
    received: Bitmap,
    count: u64,
    /// One above the highest sequence number seen.
    next: u64,
    marker: bool,
}

impl Books {
    /// The account of a receiver called `role` that hears `producers`
    /// producers. `latencies`: whether messages have due times (open loop).
    pub fn open(
        dir: &Path,
        role: &str,
        run: u32,
        producers: std::ops::Range<usize>,
        progress: Progress,
        latencies: bool,
        window: Window,
    ) -> Result<Self> {
        ensure!(!producers.is_empty(), "a receiver needs a producer");
        let shelf = |producer| -> Result<Shelf> {
            let received = Bitmap::open(dir, role, Set::Received, producer)?;
            Ok(Shelf { received, count: 0, next: 0, marker: false })
        };
        Ok(Self {
            counters: Counters::open(dir, role)?,
            run,
            // Numbers below the range belong to others: a requester hears only itself.
            producers: (0..producers.end).map(shelf).collect::<Result<_>>()?,
            progress,
            window,
            latencies,
            journal: None,
            measured: 0,
            response: stats::new_histogram(),
            service: stats::new_histogram(),
            series: Vec::new(),
            times: None,
            unsettled: Vec::new(),
            bare: None,
            glance: Glance::every(1),
            began: window.start,
            last: window.start,
        })
    }

    /// As [`Ledger::in_a_closed_loop`].
    pub fn in_a_closed_loop(&mut self) {
        self.glance = Glance::every(CLOSED_LOOK);
    }

    /// The next message had to be waited for: it needs a look at the clock.
    #[inline]
    pub fn look_again(&mut self) {
        self.glance.look_again();
    }

    /// From now on, writes down when each measured message was due, received and settled.
    pub fn keep_times(&mut self, times: Collected) {
        self.times = Some(times);
    }

    /// Everything that was received so far is settled now.
    pub fn settled(&mut self) {
        let Some(times) = self.times.as_ref().filter(|_| !self.unsettled.is_empty()) else { return };
        let now = clock::now();
        self.unsettled.drain(..).for_each(|message| times.set(message, 2, now));
    }

    /// Notes every receipt from now on, duplicates included; see [`crate::recording`].
    pub fn keep(&mut self, dir: &Path, role: &str) -> Result<()> {
        self.journal = Some(Journal::open(dir, role, Subject::Receipts)?);
        Ok(())
    }

    /// The receiver is there and takes messages from now on.
    pub fn begin(&mut self) {
        self.began = self.began.max(clock::now());
    }

    /// From when the receiver was there until its last message, ns of the clock.
    pub fn span(&self) -> (u64, u64) {
        (self.began, self.last.max(self.began))
    }

    /// Looks at a message that has just been received. `redelivered`: the
    /// transport has marked it so.
    #[inline]
    pub fn take(&mut self, message: &[u8], redelivered: bool) -> Seen {
        match self.count_bare(message) {
            Some(seen) => seen,
            None => {
                let now = self.glance.now();
                self.take_at(message, redelivered, now)
            }
        }
    }

    /// As [`Books::take`], received at `now`.
    #[inline]
    pub fn take_at(&mut self, message: &[u8], redelivered: bool, now: u64) -> Seen {
        let Some(stamp) = Stamp::read(message) else {
            self.counters.add(Counter::Corrupt, 1);
            return Seen::Bad;
        };
        let producer = stamp.producer as usize;
        let Some(shelf) = self.producers.get_mut(producer).filter(|_| stamp.run == self.run) else {
            self.counters.add(Counter::Misrouted, 1);
            return Seen::Bad;
        };
        if stamp.sequence >= MAX_MESSAGES {
            return match stamp.sequence {
                PROBE => Seen::Probe(producer),
                MARKER => {
                    if !std::mem::replace(&mut shelf.marker, true) {
                        self.counters.add(Counter::Markers, 1);
                    }
                    Seen::Marker
                }
                _ => Seen::Bad,
            };
        }
        if redelivered {
            self.counters.add(Counter::Redelivered, 1);
        }
        if let Some(journal) = &self.journal {
            let message = account::key(stamp.producer, stamp.sequence);
            journal.note((message, now.saturating_sub(self.window.start)));
        }
        if !shelf.received.insert(stamp.sequence) {
            self.counters.add(Counter::Duplicated, 1);
            return Seen::Again;
        }
        shelf.count += 1;
        if stamp.sequence >= shelf.next {
            shelf.next = stamp.sequence + 1;
        } else {
            let distance = shelf.next - 1 - stamp.sequence;
            self.counters.add(Counter::Reordered, 1);
            self.counters
                .set(Counter::ReorderDistance, distance.max(self.counters.get(Counter::ReorderDistance)));
        }
        self.counters.add(Counter::Received, 1);
        let progress = if self.progress == Progress::Highest { shelf.next } else { shelf.count };
        self.counters.set_progress(producer, progress);
        self.record(&stamp, now);
        Seen::New
    }

    #[inline]
    fn record(&mut self, stamp: &Stamp, mut now: u64) {
        let sent = stamp.sent();
        if now < sent {
            now = self.glance.instead_of(now).unwrap_or(now);
            self.counters.add(Counter::Negative, u64::from(now < sent));
        }
        self.last = now;
        let response = now.saturating_sub(stamp.scheduled);
        if self.window.holds(stamp.scheduled) {
            if let Some(times) = &self.times {
                let message = (stamp.producer as usize, stamp.sequence);
                times.set(message, 0, stamp.scheduled);
                times.set(message, 1, now);
                self.unsettled.push(message);
            }
            self.service.saturating_record(now.saturating_sub(sent));
            if self.latencies {
                self.response.saturating_record(response);
            }
        }
        self.measured += u64::from(self.window.holds(now));
        let index = (now.saturating_sub(self.window.start) / INTERVAL) as usize;
        if index >= self.series.len() {
            self.series.resize(index.min(MAX_INTERVALS) + 1, Interval::default());
        }
        if let Some(interval) = self.series.get_mut(index) {
            interval.received += 1;
            interval.max_ns = interval.max_ns.max(response);
            interval.sum_ns += response;
        }
    }

    /// Counts a message as acknowledged.
    #[inline]
    pub fn acked(&mut self) {
        self.counters.add(Counter::Acked, 1);
    }

    /// Counts a message that came to the wrong one.
    pub fn misroute(&mut self) {
        self.counters.add(Counter::Misrouted, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start: 0, from: 1_000, to: 1_000_000 };

    struct Pair {
        dir: tempfile::TempDir,
        ledger: Ledger,
        books: Books,
    }

    fn pair(progress: Progress) -> Pair {
        let dir = account::new_dir().expect("a folder");
        let ledger = Ledger::open(dir.path(), "sender-0", 9, 0, 64, WINDOW).expect("a ledger");
        let books = Books::open(dir.path(), "receiver-0", 9, 0..1, progress, true, WINDOW).expect("books");
        Pair { dir, ledger, books }
    }

    impl Pair {
        fn messages(&mut self, count: u64) -> Vec<Bytes> {
            (0..count)
                .map(|at| self.ledger.next(2_000 + at * 100, 2_050 + at * 100).expect("a message").1)
                .collect()
        }
        fn count(&self, counter: Counter) -> u64 {
            self.books.counters.get(counter)
        }
    }

    #[test]
    fn loss_duplicates_and_disorder_are_counted_exactly() {
        let mut pair = pair(Progress::Highest);
        let sent = pair.messages(10);
        // 3 and 7 are lost, 5 comes twice, 1 comes after 4, and one is damaged.
        for at in [0, 2, 4, 1, 5, 5, 6, 8, 9] {
            pair.books.take_at(&sent[at], at == 5, 10_000);
        }
        let mut damaged = sent[0].to_vec();
        damaged[40] ^= 1;
        assert_eq!(pair.books.take_at(&damaged, false, 10_000), Seen::Bad);
        assert_eq!(pair.count(Counter::Received), 8);
        assert_eq!(pair.count(Counter::Duplicated), 1);
        assert_eq!(pair.count(Counter::Redelivered), 2);
        assert_eq!(pair.count(Counter::Reordered), 1);
        assert_eq!(pair.count(Counter::ReorderDistance), 3);
        assert_eq!(pair.count(Counter::Corrupt), 1);
        assert_eq!(pair.books.counters.progress(0), 10);
        let received = Bitmap::open(pair.dir.path(), "receiver-0", Set::Received, 0).expect("a set");
        assert_eq!(account::fate(10, &[received], None, None).expect("a fate").lost, 2);
    }

    #[test]
    fn latencies_count_from_the_due_time_and_within_the_window() {
        let mut pair = pair(Progress::Count);
        let (_, early) = pair.ledger.next(500, 600).expect("a message");
        let (_, due) = pair.ledger.next(2_000, 2_300).expect("a message");
        pair.books.take_at(&early, false, 900);
        pair.books.take_at(&due, false, 3_000);
        assert_eq!((pair.books.response.len(), pair.books.response.max()), (1, 1_000));
        assert_eq!((pair.books.service.len(), pair.books.service.max()), (1, 700));
        assert_eq!((pair.ledger.lag.len(), pair.ledger.lag.max()), (1, 300));
        assert_eq!(pair.books.measured, 1);
        assert_eq!(pair.books.series[0].received, 2);
    }

    #[test]
    fn a_negative_latency_is_counted() {
        let mut pair = pair(Progress::Count);
        let (_, message) = pair.ledger.next(5_000, 5_000).expect("a message");
        pair.books.take_at(&message, false, 4_999);
        assert_eq!(pair.count(Counter::Negative), 1);
    }

    #[test]
    fn strangers_are_misrouted_and_markers_are_not_messages() {
        let mut pair = pair(Progress::Count);
        let stranger =
            Mint::new(64).message(&Stamp { run: 8, producer: 0, sequence: 0, scheduled: 1, lag: 0 });
        let nobody = Mint::new(64).message(&Stamp { run: 9, producer: 1, sequence: 0, scheduled: 1, lag: 0 });
        assert_eq!(pair.books.take_at(&stranger, false, 2_000), Seen::Bad);
        assert_eq!(pair.books.take_at(&nobody, false, 2_000), Seen::Bad);
        let (probe, marker) = (pair.ledger.special(PROBE), pair.ledger.special(MARKER));
        assert_eq!(pair.books.take_at(&probe, false, 2_000), Seen::Probe(0));
        assert_eq!(pair.books.take_at(&marker, false, 2_000), Seen::Marker);
        assert_eq!(pair.books.take_at(&marker, false, 2_000), Seen::Marker);
        assert_eq!((pair.count(Counter::Misrouted), pair.count(Counter::Received)), (2, 0));
        assert_eq!(pair.count(Counter::Markers), 1);
    }
}
