//! The one measuring clock: CLOCK_MONOTONIC, in nanoseconds. All processes of
//! one host read the same one, so that times may cross between them.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// By how much this host's clock is ahead of that of the host that measures, ns.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// From now on, [`now`] is the time of a host whose clock this one is ahead of by so much. Set once,
/// before anything is measured.
pub fn set_ahead(ns: i64) {
    AHEAD.store(ns, Ordering::Relaxed);
}

/// Now, in ns since the beginning of the clock of the host that measures.
#[inline]
pub fn now() -> u64 {
    own().wrapping_sub(AHEAD.load(Ordering::Relaxed).cast_unsigned())
}

/// Now by this host's own clock, in ns since its beginning.
#[inline]
pub fn own() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * SECOND + time.tv_nsec.unsigned_abs()
}

/// Seconds as nanoseconds.
pub fn seconds(seconds: f64) -> u64 {
    (seconds * SECOND as f64) as u64
}

/// Wakes at absolute times, to microseconds: `tokio::time` has ticks of a
/// millisecond and cannot pace.
pub struct Pacer {
    timer: AsyncFd<OwnedFd>,
}

impl Pacer {
    /// A timer on the current runtime.
    pub fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).context("cannot create a timer")?;
        #[expect(
            unsafe_code,
            reason = "the call asks for what OwnedFd gives: the descriptor stays open and the same"
        )]
        // SAFETY: `OwnedFd` owns its descriptor until it is dropped, which the `AsyncFd` does.
        let timer = unsafe { AsyncFd::register(timer) };
        Ok(Self { timer: timer.context("cannot watch a timer")? })
    }

    /// Returns at `at` (ns of [`now`]) or, if that is past, at once. Cancel-safe.
    ///
    /// The result is the pacer's error: how many ns after `at` the caller goes on.
    /// It has what the kernel's timer, its scheduler and this runtime add, and
    /// nothing that the caller did before. `None` where nobody slept.
    pub async fn sleep_until(&self, at: u64) -> Result<Option<u64>> {
        if at <= now() {
            return Ok(None);
        }
        // The timer knows this host's clock alone.
        let own = at.wrapping_add(AHEAD.load(Ordering::Relaxed).cast_unsigned());
        let value = Timespec { tv_sec: (own / SECOND) as i64, tv_nsec: (own % SECOND) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &once)
            .context("cannot set a timer")?;
        loop {
            let mut ready = self.timer.readable().await.context("cannot wait for a timer")?;
            let mut expirations = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)) {
                Ok(read) => {
                    read.context("cannot read a timer")?;
                    return Ok(Some(now().saturating_sub(at)));
                }
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_pacer_never_wakes_early() {
        let pacer = Pacer::new().expect("a timer");
        for wait in [0, 1, 10_000, 300_000, 2_000_000] {
            let at = now() + wait;
            pacer.sleep_until(at).await.expect("a wake-up");
            assert!(now() >= at);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_pacer_knows_how_late_it_woke() {
        let pacer = Pacer::new().expect("a timer");
        assert_eq!(pacer.sleep_until(now()).await.expect("no wake-up"), None, "nobody slept");
        let at = now() + 300_000;
        let late = pacer.sleep_until(at).await.expect("a wake-up").expect("a sleep");
        assert!(late <= now() - at);
        // Whoever keeps the runtime from its turn makes the pacer late, and it says so.
        let at = now() + 1_000_000;
        let hog = async {
            while now() < at + 5_000_000 {
                std::hint::black_box(0);
            }
        };
        let (late, ()) = tokio::join!(pacer.sleep_until(at), hog);
        assert!(late.expect("a wake-up").expect("a sleep") >= 5_000_000);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_cancelled_sleep_does_not_shorten_the_next() {
        let pacer = Pacer::new().expect("a timer");
        let long = now() + 3_000_000;
        let _ = tokio::time::timeout(std::time::Duration::ZERO, pacer.sleep_until(now() + 100_000)).await;
        pacer.sleep_until(long).await.expect("a wake-up");
        assert!(now() >= long);
    }
}
