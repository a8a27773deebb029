//! Other users of the CPUs: the processes that do not belong to this run, ordered by the
//! CPU time that they used while they were watched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process::{self, guard};

/// The maximum number of processes that are named.
const NAMED: usize = 3;
/// A process below this share of one CPU is not named.
const LEAST: f64 = 0.02;

/// A process that is not ours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Neighbour {
    pub(super) pid: u32,
    pub(super) name: String,
    /// Share of one CPU, 0 to the number of CPUs.
    pub(super) cpu: f64,
}

/// All processes, as they were when watching began.
pub(super) struct OtherProcesses {
    since: Instant,
    /// CPU time of each, ticks.
    before: BTreeMap<u32, u64>,
}

impl OtherProcesses {
    pub(super) fn watch() -> Self {
        let before = process::stats().map(|stat| (stat.pid as u32, stat.utime + stat.stime)).collect();
        Self { since: Instant::now(), before }
    }

    /// The processes with the most CPU time since then, the busiest first. Processes that have
    /// ended are not seen.
    pub(super) fn busiest(self) -> Vec<Neighbour> {
        let ours: BTreeSet<u32> = process::tree(&[guard::session_root()]).into_iter().collect();
        let others = process::stats().filter(|stat| !ours.contains(&(stat.pid as u32)));
        let used = others.map(|stat| {
            let before = self.before.get(&(stat.pid as u32)).copied().unwrap_or(0);
            (stat.pid as u32, stat.comm, (stat.utime + stat.stime).saturating_sub(before))
        });
        rank(used, self.since.elapsed())
    }
}

/// The busiest of processes with the ticks they used in this time.
fn rank(used: impl Iterator<Item = (u32, String, u64)>, time: Duration) -> Vec<Neighbour> {
    let second = procfs::ticks_per_second() as f64;
    let share = |ticks: u64| ticks as f64 / second / time.as_secs_f64();
    let mut all: Vec<Neighbour> =
        used.map(|(pid, name, ticks)| Neighbour { pid, name, cpu: share(ticks) }).collect();
    all.retain(|neighbour| neighbour.cpu >= LEAST);
    all.sort_by(|a, b| b.cpu.total_cmp(&a.cpu));
    all.truncate(NAMED);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_are_named_and_the_idle_are_not() {
        let second = procfs::ticks_per_second();
        let used = [
            ("idle", 0),
            ("some", second),
            ("most", 3 * second),
            ("little", second / 4),
            ("half", second / 2),
        ];
        let used = used.into_iter().zip(1..).map(|((name, ticks), pid)| (pid, name.to_owned(), ticks));
        let found = rank(used, Duration::from_secs(2));
        let found: Vec<(u32, &str, f64)> =
            found.iter().map(|one| (one.pid, one.name.as_str(), one.cpu)).collect();
        assert_eq!(found, [(3, "most", 1.5), (2, "some", 0.5), (5, "half", 0.25)]);
    }
}
