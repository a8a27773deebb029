//! The window of a closed loop: how much a sender may have in flight, and when it looks again.

use anyhow::Result;

use super::context::RoleContext;
use crate::measure::account::Counters;
use crate::measure::clock::{self, Pacer};
use crate::measure::cost;
use crate::measure::recorder::{Progress, Recording, SenderRecorder};
use crate::results::LoadKind;

/// How long a full window is left alone at least before it is looked at again, ns.
const SHORTEST_PAUSE: u64 = 50_000;
/// And at most, ns: so long that a crowd looks about once a millisecond, all together.
const LONGEST_PAUSE: std::ops::RangeInclusive<u64> = 10_000_000..=100_000_000;
const PAUSE_PER_SENDER: u64 = 1_000_000;
/// A window in which nothing moves for this long has lost its messages, where
/// the transport may lose them. ns.
const GIVE_UP: u64 = 500_000_000;
/// Most bytes in flight in a closed loop, whatever the window: a window of large
/// messages would fill a broker's memory, or its limit for one subscriber (Redis: 32 MB).
const WINDOW_BYTES: u64 = 16 << 20;
/// Looks from which the cost of one is taken.
const CALIBRATION: u64 = 16;

/// So many senders are a crowd: while one waits, the others keep the receivers busy.
const CROWD: usize = 4;

/// How much of its share a sender waits for, once the share is used up.
///
/// A sender alone refills early, or the receivers would run dry. In a crowd the others keep them
/// busy, and a share is small: each wake-up has to be worth more of it.
fn burst(share: u64, senders: usize) -> u64 {
    let quarters = match senders {
        ..CROWD => 1,
        CROWD..16 => 2,
        _ => 3,
    };
    (share / 4 * quarters).max(1)
}

/// How long to leave a full window alone, after a pause of so many ns: `since` messages were received
/// in `elapsed` ns, and `wanted` more have to be.
///
/// Where the window had run empty, the sender came `late`: the pace of the receivers was that of its
/// own looks, and would stay so.
fn pause(before: u64, late: bool, since: u64, elapsed: u64, wanted: u64) -> u64 {
    match since {
        _ if late => before / 2,
        0 => before * 2,
        _ => elapsed.saturating_mul(wanted) / since,
    }
}

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
    /// The room that the last look found.
    room: u64,
    /// How many of this producer's messages were received when the window was last found full,
    /// and when that was, ns of the clock.
    full: (u64, u64),
    /// The last look that found room found the whole share free: the receivers had nothing to do.
    drained: bool,
    /// There are so few senders that this one has to keep the receivers busy.
    alone: bool,
    /// How long to leave a full window alone, ns: about until a burst is free.
    pause: u64,
    longest_pause: u64,
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
        let burst = burst(share, context.init.senders);
        Ok(Self {
            limit: share,
            burst,
            room: 0,
            full: (0, clock::now()),
            drained: false,
            alone: context.init.senders < CROWD,
            pause: SHORTEST_PAUSE,
            longest_pause: (PAUSE_PER_SENDER * context.init.senders as u64)
                .clamp(*LONGEST_PAUSE.start(), *LONGEST_PAUSE.end()),
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
        self.room = fits.saturating_sub(sent);
        if self.room < self.burst {
            return false;
        }
        self.drained = self.room >= self.limit;
        self.known_good = fits;
        true
    }

    /// When to look again at a window that is full, ns of the clock: when a burst should be free,
    /// at the pace at which messages were received since it was last full.
    ///
    /// A sender in a crowd has a small share of the window and gets little of the receivers'
    /// time, so its share is full for long: looking at a fixed interval would cost more CPU than
    /// the messages do.
    pub(in crate::roles) fn next_look(&mut self) -> u64 {
        let (received, now) = (self.received(), clock::now());
        let since = received.saturating_sub(self.full.0);
        // An eighth more than is missing, so that one look is enough.
        let wanted = self.burst.saturating_sub(self.room) + self.burst / 8;
        let late = self.alone && std::mem::take(&mut self.drained);
        self.pause = pause(self.pause, late, since, now - self.full.1, wanted);
        self.pause = self.pause.clamp(SHORTEST_PAUSE, self.longest_pause);
        self.full = (received, now);
        self.all_looks += 1;
        now + self.pause
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_came_late_comes_sooner() {
        // One message at a time, answered within a microsecond: each look finds the window empty.
        let mut now = *LONGEST_PAUSE.start();
        for _ in 0..20 {
            now = pause(now, true, 1, now + 1_000, 1).clamp(SHORTEST_PAUSE, *LONGEST_PAUSE.start());
        }
        assert_eq!(now, SHORTEST_PAUSE);
    }

    #[test]
    fn a_window_that_is_full_is_looked_at_when_a_burst_is_free() {
        assert_eq!(pause(SHORTEST_PAUSE, false, 0, 100, 8), 2 * SHORTEST_PAUSE, "nothing moves");
        assert_eq!(pause(SHORTEST_PAUSE, false, 10, 1_000_000, 20), 2_000_000);
    }
}
