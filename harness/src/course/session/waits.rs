//! How long the processes of a run waited for a processor. On a busy machine a right program is late
//! through no fault of its own: patience grows by this time, and a limit that was exceeded only with
//! it says nothing.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// A point in time that is waited for, and not for longer than `most` of the run's own time: what the
/// run waited for a processor does not count, up to twice as much again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(super) since: Duration,
    pub(super) waited: Duration,
    pub(super) most: Duration,
}

/// How often patience may grow by itself.
const GROWS: u32 = 2;

impl Patience {
    /// When it ends, from what the run has waited until now.
    pub(super) fn end(&self, waited: Duration) -> Duration {
        let grown = waited.saturating_sub(self.waited).min(self.most * GROWS);
        self.since + self.most + grown
    }
}

/// What the processes of a run have waited for a processor, over time.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// `(moment, what each process has waited until then)`, in order.
    samples: Vec<(Duration, BTreeMap<u32, Duration>)>,
}

impl Waits {
    /// Looks at these processes.
    pub(super) fn look(&mut self, now: Duration, pids: impl IntoIterator<Item = u32>) {
        let mut all = self.samples.last().map(|(_, all)| all.clone()).unwrap_or_default();
        for pid in pids {
            if let Some(waited) = waited(pid) {
                // A thread that has ended takes its time with it.
                let known = all.entry(pid).or_default();
                *known = waited.max(*known);
            }
        }
        self.samples.push((now, all));
    }

    /// All that all of them have waited, until the last look.
    pub(super) fn total(&self) -> Duration {
        self.samples.last().map_or(Duration::ZERO, |(_, all)| all.values().sum())
    }

    /// What the process waited that waited most between two moments, and a little around them: from
    /// the last look before the first of them to the first look after the second.
    pub(super) fn between(&self, from: Duration, to: Duration) -> Duration {
        let before = self.samples.iter().rev().find(|(at, _)| *at <= from).map(|(_, all)| all);
        let after = self.samples.iter().find(|(at, _)| *at >= to).or(self.samples.last());
        let Some((_, after)) = after else { return Duration::ZERO };
        let known = |pid: &u32| before.and_then(|all| all.get(pid)).copied().unwrap_or_default();
        after.iter().map(|(pid, waited)| waited.saturating_sub(known(pid))).max().unwrap_or_default()
    }
}

/// How long the threads of a process have waited for a processor (`/proc/PID/task/*/schedstat`, second
/// number, ns). None where the kernel does not count it, or the process is gone.
fn waited(pid: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let waits = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(waits.sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    #[test]
    fn patience_grows_by_what_was_waited_and_ends() {
        let patience = Patience { since: ms(100), waited: ms(50), most: ms(1_000) };
        for (waited, end) in [(50, 1_100), (350, 1_400), (10_000, 3_100), (0, 1_100)] {
            assert_eq!(patience.end(ms(waited)), ms(end), "after {waited} ms");
        }
    }

    #[test]
    fn waits_between_two_moments_are_bounded_from_above() {
        let look = |(at, one, two): (u64, u64, u64)| (ms(at), BTreeMap::from([(1, ms(one)), (2, ms(two))]));
        let samples = [(0, 0, 0), (100, 5, 1), (200, 7, 21), (300, 7, 21)].map(look);
        let waits = Waits { samples: samples.into() };
        assert_eq!(waits.total(), ms(28));
        for (from, to, waited) in
            [(0, 100, 5), (0, 200, 21), (110, 150, 20), (150, 250, 20), (210, 290, 0), (250, 900, 0)]
        {
            assert_eq!(waits.between(ms(from), ms(to)), ms(waited), "from {from} to {to} ms");
        }
    }

    #[test]
    fn a_process_that_shares_a_processor_has_waited() {
        let mut waits = Waits::default();
        let own = std::process::id();
        waits.look(Duration::ZERO, [own]);
        // More threads than processors: some of them wait.
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let began = std::time::Instant::now();
            let mut now = ms(1);
            while waits.between(ms(0), now) < ms(20) && began.elapsed() < Duration::from_secs(60) {
                now += ms(1);
                std::thread::sleep(ms(5));
                waits.look(now, [own, 0]);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(waits.total() >= ms(20), "{:?}", waits.total());
    }
}
