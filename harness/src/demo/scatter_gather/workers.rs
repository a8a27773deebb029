//! The workers that `lab status` starts: processes of this program.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::process::{Child, ChildStdin};

use super::args::StatusArgs;
use super::worker::URL;
use crate::process;

/// How long a worker may take to leave before it is killed.
const LEAVING: Duration = Duration::from_secs(2);

/// Workers, each with the pipe that keeps it there.
pub(super) struct Workers {
    members: Vec<(Child, Option<ChildStdin>)>,
    paused: usize,
}

impl Workers {
    /// Starts them. The last are the slow ones, and those before them will be paused.
    pub(super) fn start(args: &StatusArgs, url: &str) -> Result<Self> {
        let mut workers = Self { members: Vec::new(), paused: 0 };
        for number in 1..=args.workers {
            // Three deadlines: late for this question, and for the next.
            let slow = number > args.workers - args.slow;
            let delay = if slow { 3 * args.deadline } else { 0 };
            let mut command = std::process::Command::new(process::this_program());
            command.args(["status-worker", "--over", args.over()?, "--place", &args.place]);
            command.args(["--name", &format!("worker-{number}"), "--delay", &delay.to_string()]);
            // Not an argument: everybody on this machine can read those.
            command.env(URL, url);
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            process::die_with_parent(&mut command);
            // Ctrl-C is for us, who then send the workers home.
            command.process_group(0);
            let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
            let mut child = child.with_context(|| format!("cannot start worker {number}"))?;
            let pipe = child.stdin.take();
            workers.members.push((child, pipe));
        }
        Ok(workers)
    }

    /// Stops the first `count` where they stand.
    pub(super) fn pause(&mut self, count: u16) -> Result<()> {
        self.paused = usize::from(count);
        for (child, _) in &self.members[..self.paused] {
            process::signal(child.id().context("a worker has ended")?, Signal::STOP);
        }
        Ok(())
    }

    /// Sends all home: the end of their stdin tells them. Whoever does not go is killed.
    pub(super) async fn dismiss(mut self) {
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
