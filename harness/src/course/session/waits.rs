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
    /// Of each process, when it was last looked at.
    of: BTreeMap<u32, Duration>,
    /// `(moment, all of them until then)`, in order.
    samples: Vec<(Duration, Duration)>,
}

impl Waits {
    /// Looks at these processes.
    pub(super) fn look(&mut self, now: Duration, pids: impl IntoIterator<Item = u32>) {
        for pid in pids {
            if let Some(waited) = waited(pid) {
                // A thread that has ended takes its time with it.
                let known = self.of.entry(pid).or_default();
                *known = waited.max(*known);
            }
        }
        self.samples.push((now, self.of.values().sum()));
    }

    /// All of it until the last look.
    pub(super) fn total(&self) -> Duration {
        self.samples.last().map_or(Duration::ZERO, |(_, total)| *total)
    }

    /// What was waited between two moments, and a little around them: from the last look before the
    /// first of them to the first look after the second.
    pub(super) fn between(&self, from: Duration, to: Duration) -> Duration {
        let before = self.samples.iter().rev().find(|(at, _)| *at <= from);
        let after = self.samples.iter().find(|(at, _)| *at >= to).map_or(self.total(), |(_, total)| *total);
        after.saturating_sub(before.map_or(Duration::ZERO, |(_, total)| *total))
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
        let waits = Waits {
            of: BTreeMap::new(),
            samples: [(0, 0), (100, 5), (200, 25), (300, 25)].map(|(at, all)| (ms(at), ms(all))).into(),
        };
        for (from, to, waited) in [(0, 100, 5), (110, 150, 20), (150, 250, 20), (210, 290, 0), (250, 900, 0)]
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
                scope.spawn(|| while !stop.load(std::sync::atomic::Ordering::Relaxed) {});
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
