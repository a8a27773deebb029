//! The processes and the folder of one private broker.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use labs::lab::BrokerAddress;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process;

/// How many of a broker's last log lines an error shows.
const LINES: usize = 15;

/// Everything needed to start a broker, and to start it again.
pub(super) struct Plan {
    /// Its address once it runs.
    pub(super) address: BrokerAddress,
    /// The programs to start, the broker itself last; helpers (epmd) are kept over a restart.
    pub(super) programs: Vec<Start>,
    /// How long a start may take.
    pub(super) patience: Duration,
    /// How often it is asked meanwhile.
    pub(super) interval: Duration,
    /// The advice for a broker that does not start.
    pub(super) advice: String,
}

/// One program to start. Its output goes to `LOG.log` in the broker's folder.
pub(super) struct Start {
    pub(super) log: &'static str,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub(super) env: Vec<(String, String)>,
    /// The next program is started when this port is listened on.
    pub(super) listens: Option<u16>,
}

/// A private broker. Dropping it kills it and removes its folder.
pub(super) struct Private {
    plan: Plan,
    children: Vec<Option<Child>>,
    dir: TempDir,
}

impl Private {
    /// Starts what `plan` says in `dir`.
    pub(super) fn start(dir: TempDir, plan: Plan) -> Result<Self> {
        let children = plan.programs.iter().map(|_| None).collect();
        let mut private = Self { plan, children, dir };
        private.spawn()?;
        Ok(private)
    }

    /// Starts every program that does not run.
    pub(super) fn spawn(&mut self) -> Result<()> {
        for (start, child) in self.plan.programs.iter().zip(&mut self.children) {
            let runs = match child {
                Some(child) => child.try_wait().is_ok_and(|status| status.is_none()),
                None => false,
            };
            if !runs {
                let mut started = start.spawn(self.dir.path())?;
                start.await_listening(&mut started);
                *child = Some(started);
            }
        }
        Ok(())
    }

    pub(super) fn address(&self) -> &BrokerAddress {
        &self.plan.address
    }

    pub(super) fn patience(&self) -> Duration {
        self.plan.patience
    }

    pub(super) fn interval(&self) -> Duration {
        self.plan.interval
    }

    pub(super) fn advice(&self) -> &str {
        &self.plan.advice
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn program(&self) -> &Path {
        self.plan.programs.last().map_or(Path::new(""), |start| &start.program)
    }

    /// The name of the log, which tells the broker from its helper programs.
    pub(super) fn log_name(&self) -> &str {
        self.plan.programs.last().map_or("", |start| start.log)
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.children.iter().flatten().map(Child::id).collect()
    }

    pub(super) fn died(&mut self) -> Option<String> {
        for (start, child) in self.plan.programs.iter().zip(&mut self.children) {
            if let Some(Ok(Some(status))) = child.as_mut().map(Child::try_wait) {
                let name = start.program.file_name().unwrap_or_default().to_string_lossy();
                return Some(format!("{name} ended with {status}\n{}", self.last_lines()));
            }
        }
        None
    }

    /// The broker itself, with all below it; helpers stay.
    pub(super) fn kill(&mut self) -> Result<()> {
        match self.children.last_mut() {
            Some(child) => end(child),
            None => Ok(()),
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        for pid in process::tree(&self.pids()) {
            process::signal(pid, signal);
        }
    }

    /// Ends everything and removes the folder.
    pub(super) fn remove(mut self) -> Result<()> {
        self.end_all()?;
        let path = self.dir.path().to_owned();
        // The folder is removed together with `self`.
        drop(self);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    fn end_all(&mut self) -> Result<()> {
        self.children.iter_mut().rev().try_for_each(end)
    }

    fn log(&self) -> String {
        let read = |start: &Start| std::fs::read(self.dir.path().join(format!("{}.log", start.log))).ok();
        let bytes: Vec<u8> = self.plan.programs.iter().filter_map(read).flatten().collect();
        plain(&String::from_utf8_lossy(&bytes))
    }

    /// The last lines of its log, for an error.
    pub(super) fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.is_empty() {
            return "It wrote no log.".to_owned();
        }
        let tail = &lines[lines.len().saturating_sub(LINES)..];
        format!("The end of its log:\n  {}", tail.join("\n  "))
    }

    /// Whether a failed start was for want of a port.
    pub(super) fn port_was_taken(&mut self) -> bool {
        let log = self.log().to_lowercase();
        let helpers = self.children.len().saturating_sub(1);
        // epmd says nothing and ends well when another one has its port.
        let helper_ended = self.children[..helpers]
            .iter_mut()
            .flatten()
            .any(|child| child.try_wait().is_ok_and(|status| status.is_some_and(|status| status.success())));
        helper_ended || log.contains("address already in use") || log.contains("eaddrinuse")
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = self.end_all();
    }
}

impl Start {
    fn spawn(&self, dir: &Path) -> Result<Child> {
        let path = dir.join(format!("{}.log", self.log));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}; is the disk full?", path.display()))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot duplicate a descriptor")?)
            .stderr(log)
            // A Ctrl-C in the terminal is for `lab`, which ends its brokers in order.
            .process_group(0);
        process::die_with_parent(&mut command);
        command.spawn().with_context(|| {
            format!(
                "cannot run {}; is it a program for this machine, and is it executable?",
                self.program.display()
            )
        })
    }
}

impl Start {
    /// Returns early when the program ends or takes too long; both are noticed later, with its log.
    fn await_listening(&self, child: &mut Child) {
        let Some(port) = self.listens else { return };
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline
            && child.try_wait().is_ok_and(|status| status.is_none())
            && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn end(slot: &mut Option<Child>) -> Result<()> {
    if let Some(mut child) = slot.take() {
        process::kill_tree(&[child.id()])?;
        child.wait().context("cannot wait for a broker that was killed")?;
    }
    Ok(())
}

/// Without the colours some brokers write even into files.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        if char == '\x1b' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(char);
        }
    }
    plain
}
