//! The guard: no child process and no broker outlives `lab`, even if `lab` is killed with
//! SIGKILL or a broker detaches into the background.
//!
//! Three processes run the same program with the same arguments. The *front* is what the
//! user started. It starts the *guard*, which is a child subreaper (orphans below it
//! become its children) and starts the *worker*, which does the work. The guard holds the
//! reading end of a pipe whose other end only the front has: end of file means that the
//! front has ended. When the worker or the front ends, the guard kills every descendant,
//! removes the session's folder and ends with the worker's exit code. If the guard itself
//! is killed, the kernel kills the worker (parent death signal), and the front, also a
//! subreaper, kills the rest.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, exit};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::io::FdFlags;
use rustix::process::{Signal, WaitOptions};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::arguments;
use crate::process;

/// `guard:PARENT:FD:DIR` or `worker:PARENT::DIR`. It counts only for a child of
/// PARENT, so that a `lab` started further down gets a guard of its own.
const VARIABLE: &str = "LAB_GUARD";

struct Post {
    role: String,
    fd: Option<RawFd>,
    dir: PathBuf,
}

/// Puts the rest of the program under guard. It returns in the worker only; the
/// front and the guard exit from here, with the worker's exit code (128 + the
/// signal's number if a signal ended it). Call it before any thread is started
/// and after the arguments have been checked.
pub fn enter() -> Result<()> {
    match post() {
        None => front(),
        Some(post) if post.role == "guard" => guard(&post),
        Some(_) => Ok(()),
    }
}

/// The folder for everything temporary of this session; it is removed at the
/// end, whatever the end is. Without a guard (in tests) it is the system's
/// folder for temporary files, where each process removes what it created.
pub fn session_dir() -> PathBuf {
    post().map_or_else(std::env::temp_dir, |post| post.dir)
}

/// The root of this session's process tree: the guard, or this process.
pub fn session_root() -> u32 {
    match post() {
        Some(_) => parent(),
        None => std::process::id(),
    }
}

/// The RAM disk, where accounts are kept.
pub const SHARED: &str = "/dev/shm";

/// How the names of this session's folders in [`SHARED`] begin: the guard
/// removes their remains.
pub fn shared_prefix() -> String {
    prefix_of(&session_dir())
}

fn prefix_of(session: &Path) -> String {
    let name = session.file_name().unwrap_or_default().to_string_lossy();
    format!("messaging-lab-{name}-")
}

/// Removes everything temporary of a session, and of those that were started in
/// its folder and killed with it.
fn clear(session: &Path) {
    for entry in std::fs::read_dir(session).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("lab-") && entry.path().is_dir() {
            clear(&entry.path());
        }
    }
    let prefix = prefix_of(session);
    for entry in std::fs::read_dir(SHARED).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let _ = std::fs::remove_dir_all(session);
}

fn parent() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32)
}

fn post() -> Option<Post> {
    let value = std::env::var(VARIABLE).ok()?;
    let mut parts = value.splitn(4, ':');
    let role = parts.next()?.to_owned();
    (parts.next()?.parse::<u32>().ok()? == parent()).then_some(())?;
    let fd = parts.next()?.parse().ok();
    Some(Post { role, fd, dir: PathBuf::from(parts.next()?) })
}

/// This program again, with the same arguments but for the logins of brokers in them.
fn again(role: &str, fd: Option<RawFd>, dir: &Path) -> Result<Command> {
    let mut command = Command::new(process::this_program());
    let mut args = std::env::args_os();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    let fd = fd.map(|fd| fd.to_string()).unwrap_or_default();
    let value = format!("{role}:{}:{fd}:{}", std::process::id(), dir.display());
    command.args(arguments::without_logins(args, dir)?).env(VARIABLE, value);
    Ok(command)
}

