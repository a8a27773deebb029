//! The workers of a search: separate processes, so that they can be killed; threads if
//! the lab works in one process only.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use labs::apps::crack::worker;
use labs::lab::Place;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;

use super::transport::Over;
use crate::{process, roles};

/// Number of lines of a worker's stderr that are kept, to be shown if it dies.
const LAST_LINES: usize = 10;

/// A worker that has ended: its name, and the error if there was one.
pub(super) type Left = (String, Option<String>);

/// Workers that a search has started.
pub(super) struct Workers {
    left: mpsc::Receiver<Left>,
    /// Kept so that `left` never ends.
    _ended: mpsc::Sender<Left>,
    /// Number of workers that run.
    running: usize,
    /// Process identifiers by worker name.
    pub(super) pids: BTreeMap<String, u32>,
}

impl Workers {
    /// Starts `count` processes with this command, each with its own name.
    pub(super) fn processes(count: usize, command: &[String]) -> Result<Self> {
        let (ended, left) = mpsc::channel(count);
        let mut pids = BTreeMap::new();
        for number in 1..=count {
            let name = format!("worker-{number}");
            let child = spawn(&name, command)?;
            pids.insert(name.clone(), child.id().context("a worker ended at once")?);
            tokio::spawn(attend(child, name, ended.clone()));
        }
        Ok(Self { left, _ended: ended, running: count, pids })
    }

    /// Starts `count` threads, which join at the search's own place.
    pub(super) fn threads(count: usize, over: &Over, place: &Place) -> Result<Self> {
        let (ended, left) = mpsc::channel(count);
        for number in 1..=count {
            let (name, lab, ended) = (format!("worker-{number}"), over.lab, ended.clone());
            let place = place.clone().with_role(&name);
            let run = move || {
                let working = worker::work(&lab, &place, std::future::pending());
                let worked = roles::runtime(0).and_then(|runtime| runtime.block_on(working));
                // A search that has ended does not read this any more.
                let _ = ended.blocking_send((name, worked.err().map(|error| format!("{error:#}"))));
            };
            std::thread::Builder::new().spawn(run).context("cannot start a thread for a worker")?;
        }
        Ok(Self { left, _ended: ended, running: count, pids: BTreeMap::new() })
    }

    /// The next worker that ends. Cancel-safe.
    pub(super) async fn left(&mut self) -> Left {
        match self.left.recv().await {
            Some(left) => {
                self.running -= 1;
                left
            }
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended; kills those that take longer than `patience`.
    pub(super) async fn join_all(mut self, patience: Duration) {
        let all = async {
            while self.running > 0 {
                self.left().await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            // A thread cannot be killed; it ends with the process.
            self.pids.values().for_each(|&pid| process::signal(pid, Signal::KILL));
            while self.running > 0 && !self.pids.is_empty() {
                self.left().await;
            }
        }
    }

    /// Number of workers that have not ended.
    pub(super) fn running(&self) -> usize {
        self.running
    }
}

fn spawn(name: &str, command: &[String]) -> Result<Child> {
    let mut worker = std::process::Command::new(process::this_program());
    // The name comes first, so that `ps` shows it.
    worker.args(["crack", "--name", name]).args(command);
    worker.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    process::die_with_parent(&mut worker);
    // Ctrl-C is for the search, which then stops its workers.
    worker.process_group(0);
    let mut worker = tokio::process::Command::from(worker);
    worker.kill_on_drop(true).spawn().with_context(|| format!("cannot start a process for {name}"))
}

/// Reads a worker's stderr until it ends, then reports how it ended.
async fn attend(mut child: Child, name: String, ended: mpsc::Sender<Left>) {
    let mut last = VecDeque::new();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    let how = match child.wait().await {
        Ok(status) => how(status, &last),
        Err(error) => Some(error.to_string()),
    };
    let _ = ended.send((name, how)).await;
}

fn how(status: ExitStatus, last: &VecDeque<String>) -> Option<String> {
    match (status.success(), status.signal()) {
        (true, _) => None,
        (false, Some(9)) => Some("killed by signal 9 (SIGKILL)".to_owned()),
        (false, Some(signal)) => Some(format!("killed by signal {signal}")),
        (false, None) => {
            let last = last.back().map_or("it printed nothing", String::as_str);
            Some(format!("{status}: {last}"))
        }
    }
}
