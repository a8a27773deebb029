//! Limits of a student's program: memory, processes, disk, time.
//!
//! Memory and processes are limited by a control group where one may be written, version 2 or 1.
//! Otherwise the limits of the process itself are used (`setrlimit`), and the checker looks at the
//! program three times a second. What that cannot hold is said: [`Limits::off`].

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use super::trouble::Trouble;
use crate::process;

/// Most memory of all processes of a program together, bytes.
pub(crate) const MEMORY: u64 = 768 << 20;
/// Most processes and threads.
pub(crate) const PROCESSES: usize = 100;
/// Most that a program may write into its folder, bytes.
pub(crate) const DISK: u64 = 64 << 20;
/// The variable that all processes of a run inherit, by which those are found that left their tree.
pub(crate) const MARK: &str = "EXERCISE_RUN";
/// How the names of our control groups begin; the process id of `lab` follows.
const GROUP: &str = "lab-exercise-";
/// How long it takes at most to end all processes of a run.
const ENDING: Duration = Duration::from_secs(5);

/// The limits of one run, for all of its programs together.
pub(crate) struct Limits {
    groups: Vec<PathBuf>,
    /// Its value of [`MARK`].
    pub(crate) mark: String,
    /// What cannot be limited here, for the report.
    pub(crate) off: Vec<&'static str>,
}

impl Limits {
    pub(crate) fn new(mark: String) -> Self {
        remove_old();
        let mut limits = Self { groups: Vec::new(), mark, off: Vec::new() };
        let name = format!("{GROUP}{}-{}", std::process::id(), limits.mark);
        let memory = MEMORY.to_string();
        let processes = PROCESSES.to_string();
        let mut held = BTreeSet::new();
        for root in roots() {
            let group = root.join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            for (what, file, value) in [
                ("memory", "memory.max", &memory),
                ("memory", "memory.limit_in_bytes", &memory),
                ("processes", "pids.max", &processes),
            ] {
                // Without O_CREAT: a kernel that lacks the file says so.
                let written = OpenOptions::new().write(true).open(group.join(file));
                if written.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes())).is_ok() {
                    held.insert(what);
                }
            }
            limits.groups.push(group);
        }
        if !held.contains("memory") {
            limits.off.push("memory is looked at three times a second, not limited by the kernel");
        }
        if !held.contains("processes") && rustix::process::getuid().is_root() {
            limits.off.push("processes are counted three times a second, not limited by the kernel");
        }
        limits
    }

    /// Puts a program that is to be started under these limits.
    pub(crate) fn apply(&self, command: &mut Command) {
        let files: Vec<File> = self
            .groups
            .iter()
            .filter_map(|group| OpenOptions::new().write(true).open(group.join("cgroup.procs")).ok())
            .collect();
        let user = own_processes() + PROCESSES as u64;
        #[expect(unsafe_code, reason = "between fork and exec; system calls only, nothing is allocated")]
        // SAFETY: the closure makes system calls on descriptors that are open, and nothing else.
        unsafe {
            command.pre_exec(move || {
                for file in &files {
                    // "0" is the process that writes it. A group that does not take it is not needed.
                    let _ = rustix::io::write(file.as_fd(), b"0");
                }
                for (resource, most) in [
                    (Resource::Fsize, DISK),
                    (Resource::Core, 0),
                    (Resource::Nproc, user),
                    (Resource::Nofile, 1024),
                ] {
                    let allowed = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
                    setrlimit(resource, Rlimit { current: Some(allowed), maximum: Some(allowed) })?;
                }
                Ok(())
            });
        }
        command.env(MARK, &self.mark);
    }

    /// What a program does too much of; `folder` is the one that it may write to.
    pub(crate) fn broken(&self, roots: &[u32], folder: &Path) -> Option<Trouble> {
        let page = rustix::param::page_size() as u64;
        let tree = process::tree_stats(roots);
        let memory = tree.iter().map(|stat| stat.rss).sum::<u64>() * page;
        let processes = tree.len();
        if processes > PROCESSES * 3 / 4 {
            return Some(Trouble::new(
                format!("the program has started {processes} processes; at most {PROCESSES} are allowed"),
                "look for a loop that starts processes or forks; all of them were ended",
            ));
        }
        if memory > MEMORY {
            return Some(Trouble::new(
                format!(
                    "the program uses {} MB of memory; at most {} MB are allowed",
                    memory >> 20,
                    MEMORY >> 20
                ),
                "look for a list or a queue that grows without a bound",
            ));
        }
        let disk = size(folder, 0);
        (disk > DISK).then(|| {
            Trouble::new(
                format!(
                    "the program has written {} MB into its folder; at most {} MB are allowed",
                    disk >> 20,
                    DISK >> 20
                ),
                "look for a log or a file that grows without a bound; what it wrote was removed",
            )
        })
    }

    /// Ends every process of the run, also those that left the tree of their program.
    pub(crate) fn end_all(&self, roots: &[u32]) {
        let deadline = Instant::now() + ENDING;
        loop {
            let mut left: Vec<u32> = process::tree(roots);
            left.extend(self.members());
            left.extend(marked(&self.mark));
            if left.is_empty() || Instant::now() > deadline {
                return;
            }
            // Stopped first, so that none starts another one meanwhile.
            for signal in [Signal::STOP, Signal::KILL] {
                left.iter().for_each(|&pid| process::signal(pid, signal));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn members(&self) -> impl Iterator<Item = u32> {
        let lists =
            self.groups.iter().filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok());
        let pids: Vec<u32> = lists
            .flat_map(|list| list.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.into_iter().filter(|&pid| process::runs(pid))
    }
}

impl Drop for Limits {
    /// Also when a check is interrupted: nothing that it has started goes on.
    fn drop(&mut self) {
        self.end_all(&[]);
        for group in &self.groups {
            // A process that has ended leaves its group a moment later.
            for _ in 0..100 {
                if fs::remove_dir(group).is_ok() || !group.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// The folders in which a control group may be made: that of this process, in each hierarchy that
/// limits memory or processes.
fn roots() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let base = Path::new("/sys/fs/cgroup");
    let below = |top: PathBuf, path: &str| {
        let own = top.join(path.trim_start_matches('/'));
        if own.is_dir() { own } else { top }
    };
    own.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            match controllers {
                // Version 2. A group with processes in it hands no controller down, but its parent may.
                "" if base.join("cgroup.controllers").exists() => Some(below(base.to_owned(), path)),
                "memory" | "pids" => Some(below(base.join(controllers), path)),
                _ => None,
            }
        })
        .collect()
}

/// Removes the groups of a `lab` that was killed.
fn remove_old() {
    for entry in roots().iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(GROUP)?.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !process::runs(pid)) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The processes that have this mark in their environment.
fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let has = |pid: u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    process::stats()
        .filter(|stat| !matches!(stat.state, 'Z' | 'X'))
        .map(|stat| stat.pid as u32)
        .filter(|&pid| has(pid))
        .collect()
}

/// How many processes this user has now.
fn own_processes() -> u64 {
    process::stats().map(|stat| stat.num_threads.max(1) as u64).sum()
}

/// What is in a folder, bytes. Links are not followed, and it goes at most ten folders down.
fn size(folder: &Path, depth: usize) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let about = entry.path().symlink_metadata().ok()?;
            Some(if about.is_dir() && depth < 10 { size(&entry.path(), depth + 1) } else { about.len() })
        })
        .sum()
}
