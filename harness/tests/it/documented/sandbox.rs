//! A folder in which the commands of one page are run, with what a reader has there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use harness::broker::free_port;
use harness::process::signal;
use labs::lab::Broker;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::conformance::shared;
use crate::program::{code, text};
use crate::{lab, wait_until};

/// Longest time for one command. On a quiet machine the longest take two minutes, and most a few seconds.
const LIMIT: Duration = Duration::from_secs(480);

/// The folder, and what is known of what runs in it.
pub(super) struct Sandbox {
    dir: TempDir,
    /// Where the last `lab play` is.
    address: Option<String>,
    /// The identifier of a dead letter there.
    letter: Option<String>,
    /// Ports of the page, and free ones in their place.
    ports: BTreeMap<u16, u16>,
    started: Vec<Started>,
}

/// A command that runs, and the file that has what it says.
struct Started {
    child: Child,
    log: PathBuf,
    /// Where its stdin comes from. As long as this is open, stdin has no end.
    stdin: Option<std::io::PipeWriter>,
}

/// What a command said, and its exit code.
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) text: String,
}

impl Sandbox {
    pub(super) fn new(page: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        for folder in ["work", "home/me", "tmp", "state", "data", "cache", "config"] {
            fs::create_dir_all(dir.path().join(folder))?;
        }
        let mut all = Self { dir, address: None, letter: None, ports: BTreeMap::new(), started: Vec::new() };
        all.prepare(page).with_context(|| format!("preparing the folder for {page}"))?;
        Ok(all)
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// What a reader of this page has already.
    fn prepare(&mut self, page: &str) -> Result<()> {
        let (root, work) = (super::root(), self.work());
        match page {
            "docs/history.md" | "docs/performance.md" | "docs/share.md" => {
                copy(&root.join("results"), &work)?;
                fs::create_dir(self.dir.path().join("archive"))?;
                copy(&root.join("results/2026-11-24-vm-standard"), &self.dir.path().join("archive"))
            }
            "docs/regress.md" => {
                for folder in ["", "old", "new"] {
                    fs::create_dir_all(work.join(folder))?;
                    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lab"), work.join(folder).join("lab"))?;
                }
                Ok(())
            }
            "docs/grading.md" | "docs/instructors.md" => {
                let ours = root.join("labs/exercises/late-joiner/solution.py");
                for folder in ["submissions", "autograder/submission"] {
                    fs::create_dir_all(work.join(folder).join("ann"))?;
                    fs::copy(&ours, work.join(folder).join("ann/late-joiner.py"))?;
                }
                Ok(fs::write(work.join("roster.csv"), "id,name\nann,Ann Example\n")?)
            }
            "docs/exercises-protocol.md" => {
                let program = self.dir.path().join("home/me/my-program");
                fs::write(&program, block(&root.join(page), "```sh\n#!/bin/sh\n")?)?;
                Ok(fs::set_permissions(program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?)
            }
            "docs/applications/correlation.md" => {
                Ok(fs::write(work.join("child.py"), block(&root.join(page), "```python\n")?)?)
            }
            "docs/patterns/queue.md" => self.put_aside(),
            // Its exercise has begun.
            page => match page.strip_prefix("labs/exercises/").and_then(|rest| rest.split_once('/')) {
                Some((exercise, _)) => {
                    self.run(&["exercises".to_owned(), exercise.to_owned()])?;
                    Ok(())
                }
                None => Ok(()),
            },
        }
    }

    /// Just before a command: what the page asks the reader to do without showing a command.
    pub(super) fn before(&mut self, command: &[String]) -> Result<()> {
        match command {
            // It is shown after a pass.
            [recipe, exercise] if recipe == "solution" => {
                let ours = super::root().join("labs/exercises").join(exercise).join("solution.py");
                fs::copy(ours, self.work().join(format!("exercises/python/{exercise}.py")))?;
                let said = self.run(&["check".to_owned(), exercise.clone()])?;
                ensure!(said.code == 0, "our own solution does not pass:\n{}", said.text);
                Ok(())
            }
            // The command before has returned the letter to the queue.
            [recipe, _, action, ..] if recipe == "dead" && action == "discard" => self.give_up(),
            _ => Ok(()),
        }
    }

    /// Puts a message aside: a consumer by hand gives it back until the queue gives it up.
    fn put_aside(&mut self) -> Result<()> {
        self.start(&split("play queue-redis consumer"), "consumer is ready")?;
        let address = self.address.clone().context("the consumer shows no address")?;
        let mut producer = self.spawn(&split(&format!("play queue-redis producer --at {address}")))?;
        producer.write("hello\n")?;
        producer.stdin = None;
        ensure!(producer.end()?.code == 0, "the producer failed");
        self.give_up()
    }

    /// Gives the message back as often as `max-attempts` says.
    fn give_up(&mut self) -> Result<()> {
        let consumer = self.started.last_mut().context("no consumer")?;
        for _ in 0..5 {
            // Each delivery is answered by one `nack`.
            wait_until("the message is delivered", || {
                let said = consumer.said()?;
                let count = |begin: &str| said.lines().filter(|line| line.starts_with(begin)).count();
                Ok(count("hello") > count("· nacked: hello"))
            })?;
            let nacked = consumer.said()?.matches("nacked: hello").count();
            consumer.write("nack\n")?;
            wait_until(
                "it is given back",
                || Ok(consumer.said()?.matches("nacked: hello").count() > nacked),
            )?;
        }
        let address = self.address.clone().context("no address")?;
        let list = split(&format!("dead queue-redis --json --at {address}"));
        let mut listed = String::new();
        wait_until("the queue gives the message up", || {
            listed = self.run(&list)?.text;
            Ok(listed.contains("\"id\""))
        })?;
        let id = listed.split("\"id\": \"").nth(1).and_then(|rest| rest.split('"').next());
        self.letter = Some(id.context("no identifier")?.to_owned());
        Ok(())
    }

    /// A command with what a reader fills in, and with free ports instead of those of the page.
    pub(super) fn fill(&mut self, command: &[String]) -> Result<Vec<String>> {
        let home = format!("{}/home/me/", text(self.dir.path())?);
        let tmp = format!("unix:{}/tmp/", text(self.dir.path())?);
        let mut filled: Vec<String> = Vec::new();
        for word in command {
            let word = match word.as_str() {
                "PATTERN-TRANSPORT" => "queue-tcp".to_owned(),
                "SUBMISSIONS" => "submissions".to_owned(),
                "NAME" => "late-joiner".to_owned(),
                "ADDRESS" => self.address.clone().context("no `lab play` has shown an address")?,
                "ID" => self.letter.clone().context("there is no dead letter")?,
                "rabbitmq=HOST" => format!("rabbitmq={}", shared(Broker::RabbitMq)?.reveal()),
                "redis=redis://HOST" => format!("redis={}", shared(Broker::Redis)?.reveal()),
                // What was started before may still have its own.
                port if port != "0" && filled.last().is_some_and(|last| last == "--port") => {
                    free_port()?.to_string()
                }
                word => {
                    let word = word.replace("/home/me/", &home).replace("unix:/tmp/", &tmp);
                    self.with_free_ports(&word.replace("/autograder/", "autograder/"))?
                }
            };
            filled.push(word);
        }
        Ok(filled)
    }

    fn port(&mut self, shown: u16) -> Result<u16> {
        if let Some(port) = self.ports.get(&shown) {
            return Ok(*port);
        }
        let port = free_port()?;
        self.ports.insert(shown, port);
        Ok(port)
    }

    fn with_free_ports(&mut self, word: &str) -> Result<String> {
        let mut parts = word.split("127.0.0.1:");
        let mut all = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            all += &format!("127.0.0.1:{}{}", self.port(part[..end].parse()?)?, &part[end..]);
        }
        Ok(all)
    }

    fn spawn(&self, words: &[String]) -> Result<Started> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (file, log) = tempfile::NamedTempFile::new_in(self.dir.path())?.keep()?;
        let (reader, writer) = std::io::pipe()?;
        let mut command: Command = lab(&words);
        for (name, folder) in [
            ("HOME", "home"),
            ("TMPDIR", "tmp"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_CONFIG_HOME", "config"),
        ] {
            command.env(name, self.dir.path().join(folder));
        }
        command.env_remove("XDG_RUNTIME_DIR").current_dir(self.work()).process_group(0);
        command.stdin(reader).stdout(file.try_clone()?).stderr(file);
        crate::shell::default_signals(&mut command);
        Ok(Started { child: command.spawn()?, log, stdin: Some(writer) })
    }

    /// Runs a command to its end. Nobody types anything.
    pub(super) fn run(&self, words: &[String]) -> Result<Said> {
        let mut started = self.spawn(words)?;
        started.stdin = None;
        started.end()
    }

    /// Starts a command that goes on until Ctrl-C, and waits until it is ready.
    pub(super) fn start(&mut self, words: &[String], ready: &str) -> Result<()> {
        let mut started = self.spawn(words)?;
        started.until_said(ready)?;
        if let Some((_, behind)) = started.said()?.split_once(" --at ") {
            self.address = behind.split_whitespace().next().map(str::to_owned);
        }
        self.started.push(started);
        Ok(())
    }

    /// Ctrl-C for all that was started: each ends well.
    pub(super) fn interrupt(&mut self) -> Result<()> {
        for started in self.started.drain(..).rev() {
            started.signal(Signal::INT);
            let said = started.end()?;
            ensure!(said.code == 0, "after Ctrl-C the exit code is {}:\n{}", said.code, said.text);
        }
        Ok(())
    }
}

impl Started {
    fn said(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    fn write(&mut self, line: &str) -> Result<()> {
        use std::io::Write as _;
        Ok(self.stdin.as_mut().context("its stdin is closed")?.write_all(line.as_bytes())?)
    }

    fn until_said(&mut self, words: &str) -> Result<()> {
        wait_until(&format!("`{words}` is said"), || {
            let ended = self.child.try_wait()?.is_some();
            let said = self.said()?;
            ensure!(said.contains(words) || !ended, "it ended and said:\n{said}");
            Ok(said.contains(words))
        })
    }

    fn signal(&self, sent: Signal) {
        // It may have ended.
        let _ = Pid::from_raw(self.child.id() as i32).map(|pid| kill_process_group(pid, sent));
    }

    fn end(mut self) -> Result<Said> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Said { code: code(status), text: self.said()? });
            }
            if Instant::now() > deadline {
                bail!("it goes on after {} s, and said:\n{}", LIMIT.as_secs(), self.said()?);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Its guard ends what is below it.
            signal(self.child.id(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn split(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

/// Copies a folder into another one.
fn copy(from: &Path, into: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-r").arg(from).arg(into).status()?;
    ensure!(status.success(), "cannot copy {}", from.display());
    Ok(())
}

/// The block of a page that begins with this, without its fence.
fn block(page: &Path, begin: &str) -> Result<String> {
    let page = fs::read_to_string(page)?;
    let at = page.find(begin).with_context(|| format!("no block begins with `{begin}`"))?;
    let inside = page[at..].split_once('\n').map_or("", |(_, inside)| inside);
    Ok(inside.split("```").next().unwrap_or_default().to_owned())
}
