//! Signals: which of them stay ignored, how an interruption reaches the worker, and
//! their names.

use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What the front and the guard send on instead of SIGINT. A keyboard's Ctrl-C reaches the
/// whole process group, and `kill -INT` the front alone: by two signals the worker can tell
/// that both mean the same interruption.
pub(super) const PASSED_ON: Signal = Signal::USR1;

/// Whether the program was started with this signal ignored, as `nohup` and `trap '' HUP` do,
/// and shells for commands in the background. It stays ignored then.
pub fn stays_ignored(kind: SignalKind) -> bool {
    static AT_START: OnceLock<u64> = OnceLock::new();
    // Asked before the first handler is set, since a handler hides what was there.
    let mask = *AT_START.get_or_init(|| {
        let status = procfs::process::Process::myself().and_then(|myself| myself.status());
        status.map_or(0, |status| status.sigign)
    });
    mask & bit(kind.as_raw_value()) != 0
}

/// Whether a process has a handler for a signal.
pub(super) fn handles(pid: u32, wanted: Signal) -> bool {
    let status = procfs::process::Process::new(pid as i32).and_then(|process| process.status());
    status.is_ok_and(|status| status.sigcgt & bit(wanted.as_raw()) != 0)
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// A signal that is listened for, unless it stays ignored.
pub struct Listener(Option<Stream>);

impl Listener {
    /// Begins to listen.
    pub fn new(kind: SignalKind) -> Result<Self> {
        let listen = || signal(kind).context("cannot listen for signals");
        (!stays_ignored(kind)).then(listen).transpose().map(Self)
    }

    /// Waits for the signal.
    pub async fn recv(&mut self) {
        let came = match &mut self.0 {
            Some(stream) => stream.recv().await,
            None => None,
        };
        if came.is_none() {
            std::future::pending().await
        }
    }
}

/// Interruptions by the user: Ctrl-C, or SIGINT to any process of the program.
pub struct Interrupts {
    own: Listener,
    passed_on: Listener,
    /// How many came by each way.
    came: [u64; 2],
    told: u64,
}

impl Interrupts {
    /// Begins to listen.
    pub fn new() -> Result<Self> {
        // In this order, so that the process that passes interruptions on never sees half of it.
        let passed_on = Listener::new(SignalKind::from_raw(PASSED_ON.as_raw()))?;
        let own = Listener::new(SignalKind::interrupt())?;
        Ok(Self { own, passed_on, came: [0; 2], told: 0 })
    }

    /// Waits for the next one. One that comes by both ways counts once.
    pub async fn next(&mut self) {
        loop {
            tokio::select! {
                () = self.own.recv() => self.came[0] += 1,
                () = self.passed_on.recv() => self.came[1] += 1,
            }
            let most = self.came.into_iter().max().unwrap_or(0);
            if most > self.told {
                self.told = most;
                return;
            }
        }
    }
}

/// `SIGBUS`, and what usually sends it.
pub fn name(signal: i32) -> String {
    let (name, cause) = match signal {
        libc::SIGHUP => ("SIGHUP", ""),
        libc::SIGINT => ("SIGINT", ""),
        libc::SIGQUIT => ("SIGQUIT", ""),
        libc::SIGILL => ("SIGILL", ": it is built for another CPU"),
        libc::SIGABRT => ("SIGABRT", ": it gave up; its last lines say why"),
        libc::SIGBUS => ("SIGBUS", ": there is no room for a file in memory, as in a /dev/shm that is full"),
        libc::SIGFPE => ("SIGFPE", ""),
        libc::SIGKILL => {
            ("SIGKILL", ": by a user, or by the kernel because memory was short (`dmesg` tells)")
        }
        libc::SIGSEGV => ("SIGSEGV", ": a bug in it or in a library"),
        libc::SIGPIPE => ("SIGPIPE", ""),
        libc::SIGTERM => ("SIGTERM", ""),
        libc::SIGXCPU => ("SIGXCPU", ": `ulimit -t` was reached"),
        libc::SIGXFSZ => ("SIGXFSZ", ": `ulimit -f` was reached"),
        libc::SIGSYS => ("SIGSYS", ": a system call that this container does not allow"),
        other => return format!("signal {other}"),
    };
    format!("{name}{cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_interruption_that_comes_by_both_ways_counts_once() {
        let listener = || Listener(None);
        let mut interrupts = Interrupts { own: listener(), passed_on: listener(), came: [1, 0], told: 1 };
        let kind = SignalKind::from_raw(Signal::WINCH.as_raw());
        interrupts.passed_on = Listener(Some(signal(kind).expect("a stream")));
        let myself = rustix::process::getpid();
        rustix::process::kill_process(myself, Signal::WINCH).expect("a signal");
        {
            let mut again = std::pin::pin!(interrupts.next());
            let soon = std::time::Duration::from_millis(200);
            assert!(tokio::time::timeout(soon, &mut again).await.is_err(), "it counted twice");
            rustix::process::kill_process(myself, Signal::WINCH).expect("a signal");
            again.await;
        }
        assert_eq!((interrupts.came, interrupts.told), ([1, 2], 2));
    }

    #[test]
    fn signals_are_named_with_their_cause() {
        for (signal, words) in [(7, "SIGBUS: there is no room"), (9, "SIGKILL: by a user"), (64, "signal 64")]
        {
            assert!(name(signal).starts_with(words), "{}", name(signal));
        }
    }
}
