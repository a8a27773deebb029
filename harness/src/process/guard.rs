//! The guard: no child process and no broker outlives `lab`, even if `lab` is killed with
//! SIGKILL or a broker detaches into the background.
//!
//! Three processes run the same program with the same arguments. The *front* is what the
//! user started. It starts the *guard*, which is a child subreaper (orphans below it
//! become its children) and starts the *worker*, which does the work. The guard holds the
//! reading end of a pipe whose other end only the front has: end of file means that the
//! front has ended. Until it reads there, the kernel kills it with the front. When the
//! worker or the front ends, the guard kills every descendant, removes the session's
//! folders and ends with the worker's exit code. If the guard itself is killed, the kernel
//! kills the worker (parent death signal), and the front, also a subreaper, kills the rest.
//! If all three are killed at once, the next start removes what is left ([`session`]).

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, exit};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::io::FdFlags;
use rustix::process::{Signal, WaitOptions};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments;
use super::session;
use super::signals::{self, Listener, PASSED_ON};
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
    enter_with(Logs::OfTheSession)
}

/// As [`enter`]; but the logs of producers stay where the user keeps such things, and are
/// found again by the next session.
pub fn enter_and_keep_logs() -> Result<()> {
    enter_with(Logs::Kept)
}

/// Whether the logs that producers write are kept.
#[derive(Clone, Copy)]
enum Logs {
    OfTheSession,
    Kept,
}

fn enter_with(logs: Logs) -> Result<()> {
    match post() {
        None => front(),
        Some(post) if post.role == "guard" => guard(&post, logs),
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
pub const SHARED: &str = session::SHARED;

/// How the names of this session's folders in [`SHARED`] begin: the guard
/// removes their remains.
pub fn shared_prefix() -> String {
    session::shared_prefix(&session_dir())
}

/// Marks a new folder as one of this session's, for whoever finds it when the session has
/// been killed.
pub fn belongs_to_session(folder: &Path) {
    if let Some(post) = post() {
        // Without the mark it stays only if every process of the session is killed at once.
        let _ = session::link(folder, &post.dir);
    }
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

/// The signals that are for the worker. A terminal sends its own to the whole process group,
/// and others only reach the front: so all are passed on. An interruption is passed on as
/// another signal, so that the worker can tell that it is the same.
struct Signals {
    interrupt: Listener,
    passed_on: Listener,
    quit: Listener,
    term: Listener,
    hangup: Listener,
    /// The front passes interruptions on; the guard only what the front has passed on.
    is_front: bool,
}

impl Signals {
    fn new(is_front: bool) -> Result<Self> {
        Ok(Self {
            interrupt: Listener::new(SignalKind::interrupt())?,
            passed_on: Listener::new(SignalKind::from_raw(PASSED_ON.as_raw()))?,
            quit: Listener::new(SignalKind::quit())?,
            term: Listener::new(SignalKind::terminate())?,
            hangup: Listener::new(SignalKind::hangup())?,
            is_front,
        })
    }

    /// The next signal to pass on.
    async fn next(&mut self) -> Signal {
        loop {
            tokio::select! {
                () = self.quit.recv() => return Signal::QUIT,
                () = self.term.recv() => return Signal::TERM,
                () = self.hangup.recv() => return Signal::HUP,
                () = self.passed_on.recv() => return PASSED_ON,
                () = self.interrupt.recv() => if self.is_front { return PASSED_ON },
            }
        }
    }
}

/// Passes a signal on. One that has no handler for interruptions yet is ended by them.
fn pass_on(pid: u32, sent: Signal) {
    let sent = if sent == PASSED_ON && !signals::handles(pid, PASSED_ON) { Signal::INT } else { sent };
    process::signal(pid, sent);
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
    let (dir, alive) = session::new()?;
    let (reader, _writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let mut command = again("guard", Some(reader.as_raw_fd()), dir.path())?;
    // Until it is the guard: one whose parent is gone would not know its post, and be a front of its own.
    process::die_with_parent(&mut command);
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
        let mut signals = Signals::new(true)?;
        let mut child =
            tokio::process::Command::from(command).spawn().context("cannot start the guard process")?;
        drop(reader);
        let pid = child.id().unwrap_or(0);
        // Beside the work, which need not wait for it.
        let sweeping = tokio::task::spawn_blocking(session::sweep);
        loop {
            tokio::select! {
                status = child.wait() => {
                    let status = status.context("cannot wait for the guard process")?;
                    let _ = sweeping.await;
                    return anyhow::Ok((status, status.signal().is_some()));
                }
                sent = signals.next() => pass_on(pid, sent),
            }
        }
    })?;
    if died {
        tell("guard", status);
        sweep();
    }
    // The guard has removed everything already, unless it was killed.
    session::clear(dir.path());
    drop(alive);
    let _ = dir.close();
    exit(code(status))
}

fn guard(post: &Post, logs: Logs) -> Result<()> {
    // From here on the pipe says when the front has ended, and there is something to clear then.
    rustix::process::set_parent_process_death_signal(None).context("cannot outlive the front process")?;
    let fd = post
        .fd
        .with_context(|| format!("{VARIABLE} does not name a file descriptor; do not set it by hand"))?;
    #[expect(unsafe_code, reason = "the descriptor was inherited on purpose and its number handed over")]
    // SAFETY: the front made it for this process, and nothing else here knows its number.
    let pipe = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&pipe, FdFlags::CLOEXEC).context("cannot use the pipe to the front process")?;
    subreaper()?;
    // As the front's lock, until the very end.
    let alive = session::Alive::join(&post.dir);
    let mut command = again("worker", None, &post.dir)?;
    command.env(labs::place::SESSION, &post.dir);
    match logs {
        Logs::OfTheSession => command.env(labs::place::SESSION_STATE, session::state(&post.dir)),
        Logs::Kept => command.env_remove(labs::place::SESSION_STATE),
    };
    process::die_with_parent(&mut command);
    let mut alone = false;
    let status = runtime()?.block_on(async {
        let mut signals = Signals::new(false)?;
        let mut ended = signal(SignalKind::child()).context("cannot listen for signals")?;
        let mut front = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe)
            .context("cannot read the pipe to the front process")?;
        let worker = command.spawn().context("cannot start the worker process")?.id();
        let mut byte = [0];
        loop {
            // Everything that ended is reaped here: the worker, and orphans that became ours.
            while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                if pid.as_raw_nonzero().get() as u32 == worker {
                    return anyhow::Ok(ExitStatus::from_raw(status.as_raw()));
                }
            }
            tokio::select! {
                _ = ended.recv() => {}
                _ = front.read(&mut byte), if !alone => {
                    alone = true;
                    process::signal(worker, Signal::KILL);
                }
                sent = signals.next() => pass_on(worker, sent),
            }
        }
    });
    if let (Ok(status), false) = (&status, alone) {
        tell("worker", *status);
    }
    sweep();
    session::clear(&post.dir);
    drop(alive);
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
            errln!("lab: these processes do not end after SIGKILL: {rest:?}; look at them with `ps`");
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Names the signal that has ended a process, unless it is one by which users end programs.
fn tell(which: &str, status: ExitStatus) {
    let usual = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::PIPE];
    if let Some(signal) = status.signal().filter(|&signal| usual.iter().all(|usual| usual.as_raw() != signal))
    {
        errln!("lab: its {which} process was ended by {}; finished trials are kept", signals::name(signal));
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}
