//! Process trees: find all descendants of a process, end them, and tie a child's life to
//! its parent's.

mod arguments;
pub mod guard;
mod session;
pub mod signals;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal};

/// Makes the kernel kill the child (SIGKILL) when the thread that starts it ends,
/// however that comes about: start children on a thread that lives as long as they should.
pub fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    #[expect(
        unsafe_code,
        reason = "between fork and exec; both calls are async-signal-safe and allocate nothing"
    )]
    // SAFETY: the closure only makes two system calls and compares their result.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above took effect.
            let alive =
                rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get() as u32 == parent);
            if alive { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
        });
    }
}

/// This program, to be started again in another role. While its file is being
/// replaced (a build is running), only the kernel still has it.
pub fn this_program() -> PathBuf {
    let exe = std::env::current_exe().ok().filter(|exe| exe.exists());
    exe.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// Every process below `roots`, and the roots themselves where they still run.
/// Zombies are left out: nothing of them runs any more.
pub fn tree(roots: &[u32]) -> Vec<u32> {
    tree_stats(roots).into_iter().map(|stat| stat.pid as u32).collect()
}

/// `/proc/PID/stat` of all of these.
pub(crate) fn tree_stats(roots: &[u32]) -> Vec<procfs::process::Stat> {
    let mut all: BTreeMap<u32, procfs::process::Stat> = stats().map(|stat| (stat.pid as u32, stat)).collect();
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (&pid, stat) in &all {
        children.entry(stat.ppid as u32).or_default().push(pid);
    }
    let mut seen = BTreeSet::new();
    let mut next: Vec<u32> = roots.to_vec();
    while let Some(pid) = next.pop() {
        if seen.insert(pid) {
            next.extend(children.get(&pid).into_iter().flatten());
        }
    }
    let runs = |stat: &procfs::process::Stat| !matches!(stat.state, 'Z' | 'X');
    seen.into_iter().filter_map(|pid| all.remove(&pid)).filter(runs).collect()
}

/// `/proc/PID/stat` of all processes; one that ends meanwhile is left out.
pub(crate) fn stats() -> impl Iterator<Item = procfs::process::Stat> {
    procfs::process::all_processes().into_iter().flatten().filter_map(|process| process.ok()?.stat().ok())
}

/// How long these processes and all below them have used a processor.
pub(crate) fn used(roots: &[u32]) -> Duration {
    let ticks: u64 = tree_stats(roots).iter().map(|stat| stat.utime + stat.stime).sum();
    Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second().max(1) as f64)
}

/// Whether a process still runs; a zombie does not.
pub fn runs(pid: u32) -> bool {
    procfs::process::Process::new(pid as i32)
        .and_then(|process| process.stat())
        .is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// Whether one of these processes listens on this TCP port: so a broker is told
/// from another one that has taken its port. Their descriptors can be read by
/// the process that started them.
pub fn listens(pids: &[u32], port: u16) -> bool {
    use procfs::process::{FDTarget, Process};
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let inodes: BTreeSet<u64> = tables
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.state == procfs::net::TcpState::Listen && entry.local_address.port() == port)
        .map(|entry| entry.inode)
        .collect();
    let descriptors = pids.iter().filter_map(|&pid| Process::new(pid as i32).ok()?.fd().ok()).flatten();
    descriptors.flatten().any(|fd| matches!(fd.target, FDTarget::Socket(inode) if inodes.contains(&inode)))
}

/// Sends a signal to one process; it is not an error if the process has ended.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Kills `roots` and everything below them with SIGKILL, and waits until all
/// have ended. Those that belong to the caller still have to be reaped by it.
pub fn kill_tree(roots: &[u32]) -> Result<()> {
    // The children of a killed process move to another parent, out of reach of the roots. So
    // the tree is stopped first, until it no longer grows.
    let mut all = BTreeSet::new();
    loop {
        let now: BTreeSet<u32> = tree(roots).into_iter().collect();
        let new: Vec<u32> = now.difference(&all).copied().collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            signal(pid, Signal::STOP);
            all.insert(pid);
        }
    }
    for &pid in &all {
        signal(pid, Signal::KILL);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(pid) = all.iter().copied().find(|&pid| runs(pid)) {
        if Instant::now() > deadline {
            bail!("process {pid} does not end after SIGKILL; look at it with `ps -fp {pid}`");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