/// Terminal and supervisor speak to the whole group or to the front only: the
/// keyboard's signals reach the worker by themselves, the others are passed on.
struct Signals {
    ignored: [Stream; 2],
    term: Stream,
    hangup: Stream,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            ignored: [listen(SignalKind::interrupt())?, listen(SignalKind::quit())?],
            term: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next signal to pass on.
    async fn next(&mut self) -> Signal {
        let [interrupt, quit] = &mut self.ignored;
        loop {
            tokio::select! {
                _ = self.term.recv() => return Signal::TERM,
                _ = self.hangup.recv() => return Signal::HUP,
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
            }
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a tokio runtime")
}

fn subreaper() -> Result<()> {
    // The kernel reads the argument as a boolean, not as the identifier of a process.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .context("cannot become a child subreaper: Linux 3.4 or newer is needed")
}

fn front() -> Result<()> {
    subreaper()?;
    let temp = std::env::temp_dir();
    let dir = tempfile::Builder::new().prefix("lab-").tempdir_in(&temp).with_context(|| {
        format!("cannot make a folder in {}; set TMPDIR to a folder you may write to", temp.display())
    })?;
    let (reader, _writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let mut command = again("guard", Some(reader.as_raw_fd()), dir.path())?;
    let inherited = reader.as_raw_fd();
    #[expect(
        unsafe_code,
        reason = "between fork and exec; one async-signal-safe system call on a descriptor that is open"
    )]
    // SAFETY: `reader` outlives the spawn below, so the descriptor is open in the child.
    unsafe {
        command.pre_exec(move || {
            let fd = std::os::fd::BorrowedFd::borrow_raw(inherited);
            Ok(rustix::io::fcntl_setfd(fd, FdFlags::empty())?)
        });
    }
    let (status, died) = runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let mut child =
            tokio::process::Command::from(command).spawn().context("cannot start the guard process")?;
        drop(reader);
        let pid = child.id().unwrap_or(0);
        loop {
            tokio::select! {
                status = child.wait() => {
                    let status = status.context("cannot wait for the guard process")?;
                    return anyhow::Ok((status, status.signal().is_some()));
                }
                sent = signals.next() => process::signal(pid, sent),
            }
        }
    })?;
    if died {
        sweep();
    }
    // The guard has removed everything already, unless it was killed.
    clear(dir.path());
    let _ = dir.close();
    exit(code(status))
}

fn guard(post: &Post) -> Result<()> {
    let fd = post
        .fd
        .with_context(|| format!("{VARIABLE} does not name a file descriptor; do not set it by hand"))?;
    #[expect(unsafe_code, reason = "the descriptor was inherited on purpose and its number handed over")]
    // SAFETY: the front made it for this process, and nothing else here knows its number.
    let pipe = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&pipe, FdFlags::CLOEXEC).context("cannot use the pipe to the front process")?;
    subreaper()?;
    let mut command = again("worker", None, &post.dir)?;
    process::die_with_parent(&mut command);
    let status = runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let mut ended = signal(SignalKind::child()).context("cannot listen for signals")?;
        let mut front = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe)
            .context("cannot read the pipe to the front process")?;
        let worker = command.spawn().context("cannot start the worker process")?.id();
        let mut byte = [0];
        let mut watched = true;
        loop {
            // Everything that ended is reaped here: the worker, and orphans that became ours.
            while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                if pid.as_raw_nonzero().get() as u32 == worker {
                    return anyhow::Ok(ExitStatus::from_raw(status.as_raw()));
                }
            }
            tokio::select! {
                _ = ended.recv() => {}
                _ = front.read(&mut byte), if watched => {
                    watched = false;
                    process::signal(worker, Signal::KILL);
                }
                sent = signals.next() => process::signal(worker, sent),
            }
        }
    });
    sweep();
    clear(&post.dir);
    exit(code(status?))
}

/// Kills and reaps everything below this process until nothing is left.
fn sweep() {
    let own = std::process::id();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let rest: Vec<u32> = process::tree(&[own]).into_iter().filter(|&pid| pid != own).collect();
        for &pid in &rest {
            process::signal(pid, Signal::KILL);
        }
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        if rest.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            eprintln!("lab: these processes do not end after SIGKILL: {rest:?}; look at them with `ps`");
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}
