//! What a process, a thread or a whole process tree has used so far.
//!
//! A tree's CPU time has the kernel's resolution of 10 ms a process (it is not
//! sampled: the kernel accounts exactly and rounds what it shows). The caller's
//! own comes from its CPU clock, in nanoseconds.
//!
//! Writes and bytes are those of `/proc/PID/io`, which knows `write` and `writev`
//! on anything, and for the caller itself also the sends on sockets, which the
//! kernel leaves out ([`sends`]). What a broker sends so is not known.

mod heap;
mod sends;

use std::ops::{Add, Sub};

use anyhow::{Context, Result};
pub use heap::Counting;
use procfs::ProcError;
use procfs::process::{Io, Process, Status};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::process;
use crate::results::Cost;

/// CPU time, context switches and so on. The difference of two gives what was
/// used in between; memory is a peak and stays the later one's. What cannot be
/// counted is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time, user and system, ns.
    pub cpu_ns: u64,
    /// Context switches, voluntary and not; of threads that still run.
    pub switches: u64,
    /// Peak resident memory, bytes.
    pub rss_bytes: u64,
    /// Calls that hand bytes to the kernel, also those that would have had to wait.
    pub writes: Option<u64>,
    /// Bytes that the kernel took from them.
    pub bytes: Option<u64>,
    /// Calls of the allocator for memory, anew or more; only of the caller itself.
    pub allocations: Option<u64>,
}

impl Usage {
    /// Of `roots` and everything below them. Children that have ended count
    /// with their parent's CPU time and writes. What has gone altogether counts nothing.
    pub fn of_tree(roots: &[u32]) -> Self {
        let tick = 1_000_000_000 / procfs::ticks_per_second();
        let mut usage = Self { writes: Some(0), bytes: Some(0), ..Self::default() };
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
                usage.rss_bytes += peak(&status);
            }
            match process.io() {
                Ok(Io { syscw, wchar, .. }) => {
                    usage.writes = usage.writes.map(|sum| sum + syscw);
                    usage.bytes = usage.bytes.map(|sum| sum + wchar);
                }
                Err(ProcError::NotFound(_)) => {}
                // Of what may not be looked at, the rest is no answer.
                Err(_) => (usage.writes, usage.bytes) = (None, None),
            }
        }
        usage
    }

    /// Of the calling process, its ended threads included.
    fn of_self() -> Result<Self> {
        let process = Process::myself().context("cannot read /proc/self")?;
        let status = process.status().context("cannot read /proc/self/status")?;
        let tasks = process.tasks().context("cannot read /proc/self/task")?;
        let switches =
            tasks.filter_map(|task| task.ok()?.status().ok()).map(|status| switches(&status)).sum();
        let sends = sends::of_process();
        Ok(Self { switches, rss_bytes: peak(&status), ..written(process.io().ok(), sends) })
    }

    /// Of the calling thread; memory is the process's.
    fn of_thread() -> Result<Self> {
        let process = Process::myself().context("cannot read /proc/self")?;
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        let task = process.task_from_tid(thread).context("cannot read /proc/thread-self")?;
        let status = task.status().context("cannot read /proc/thread-self/status")?;
        let written = written(task.io().ok(), sends::of_thread());
        Ok(Self { switches: switches(&status), rss_bytes: peak(&status), ..written })
    }

    /// Spread over the messages that were received.
    pub fn per_message(&self, messages: u64) -> Cost {
        let share = |total: u64| if messages == 0 { 0.0 } else { total as f64 / messages as f64 };
        Cost {
            cpu_ns_per_msg: share(self.cpu_ns),
            switches_per_msg: Some(share(self.switches)),
            rss_bytes: self.rss_bytes,
            writes_per_msg: self.writes.map(share),
            bytes_per_msg: self.bytes.map(share),
            allocations_per_msg: self.allocations.map(share),
        }
    }
}

impl Sub for Usage {
    type Output = Self;

    /// What was used since `earlier`; never below zero, even when a process has ended in between.
    fn sub(self, earlier: Self) -> Self {
        let since = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            switches: self.switches.saturating_sub(earlier.switches),
            rss_bytes: self.rss_bytes,
            writes: since(self.writes, earlier.writes),
            bytes: since(self.bytes, earlier.bytes),
            allocations: since(self.allocations, earlier.allocations),
        }
    }
}

impl Add for Cost {
    type Output = Self;

    /// Of two instances of a role. What is not known of one is not known of both.
    fn add(self, other: Self) -> Self {
        let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        Self {
            cpu_ns_per_msg: self.cpu_ns_per_msg + other.cpu_ns_per_msg,
            switches_per_msg: sum(self.switches_per_msg, other.switches_per_msg),
            rss_bytes: self.rss_bytes + other.rss_bytes,
            writes_per_msg: sum(self.writes_per_msg, other.writes_per_msg),
            bytes_per_msg: sum(self.bytes_per_msg, other.bytes_per_msg),
            allocations_per_msg: sum(self.allocations_per_msg, other.allocations_per_msg),
        }
    }
}

/// Counts what the caller itself uses from one moment to another. Looking costs
/// something as well: reading the kernel's books allocates. So what is counted in
/// this process is read last at the beginning and first at the end.
pub struct Own {
    by_thread: bool,
    before: Usage,
}

impl Own {
    /// Begins to count: the calling thread, or its whole process.
    pub fn begin(by_thread: bool) -> Result<Self> {
        let mut before = Self::read(by_thread)?;
        before.cpu_ns = Self::cpu(by_thread);
        before.allocations = Some(Self::allocations(by_thread));
        Ok(Self { by_thread, before })
    }

    /// What was used since. To be called by the thread that began.
    pub fn end(self) -> Result<Usage> {
        let allocations = Some(Self::allocations(self.by_thread));
        let cpu_ns = Self::cpu(self.by_thread);
        Ok(Usage { cpu_ns, allocations, ..Self::read(self.by_thread)? } - self.before)
    }

    fn read(by_thread: bool) -> Result<Usage> {
        if by_thread { Usage::of_thread() } else { Usage::of_self() }
    }

    fn allocations(by_thread: bool) -> u64 {
        if by_thread { heap::of_thread() } else { heap::of_process() }
    }

    fn cpu(by_thread: bool) -> u64 {
        if by_thread { thread_cpu() } else { process_cpu() }
    }
}

/// CPU time of the calling process so far, ns.
pub fn process_cpu() -> u64 {
    clock(ClockId::ProcessCPUTime)
}

/// CPU time of the calling thread so far, ns.
pub fn thread_cpu() -> u64 {
    clock(ClockId::ThreadCPUTime)
}

/// The kernel's count of writes, and our own of what it leaves out.
fn written(io: Option<Io>, (calls, bytes): (u64, u64)) -> Usage {
    Usage { writes: io.map(|io| io.syscw + calls), bytes: io.map(|io| io.wchar + bytes), ..Usage::default() }
}

fn peak(status: &Status) -> u64 {
    status.vmhwm.unwrap_or(0) * 1024
}

fn switches(status: &Status) -> u64 {
    status.voluntary_ctxt_switches.unwrap_or(0) + status.nonvoluntary_ctxt_switches.unwrap_or(0)
}

fn clock(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests;
