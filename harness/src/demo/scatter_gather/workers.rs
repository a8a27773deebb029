//! The workers that `lab status` starts, as processes of this program.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::process::{Child, ChildStdin};

use super::args::StatusArgs;
use super::worker::URL;
use crate::process;

/// Maximum time for a worker to leave before it is killed.
const LEAVING: Duration = Duration::from_secs(2);

/// Workers, each with the pipe that keeps it running.
pub(super) struct Workers {
    members: Vec<(Child, Option<ChildStdin>)>,
    paused: usize,
}

impl Workers {
    /// Starts the workers. The last `slow` ones answer late.
    pub(super) fn start(args: &StatusArgs, url: &str) -> Result<Self> {
        let mut workers = Self { members: Vec::new(), paused: 0 };
        for number in 1..=args.workers {
            // Three deadlines: too late for this question and for the next.
            let slow = number > args.workers - args.slow;
            let delay = if slow { 3 * args.deadline } else { 0 };
            let mut command = std::process::Command::new(process::this_program());
            command.args(["status-worker", "--over", args.over()?, "--place", &args.place]);
            command.args(["--name", &format!("worker-{number}"), "--delay", &delay.to_string()]);
            // Not an argument, because all users of the machine can read arguments.
            command.env(URL, url);
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            process::die_with_parent(&mut command);
            // Ctrl-C is for the parent, which then shuts down the workers.
            command.process_group(0);
            let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
            let mut child = child.with_context(|| format!("cannot start worker {number}"))?;
            let pipe = child.stdin.take();
            workers.members.push((child, pipe));
        }
        Ok(workers)
    }

    /// Pauses the first `count` workers (SIGSTOP).
    pub(super) fn pause(&mut self, count: u16) -> Result<()> {
        self.paused = usize::from(count);
        for (child, _) in &self.members[..self.paused] {
            process::signal(child.id().context("a worker has ended")?, Signal::STOP);
        }
        Ok(())
    }

    /// Ends all workers by closing their stdin; kills those that do not leave in time.
    pub(super) async fn shut_down(mut self) {
        for (place, (child, pipe)) in self.members.iter_mut().enumerate() {
            drop(pipe.take());
            if place < self.paused {
                let _ = child.start_kill();
            }
        }
        for (mut child, _) in self.members {
            if tokio::time::timeout(LEAVING, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}
