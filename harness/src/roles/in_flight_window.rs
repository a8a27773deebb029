//! The window of a closed loop: how much a sender may have in flight, and when it looks again.

use anyhow::Result;

use super::context::RoleContext;
use crate::measure::account::Counters;
use crate::measure::clock::{self, Pacer};
use crate::measure::cost;
use crate::measure::recorder::{Progress, Recording, SenderRecorder};
use crate::results::LoadKind;

/// How long a full window is left alone at least and at most before it is looked at again, ns.
const SHORTEST_PAUSE: u64 = 50_000;
const LONGEST_PAUSE: u64 = 10_000_000;
/// A window in which nothing moves for this long has lost its messages, where
/// the transport may lose them. ns.
const GIVE_UP: u64 = 500_000_000;
/// Most bytes in flight in a closed loop, whatever the window: a window of large
/// messages would fill a broker's memory, or its limit for one subscriber (Redis: 32 MB).
const WINDOW_BYTES: u64 = 16 << 20;
/// Looks from which the cost of one is taken.
const CALIBRATION: u64 = 16;

/// Closes the loop: at most so many messages sent and not yet received by the
/// slowest receiver, as the receivers' accounts say.
pub(in crate::roles) struct InFlightWindow {
    limit: u64,
    producer: usize,
    receivers: Vec<Counters>,
    progress: Progress,
    /// The transport may lose messages.
    lossy: bool,
    /// Once full, this much must be free before more is sent: many messages for
    /// each wake-up, not one.
    burst: u64,
    /// How long to leave a full window alone, ns: about until a burst is free.
    pause: u64,
    /// Looks at the full window since it was last found to have room.
    looks: u32,
    /// Looks in all, and what one costs: CPU time, ns.
    all_looks: u64,
    look_cost: u64,
    /// Sent messages are known to fit up to here without looking again.
    known_good: u64,
    last_seen: (u64, u64),
    written_off: u64,
}

impl InFlightWindow {
    /// The room a producer has. `kind` are the receivers whose accounts count:
    /// all of them for [`Progress::Highest`], their sum for [`Progress::Count`].
    pub(in crate::roles) fn open(
        context: &RoleContext,
        receivers: &[String],
        progress: Progress,
        lossy: bool,
    ) -> Result<Self> {
        let measure = context.measure()?;
        let closed = measure.load.kind == LoadKind::Max;
        let limit = measure.window.filter(|_| closed).unwrap_or(u64::MAX);
        let limit = if measure.lockstep { context.init.senders as u64 } else { limit };
        let limit =
            if limit == u64::MAX { limit } else { limit.min(WINDOW_BYTES / measure.size.max(1) as u64) };
        let share = (limit / context.init.senders as u64).max(1);
        let receivers = receivers.iter().map(|role| Counters::open(&measure.accounts, role));
        Ok(Self {
            limit: share,
            burst: (share / 4).max(1),
            pause: SHORTEST_PAUSE,
            looks: 0,
            all_looks: 0,
            look_cost: 0,
            producer: context.init.index,
            receivers: receivers.collect::<Result<_>>()?,
            progress,
            lossy,
            known_good: 0,
            last_seen: (0, clock::now()),
            written_off: 0,
        })
    }

    /// Whether another message fits.
    #[inline]
    pub(in crate::roles) fn has(&mut self, sent: u64) -> bool {
        if sent < self.known_good {
            return true;
        }
        let fits = (self.received() + self.written_off).saturating_add(self.limit);
        let room = fits.saturating_sub(sent);
        if room < self.burst {
            return false;
        }
        // Nearly empty already: the next look comes earlier, or the receivers would run dry.
        if std::mem::take(&mut self.looks) > 0 && room > self.limit - self.burst {
            self.pause = (self.pause / 2).max(SHORTEST_PAUSE);
        }
        self.known_good = fits;
        true
    }

    /// When to look again at a window that is full, ns of the clock.
    ///
    /// A sender in a crowd has a small share of the window and gets little of the receivers'
    /// time, so its share is full for long: looking at a fixed interval would cost more CPU than
    /// the messages do. The pause doubles while the window stays full.
    pub(in crate::roles) fn next_look(&mut self) -> u64 {
        if self.looks > 0 {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        self.looks += 1;
        self.all_looks += 1;
        clock::now() + self.pause
    }

    /// Finds out what a look costs, before the common start. Nothing is sent meanwhile.
    pub(in crate::roles) async fn calibrate(&mut self, pacer: &Pacer) -> Result<()> {
        if self.limit == u64::MAX {
            return Ok(());
        }
        let before = cost::thread_cpu();
        for _ in 0..CALIBRATION {
            pacer.sleep_until(clock::now() + SHORTEST_PAUSE).await?;
            std::hint::black_box(self.received());
        }
        self.look_cost = (cost::thread_cpu() - before) / CALIBRATION;
        Ok(())
    }

    /// CPU time that looking at the full window has cost so far, ns.
    pub(in crate::roles) fn cost(&self) -> u64 {
        self.all_looks * self.look_cost
    }

    fn received(&self) -> u64 {
        let each = self.receivers.iter().map(|counters| counters.progress(self.producer));
        match self.progress {
            Progress::Highest => each.min().unwrap_or(u64::MAX),
            Progress::Count => each.sum(),
        }
    }

    /// Where messages may be lost, a window in which nothing moves is empty.
    pub(super) fn give_up_if_stuck<R: Recording>(&mut self, sends: &mut SenderRecorder<R>) {
        let (received, now) = (self.received(), clock::now());
        if received != self.last_seen.0 {
            self.last_seen = (received, now);
        } else if self.lossy && now - self.last_seen.1 > GIVE_UP {
            self.written_off = sends.sent().saturating_sub(received);
            self.last_seen.1 = now;
            self.known_good = 0;
            sends.reset_window();
        }
    }
}
