//! What a process, a thread or a whole process tree has used so far.
//!
//! A tree's CPU time has the kernel's resolution of 10 ms a process (it is not
//! sampled: the kernel accounts exactly and rounds what it shows). The caller's
//! own comes from its CPU clock, in nanoseconds.

use std::ops::Sub;

use anyhow::{Context, Result};
use procfs::process::{Process, Status};
use rustix::time::{ClockId, clock_gettime};

use crate::bundle::Cost;
use crate::process;

/// CPU time, context switches and memory. The difference of two gives what was
/// used in between; memory is a peak and stays the later one's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, user and system, ns.
    pub cpu_ns: u64,
    /// Context switches, voluntary and not; of threads that still run.
    pub switches: u64,
    /// Peak resident memory, bytes.
    pub rss_bytes: u64,
}

impl Usage {
    /// Of `roots` and everything below them. Children that have ended count
    /// with their parent's CPU time. What has gone altogether counts nothing.
    pub fn of_tree(roots: &[u32]) -> Self {
        let tick = 1_000_000_000 / procfs::ticks_per_second();
        let mut usage = Self::default();
        for pid in process::tree(roots) {
            let Ok(process) = Process::new(pid as i32) else { continue };
            if let Ok(stat) = process.stat() {
                let waited = stat.cutime.max(0) as u64 + stat.cstime.max(0) as u64;
                usage.cpu_ns += (stat.utime + stat.stime + waited) * tick;
            }
            // The process's own status counts the switches of its first thread only.
            if let Ok(tasks) = process.tasks() {
                usage.switches += tasks
                    .filter_map(|task| task.ok()?.status().ok())
                    .map(|status| switches(&status))
                    .sum::<u64>();
            }
            if let Ok(status) = process.status() {
                usage.rss_bytes += status.vmhwm.unwrap_or(0) * 1024;
            }
        }
        usage
    }

    /// Of the calling process.
    pub fn of_self() -> Result<Self> {
        let mut usage = Self::of_tree_member(&Process::myself().context("cannot read /proc/self")?)?;
        usage.cpu_ns = clock(ClockId::ProcessCPUTime);
        Ok(usage)
    }

    /// Of the calling thread; memory is the process's.
    pub fn of_thread() -> Result<Self> {
        let process = Process::myself().context("cannot read /proc/self")?;
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        let task = process.task_from_tid(thread).and_then(|task| task.status());
        let status = task.context("cannot read /proc/thread-self/status")?;
        Ok(Self {
            cpu_ns: clock(ClockId::ThreadCPUTime),
            switches: switches(&status),
            rss_bytes: status.vmhwm.unwrap_or(0) * 1024,
        })
    }

    fn of_tree_member(process: &Process) -> Result<Self> {
        let status = process.status().context("cannot read /proc/self/status")?;
        let tasks = process.tasks().context("cannot read /proc/self/task")?;
        Ok(Self {
            cpu_ns: 0,
            switches: tasks.filter_map(|task| task.ok()?.status().ok()).map(|status| switches(&status)).sum(),
            rss_bytes: status.vmhwm.unwrap_or(0) * 1024,
        })
    }

    /// Spread over the messages that were received.
    pub fn per_message(&self, messages: u64) -> Cost {
        let share = |total: u64| if messages == 0 { 0.0 } else { total as f64 / messages as f64 };
        Cost {
            cpu_ns_per_msg: share(self.cpu_ns),
            switches_per_msg: Some(share(self.switches)),
            rss_bytes: self.rss_bytes,
        }
    }
}

impl Sub for Usage {
    type Output = Self;

    /// What was used since `earlier`; never below zero, even when a process has ended in between.
    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            switches: self.switches.saturating_sub(earlier.switches),
            rss_bytes: self.rss_bytes,
        }
    }
}

fn switches(status: &Status) -> u64 {
    status.voluntary_ctxt_switches.unwrap_or(0) + status.nonvoluntary_ctxt_switches.unwrap_or(0)
}

fn clock(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_by_all_three() {
        let root = [std::process::id()];
        let before = (
            Usage::of_self().unwrap_or_default(),
            Usage::of_thread().unwrap_or_default(),
            Usage::of_tree(&root),
        );
        let start = clock(ClockId::ThreadCPUTime);
        while clock(ClockId::ThreadCPUTime) - start < 60_000_000 {
            std::hint::black_box(0);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        let thread = Usage::of_thread().unwrap_or_default();
        let own = Usage::of_self().unwrap_or_default();
        let tree = Usage::of_tree(&root);
        // Threads of other tests end meanwhile and take their switches along, but this one's are there.
        assert!(thread.switches > before.1.switches, "{before:?} {thread:?}");
        for (name, usage, before) in
            [("self", own, before.0), ("thread", thread, before.1), ("tree", tree, before.2)]
        {
            assert!(usage.switches >= thread.switches, "{name}: {usage:?}");
            let used = usage - before;
            assert!(used.cpu_ns >= 30_000_000, "{name}: {used:?}");
            assert!(used.rss_bytes > 500_000, "{name}: {used:?}");
        }
    }
}
