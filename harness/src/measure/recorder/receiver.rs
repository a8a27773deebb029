//! What a receiver records: every message is checked, accounted for and recorded;
//! nothing is sampled.

use std::marker::PhantomData;
use std::path::Path;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::recording::{Full, Recording, UNINSTRUMENTED_LOOK};
use super::window::{CLOSED_LOOK, INTERVAL, Window};
use crate::measure::account::{Bitmap, Collected, Counter, Counters, MAX_MESSAGES, Set};
use crate::measure::cached_clock::CachedClock;
use crate::measure::clock;
use crate::measure::header::{Header, MARKER, PROBE};
use crate::measure::trace::{MARKED, Subject, TraceFile, key};
use crate::results::Interval;
use crate::stats;

/// Most intervals kept: what comes later counts into the last.
const MAX_INTERVALS: usize = 20_000;

/// What a message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// One of the run's messages, for the first time.
    New,
    /// Received before.
    Duplicate,
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
pub struct ReceiverRecorder<R = Full> {
    counters: Counters,
    run: u32,
    producers: Vec<ProducerState>,
    progress: Progress,
    window: Window,
    latencies: bool,
    /// Every single receipt, where the trial is recorded.
    trace_file: Option<TraceFile>,
    /// Every single acknowledgement, likewise, and the key of the last receipt.
    acks: Option<(TraceFile, u64)>,
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
    /// Messages so far, where they are only counted.
    count: u64,
    recording: PhantomData<R>,
    cached_clock: CachedClock,
    began: u64,
    last: u64,
}

/// What a receiver keeps of one producer.
struct ProducerState {
    received: Bitmap,
    count: u64,
    /// One above the highest sequence number seen.
    next: u64,
    marker: bool,
}

impl<R: Recording> ReceiverRecorder<R> {
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
        let counters = Counters::open(dir, role)?;
        let state = |producer| -> Result<ProducerState> {
            let received = Bitmap::open(dir, role, Set::Received, producer)?;
            // One that is started again goes on from what it has accounted for.
            let seen = counters.progress(producer);
            Ok(ProducerState { received, count: seen, next: seen, marker: false })
        };
        Ok(Self {
            run,
            // Numbers below the range belong to others: a requester hears only itself.
            producers: (0..producers.end).map(state).collect::<Result<_>>()?,
            counters,
            progress,
            window,
            latencies,
            trace_file: None,
            acks: None,
            measured: 0,
            response: stats::new_histogram(),
            service: stats::new_histogram(),
            series: Vec::new(),
            times: None,
            unsettled: Vec::new(),
            count: 0,
            recording: PhantomData,
            cached_clock: CachedClock::every(if R::ACCOUNTS { 1 } else { UNINSTRUMENTED_LOOK }),
            began: window.start,
            last: window.start,
        })
    }

    /// As [`SenderRecorder::use_cached_clock`].
    pub fn use_cached_clock(&mut self) {
        if R::ACCOUNTS {
            self.cached_clock = CachedClock::every(CLOSED_LOOK);
        }
    }

    /// The next message had to be waited for: it needs a look at the clock.
    #[inline]
    pub fn refresh_clock(&mut self) {
        self.cached_clock.refresh_clock();
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

    /// Notes every receipt from now on, duplicates included; see [`crate::measure::trace`].
    pub fn keep(&mut self, dir: &Path, role: &str) -> Result<()> {
        self.trace_file = Some(TraceFile::open(dir, role, Subject::Receipts)?);
        self.acks = Some((TraceFile::open(dir, role, Subject::Acks)?, 0));
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
    pub fn take(&mut self, message: &[u8], redelivered: bool) -> MessageKind {
        if !R::ACCOUNTS && Header::peek(message) < MAX_MESSAGES {
            return self.count();
        }
        let now = self.cached_clock.now();
        self.take_at(message, redelivered, now)
    }

    /// Counts a message, and looks no further at it.
    #[inline]
    fn count(&mut self) -> MessageKind {
        self.measured += u64::from(self.window.holds(self.cached_clock.now()));
        self.count += 1;
        self.counters.set(Counter::Received, self.count);
        self.counters.set_progress(0, self.count);
        MessageKind::New
    }

    /// As [`ReceiverRecorder::take`], received at `now`.
    #[inline]
    pub fn take_at(&mut self, message: &[u8], redelivered: bool, now: u64) -> MessageKind {
        let Some(header) = Header::read(message) else {
            self.counters.add(Counter::Corrupt, 1);
            return MessageKind::Bad;
        };
        let producer = header.producer as usize;
        let Some(state) = self.producers.get_mut(producer).filter(|_| header.run == self.run) else {
            self.counters.add(Counter::Misrouted, 1);
            return MessageKind::Bad;
        };
        if header.sequence >= MAX_MESSAGES {
            return match header.sequence {
                PROBE => MessageKind::Probe(producer),
                MARKER => {
                    if !std::mem::replace(&mut state.marker, true) {
                        self.counters.add(Counter::Markers, 1);
                    }
                    MessageKind::Marker
                }
                _ => MessageKind::Bad,
            };
        }
        if redelivered {
            self.counters.add(Counter::Redelivered, 1);
        }
        if let Some(trace_file) = &self.trace_file {
            let message = key(header.producer, header.sequence);
            let mark = if redelivered { MARKED } else { 0 };
            trace_file.note((message | mark, now.saturating_sub(self.window.start)));
            if let Some((_, last)) = &mut self.acks {
                *last = message;
            }
        }
        if !state.received.insert(header.sequence) {
            self.counters.add(Counter::Duplicated, 1);
            return MessageKind::Duplicate;
        }
        state.count += 1;
        if header.sequence >= state.next {
            state.next = header.sequence + 1;
        } else {
            let distance = state.next - 1 - header.sequence;
            self.counters.add(Counter::Reordered, 1);
            self.counters
                .set(Counter::ReorderDistance, distance.max(self.counters.get(Counter::ReorderDistance)));
        }
        self.counters.add(Counter::Received, 1);
        let progress = if self.progress == Progress::Highest { state.next } else { state.count };
        self.counters.set_progress(producer, progress);
        self.record(&header, now);
        MessageKind::New
    }

    #[inline]
    fn record(&mut self, header: &Header, mut now: u64) {
        let sent = header.sent();
        if now < sent {
            now = self.cached_clock.instead_of(now).unwrap_or(now);
            self.counters.add(Counter::Negative, u64::from(now < sent));
        }
        self.last = now;
        let response = now.saturating_sub(header.scheduled);
        if self.window.holds(header.scheduled) {
            if let Some(times) = &self.times {
                let message = (header.producer as usize, header.sequence);
                times.set(message, 0, header.scheduled);
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

    /// Counts the message that was taken last as acknowledged.
    #[inline]
    pub fn acked(&mut self) {
        self.counters.add(Counter::Acked, 1);
        if let Some((acks, last)) = &self.acks {
            acks.note((*last, clock::now().saturating_sub(self.window.start)));
        }
    }

    /// Counts a message that came to the wrong one.
    pub fn misroute(&mut self) {
        self.counters.add(Counter::Misrouted, 1);
    }
}
