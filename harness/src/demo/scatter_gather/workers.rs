//! The workers that `lab status` starts, as processes of this program.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use labs::lab::BrokerAddress;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};

use super::args::StatusArgs;
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
    pub(super) async fn start(args: &StatusArgs, address: &BrokerAddress) -> Result<Self> {
        let mut workers = Self { members: Vec::new(), paused: 0 };
        for number in 1..=args.workers {
            // Three deadlines: too late for this question and for the next.
            let slow = number > args.workers - args.slow;
            let delay = if slow { 3 * args.deadline } else { 0 };
            let mut command = std::process::Command::new(process::this_program());
            command.args(["status-worker", "--over", args.over()?, "--place", &args.place]);
            command.args(["--name", &format!("worker-{number}"), "--delay", &delay.to_string()]);
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            process::die_with_parent(&mut command);
            // Ctrl-C is for the parent, which then shuts down the workers.
            command.process_group(0);
            let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
            let mut child = child.with_context(|| format!("cannot start worker {number}"))?;
            let mut pipe = child.stdin.take();
            if let Some(pipe) = &mut pipe {
                let line = format!("{}\n", address.reveal());
                pipe.write_all(line.as_bytes()).await.context("a worker ended at once")?;
            }
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
