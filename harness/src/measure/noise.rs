//! How quiet the machine is: a thread that does nothing but sleep notes how much
//! too late it wakes up (a hiccup meter), and the kernel's books say how much CPU
//! time went to others meanwhile.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use procfs::{CpuTime, CurrentSI as _, KernelStats};
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::measure::cost::Usage;
use crate::process::guard;
use crate::results::Noise;

/// Between two wake-ups, ns.
const STEP: u64 = 1_000_000;
/// Oversleeps above this count as this, ns.
const LONGEST: u64 = 60_000_000_000;

/// A running hiccup meter.
pub struct Meter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Histogram<u64>>>,
    before: KernelCounters,
}

impl Meter {
    /// Starts the meter's thread, which uses less than 1 % of a CPU.
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let before = KernelCounters::read();
        let thread =
            std::thread::Builder::new().name("hiccup-meter".to_owned()).spawn(move || listen(&seen)).ok();
        Self { stop, thread, before }
    }

    /// How quiet the machine is when it is left alone for half a second, as before
    /// anything is measured. Blocks for as long.
    pub fn before() -> Noise {
        let meter = Self::start();
        std::thread::sleep(Duration::from_millis(500));
        meter.stop()
    }

    /// Ends it and says what it saw. Zeros where the machine refused to show it.
    pub fn stop(mut self) -> Noise {
        let after = KernelCounters::read();
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.take().and_then(|thread| thread.join().ok());
        let mut noise = after.since(&self.before);
        if let Some(seen) = seen.filter(|seen| !seen.is_empty()) {
            noise.oversleep_p50_ns = seen.value_at_quantile(0.5);
            noise.oversleep_p99_ns = seen.value_at_quantile(0.99);
            noise.oversleep_max_ns = seen.max();
        }
        noise
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn listen(stop: &AtomicBool) -> Histogram<u64> {
    // The kernel may otherwise wake a sleeper up to 50 µs late, to save power.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut seen =
        Histogram::new_with_bounds(1, LONGEST, 3).unwrap_or_else(|_| unreachable!("the bounds are valid"));
    let mut due = now() + STEP;
    while !stop.load(Ordering::Relaxed) {
        let wake = Timespec { tv_sec: (due / 1_000_000_000) as i64, tv_nsec: (due % 1_000_000_000) as _ };
        if clock_nanosleep_absolute(ClockId::Monotonic, &wake).is_err() {
            continue;
        }
        let late = now().saturating_sub(due);
        seen.saturating_record(late.max(1));
        // Steps that went by during a long stall are skipped: the stall itself is on record.
        due += STEP * (late / STEP + 1);
    }
    seen
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The machine's CPU time so far in ticks, and what of it was ours.
#[derive(Default)]
struct KernelCounters {
    busy: u64,
    steal: u64,
    idle: u64,
    own_ns: u64,
}

impl KernelCounters {
    fn read() -> Self {
        let own_ns = Usage::of_tree(&[guard::session_root()]).cpu_ns;
        let Ok(CpuTime { user, nice, system, idle, iowait, irq, softirq, steal, .. }) =
            KernelStats::current().map(|stats| stats.total)
        else {
            return Self { own_ns, ..Self::default() };
        };
        Self {
            // Guest time is in `user` already.
            busy: user + nice + system + irq.unwrap_or(0) + softirq.unwrap_or(0),
            steal: steal.unwrap_or(0),
            idle: idle + iowait.unwrap_or(0),
            own_ns,
        }
    }

    fn since(&self, before: &Self) -> Noise {
        let gone = |now: u64, then: u64| now.saturating_sub(then) as f64;
        let busy = gone(self.busy, before.busy);
        let steal = gone(self.steal, before.steal);
        let total = busy + steal + gone(self.idle, before.idle);
        if total == 0.0 {
            return Noise::default();
        }
        let own = gone(self.own_ns, before.own_ns) / 1e9 * procfs::ticks_per_second() as f64;
        Noise {
            steal: steal / total,
            foreign_cpu: ((busy - own) / total).clamp(0.0, 1.0),
            ..Noise::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn own_work_is_not_foreign_and_oversleep_is_seen() {
        let meter = Meter::start();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            std::hint::black_box(0);
        }
        let before = meter.before.own_ns;
        let own = KernelCounters::read().own_ns - before;
        let noise = meter.stop();
        assert!(own >= 50_000_000, "own CPU time was not counted: {own} ns");
        assert!(noise.oversleep_p50_ns > 0 && noise.oversleep_p50_ns <= noise.oversleep_p99_ns, "{noise:?}");
        assert!(noise.oversleep_p99_ns <= noise.oversleep_max_ns, "{noise:?}");
        assert!((0.0..=1.0).contains(&noise.foreign_cpu) && (0.0..=1.0).contains(&noise.steal), "{noise:?}");
    }

    #[test]
    fn books_tell_ours_from_theirs() {
        // Ticks of 10 ms: 40 busy of which 30 ours, 10 stolen, 50 idle.
        let before = KernelCounters { busy: 100, steal: 100, idle: 100, own_ns: 5 };
        let after = KernelCounters { busy: 140, steal: 110, idle: 150, own_ns: 300_000_005 };
        let noise = after.since(&before);
        assert!((noise.foreign_cpu - 0.1).abs() < 1e-9 && (noise.steal - 0.1).abs() < 1e-9, "{noise:?}");
    }
}
