//! The workers of a hunt: processes of their own, so that they can be killed;
//! threads where the lab cannot leave this one.

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

/// Lines of a worker's stderr that are kept for the case that it dies.
const LAST_WORDS: usize = 10;

/// A worker that has ended: its name, and how if that was not in order.
pub(super) type Left = (String, Option<String>);

/// Workers, started by a hunt.
pub(super) struct Workers {
    left: mpsc::Receiver<Left>,
    /// Kept so that `left` never ends.
    _mouth: mpsc::Sender<Left>,
    /// How many run.
    running: usize,
    /// Processes, by the worker's name.
    pub(super) pids: BTreeMap<String, u32>,
}

impl Workers {
    /// `count` processes, each by this command and a name of its own.
    pub(super) fn processes(count: usize, command: &[String]) -> Result<Self> {
        let (mouth, left) = mpsc::channel(count);
        let mut pids = BTreeMap::new();
        for number in 1..=count {
            let name = format!("worker-{number}");
            let child = spawn(&name, command)?;
            pids.insert(name.clone(), child.id().context("a worker ended at once")?);
            tokio::spawn(attend(child, name, mouth.clone()));
        }
        Ok(Self { left, _mouth: mouth, running: count, pids })
    }

    /// `count` threads, which meet the others at the hunt's own place.
    pub(super) fn threads(count: usize, over: &Over, place: &Place) -> Result<Self> {
        let (mouth, left) = mpsc::channel(count);
        for number in 1..=count {
            let (name, lab, mouth) = (format!("worker-{number}"), over.lab, mouth.clone());
            let place = place.clone().with_role(&name);
            let run = move || {
                let working = worker::work(&lab, &place, std::future::pending());
                let worked = roles::runtime(0).and_then(|runtime| runtime.block_on(working));
                // A hunt that has ended does not ask any more.
                let _ = mouth.blocking_send((name, worked.err().map(|error| format!("{error:#}"))));
            };
            std::thread::Builder::new().spawn(run).context("cannot start a thread for a worker")?;
        }
        Ok(Self { left, _mouth: mouth, running: count, pids: BTreeMap::new() })
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

    /// Waits until all have ended; who stays too long is killed.
    pub(super) async fn gather(mut self, patience: Duration) {
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

    /// How many have not ended.
    pub(super) fn running(&self) -> usize {
        self.running
    }
}

fn spawn(name: &str, command: &[String]) -> Result<Child> {
    let mut worker = std::process::Command::new(process::this_program());
    // The name stands first, for those who look with `ps`.
    worker.args(["crack", "--name", name]).args(command);
    worker.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    process::die_with_parent(&mut worker);
    // Ctrl-C is for the hunt, which then stops its workers.
    worker.process_group(0);
    let mut worker = tokio::process::Command::from(worker);
    worker.kill_on_drop(true).spawn().with_context(|| format!("cannot start a process for {name}"))
}

/// Hears a worker out, then says how it left.
async fn attend(mut child: Child, name: String, mouth: mpsc::Sender<Left>) {
    let mut words = VecDeque::new();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if words.len() == LAST_WORDS {
                words.pop_front();
            }
            words.push_back(line);
        }
    }
    let how = match child.wait().await {
        Ok(status) => how(status, &words),
        Err(error) => Some(error.to_string()),
    };
    let _ = mouth.send((name, how)).await;
}

fn how(status: ExitStatus, words: &VecDeque<String>) -> Option<String> {
    match (status.success(), status.signal()) {
        (true, _) => None,
        (false, Some(9)) => Some("killed by signal 9 (SIGKILL)".to_owned()),
        (false, Some(signal)) => Some(format!("killed by signal {signal}")),
        (false, None) => {
            let last = words.back().map_or("it said nothing", String::as_str);
            Some(format!("{status}: {last}"))
        }
    }
}
