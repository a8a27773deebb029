//! What a sender records: every message is built, accounted for and recorded
//! before it is handed to the lab.

use std::marker::PhantomData;
use std::path::Path;

use anyhow::{Result, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;

use super::recording::{Full, Recording, UNINSTRUMENTED_LOOK};
use super::window::{CLOSED_LOOK, Window};
use crate::measure::account::{Bitmap, Counter, Counters, MAX_MESSAGES, Set};
use crate::measure::cached_clock::CachedClock;
use crate::measure::clock;
use crate::measure::header::{Header, MessageBuilder};
use crate::measure::trace::{Subject, TraceFile};
use crate::stats;

/// A sender's side of the account.
pub struct SenderRecorder<R = Full> {
    counters: Counters,
    run: u32,
    producer: u32,
    sequence: u64,
    refusals: u64,
    builder: MessageBuilder,
    refused: Bitmap,
    confirmed: Bitmap,
    window: Window,
    /// Every single message, where the trial is recorded.
    trace_file: Option<TraceFile>,
    /// Every single confirmation, likewise.
    confirms: Option<TraceFile>,
    /// What is sent over and over where messages are only counted.
    same: Bytes,
    recording: PhantomData<R>,
    cached_clock: CachedClock,
    /// From due to sent.
    pub lag: Histogram<u64>,
    /// From due to awake: the part of the lag that is the timer's.
    pub pacer: Histogram<u64>,
    /// From sent to confirmed.
    pub confirm: Histogram<u64>,
    /// From the start until everything was sent and, where the pattern confirms, confirmed; ns of the clock.
    pub span: Option<(u64, u64)>,
}

impl<R: Recording> SenderRecorder<R> {
    /// The account of producer `producer`, called `role`. A role that is started again goes on
    /// behind the last message that it has accounted for.
    pub fn open(
        dir: &Path,
        role: &str,
        run: u32,
        producer: usize,
        size: usize,
        window: Window,
    ) -> Result<Self> {
        let counters = Counters::open(dir, role)?;
        let mut own = Self {
            run,
            producer: u32::try_from(producer)?,
            sequence: counters.get(Counter::Sent),
            refusals: counters.get(Counter::Refused),
            counters,
            builder: MessageBuilder::new(size),
            refused: Bitmap::open(dir, role, Set::Refused, producer)?,
            confirmed: Bitmap::open(dir, role, Set::Confirmed, producer)?,
            window,
            trace_file: None,
            confirms: None,
            same: Bytes::new(),
            recording: PhantomData,
            cached_clock: CachedClock::every(if R::ACCOUNTS { 1 } else { UNINSTRUMENTED_LOOK }),
            lag: stats::new_histogram(),
            pacer: stats::new_histogram(),
            confirm: stats::new_histogram(),
            span: None,
        };
        own.same = own.message(0, 0, 0);
        Ok(own)
    }

    /// Notes every message from now on; see [`crate::measure::trace`].
    pub fn keep(&mut self, dir: &Path, role: &str) -> Result<()> {
        let sends = TraceFile::open(dir, role, Subject::Sends)?;
        // A role that was killed may have counted a message and not noted it.
        while sends.count() < self.sequence {
            sends.note((0, 0));
        }
        self.trace_file = Some(sends);
        self.confirms = Some(TraceFile::open(dir, role, Subject::Confirms)?);
        Ok(())
    }

    /// In a closed loop nothing is due at a time: the clock is looked at only for
    /// one message in 16, and after each wait.
    pub fn use_cached_clock(&mut self) {
        if R::ACCOUNTS {
            self.cached_clock = CachedClock::every(CLOSED_LOOK);
        }
    }

    /// The time, for the next message.
    #[inline]
    pub fn now(&mut self) -> u64 {
        self.cached_clock.now()
    }

    /// Somebody has waited: the next message needs a look at the clock.
    #[inline]
    pub fn refresh_clock(&mut self) {
        self.cached_clock.refresh_clock();
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
        if !R::ACCOUNTS {
            return Ok((sequence, self.same.clone()));
        }
        let lag = now.saturating_sub(scheduled);
        if self.window.holds(scheduled) {
            self.lag.saturating_record(lag);
        }
        if let Some(trace_file) = &self.trace_file {
            let since = |time: u64| time.saturating_sub(self.window.start);
            trace_file.note((since(scheduled), since(now)));
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
        let header = Header { run: self.run, producer: self.producer, sequence, scheduled, lag };
        self.builder.message(&header)
    }

    /// Messages handed to the lab so far.
    #[inline]
    pub fn sent(&self) -> u64 {
        self.sequence
    }

    /// How many of them were not refused.
    #[inline]
    pub fn accepted(&self) -> u64 {
        self.sequence - self.refusals
    }

    /// The lab said no.
    pub fn refuse(&mut self, sequence: u64) {
        self.refusals += 1;
        self.refused.insert(sequence);
        self.counters.add(Counter::Refused, 1);
    }

    /// Responsibility has moved, at `at`: when it was known, not when the loop
    /// came round to it.
    #[inline]
    pub fn confirm(&mut self, sequence: u64, sent: u64, at: u64) {
        if !R::ACCOUNTS {
            return;
        }
        if self.confirmed.insert(sequence) {
            self.counters.add(Counter::Confirmed, 1);
            if let Some(confirms) = &self.confirms {
                confirms.note((sequence, at.saturating_sub(self.window.start)));
            }
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
