//! The `lab` program as the tests use it: run to the end, or started and watched.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use harness::process::{signal, tree};
use harness::results::{ResultSet, Run};
use rustix::process::Signal;

use crate::{lab, wait_until};

/// What a program that has ended leaves behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Fails, with everything that was said, unless the exit code is this one.
    pub(crate) fn expect(self, code: i32) -> Result<Self> {
        ensure!(self.code == code, "exit code {}, not {code}\n{}{}", self.code, self.out, self.err);
        Ok(self)
    }

    /// Fails unless the user was told all of this.
    pub(crate) fn told(&self, words: &[&str]) -> Result<()> {
        for word in words {
            ensure!(self.err.contains(word), "`{word}` was not said, but:\n{}", self.err);
        }
        Ok(())
    }
}

/// Runs `lab` to its end.
pub(crate) fn run(args: &[&str]) -> Result<Ran> {
    run_in(Path::new("."), args)
}

/// Runs `lab` in a folder to its end.
pub(crate) fn run_in(dir: &Path, args: &[&str]) -> Result<Ran> {
    let output = lab(args).current_dir(dir).output()?;
    Ok(Ran {
        code: code(output.status),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// The exit code, as a shell gives it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Why a trial has failed in whose measured time the machine had no time for it.
pub(crate) const NOTHING: &str = "nothing was received in the measured time";
/// How often such trials are made again.
const AGAIN: usize = 20;

/// Runs `lab bench` with these words to its end. On a busy machine a short measured
/// time can pass before the first message arrives: such trials are made again.
pub(crate) fn bench(words: &[&str], out: &Path) -> Result<Ran> {
    bench_in(Path::new("."), words, out)
}

/// The same in a folder, to which the result's folder is relative.
pub(crate) fn bench_in(dir: &Path, words: &[&str], out: &Path) -> Result<Ran> {
    let words = [&["bench"], words, &["--out", text(out)?]].concat();
    let mut ran = run_in(dir, &words)?;
    for _ in 0..AGAIN {
        if ran.code != 1 || !saw_nothing(&read(&dir.join(out))?) {
            break;
        }
        let again: &[&str] = if words.contains(&"--resume") { &[] } else { &["--resume"] };
        ran = run_in(dir, &[&words[..], again].concat())?;
    }
    Ok(ran)
}

/// Whether trials have failed, and none for another reason.
fn saw_nothing(run: &Run) -> bool {
    let mut failed = run.cells.iter().flat_map(|cell| &cell.trials).filter_map(|trial| trial.failed.as_ref());
    let mut any = false;
    failed.all(|reason| {
        any = true;
        reason == NOTHING
    }) && any
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not text", path.display()))
}

/// The run in a result_set.
pub(crate) fn read(result_set: &Path) -> Result<Run> {
    Ok(ResultSet::open(result_set)?.1)
}

/// A `lab` that runs. Dropping it ends it, and its guard ends what is below it.
pub(crate) struct Live {
    child: Child,
    said: Arc<Mutex<String>>,
    ear: Option<JoinHandle<()>>,
}

impl Live {
    /// Starts it in a process group of its own, as a shell does.
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        Self::spawn(lab(args))
    }

    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        crate::shell::default_signals(&mut command);
        let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().context("no pipe")?;
        let said: Arc<Mutex<String>> = Arc::default();
        let heard = Arc::clone(&said);
        let ear = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = heard.lock().unwrap_or_else(PoisonError::into_inner);
                said.push_str(&line);
                said.push('\n');
            }
        });
        Ok(Self { child, said, ear: Some(ear) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on stderr so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has said this.
    pub(crate) fn until_said(&mut self, words: &str) -> Result<()> {
        wait_until(&format!("`{words}` is said"), || {
            // In this order: its last words may still be on their way when it has ended.
            let ended =
                self.child.try_wait()?.is_some() && self.ear.as_ref().is_none_or(JoinHandle::is_finished);
            let there = self.said().contains(words);
            ensure!(there || !ended, "it ended and said:\n{}", self.said());
            Ok(there)
        })
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What it says on stdout, line by line, while it runs.
    pub(crate) fn lines(&mut self) -> Result<std::io::Lines<BufReader<std::process::ChildStdout>>> {
        Ok(BufReader::new(self.child.stdout.take().context("no pipe")?).lines())
    }

    /// Sends a signal to its whole group, as a terminal does.
    pub(crate) fn signal_group(&self, sent: Signal) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).context("no process")?;
        Ok(rustix::process::kill_process_group(pid, sent)?)
    }

    /// The processes below it with this word among their first arguments: the
    /// name of a role (`sender-0`), or `role` for any, or of a broker's program.
    pub(crate) fn below(&self, word: &str) -> Vec<u32> {
        tree(&[self.pid()]).into_iter().filter(|&pid| is_called(pid, word)).collect()
    }

    /// Waits until such a process has used some CPU time: it is at work.
    pub(crate) fn until_at_work(&mut self, word: &str, ticks: u64) -> Result<u32> {
        let mut found = None;
        wait_until(&format!("a `{word}` is at work"), || {
            ensure!(self.child.try_wait()?.is_none(), "it ended and said:\n{}", self.said());
            found = self.below(word).into_iter().find(|&pid| used(pid) >= ticks);
            Ok(found.is_some())
        })?;
        found.context("it has gone")
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Result<Ran> {
        let mut out = String::new();
        // Unless somebody has read it already.
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_string(&mut out)?;
        }
        let status = self.child.wait()?;
        if let Some(ear) = self.ear.take() {
            ear.join().map_err(|_| anyhow::anyhow!("the reader of stderr panicked"))?;
        }
        Ok(Ran { code: code(status), out, err: self.said() })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.child.id(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Redis writes its address behind its name: only the first word of an argument counts.
fn is_called(pid: u32, word: &str) -> bool {
    let process = procfs::process::Process::new(pid as i32);
    let line = process.and_then(|process| process.cmdline()).unwrap_or_default();
    line.iter().take(4).any(|arg| {
        let first = arg.split_whitespace().next().unwrap_or_default();
        first.rsplit('/').next() == Some(word)
    })
}

/// CPU time of a process so far, ticks.
pub(crate) fn used(pid: u32) -> u64 {
    procfs::process::Process::new(pid as i32)
        .and_then(|process| process.stat())
        .map_or(0, |stat| stat.utime + stat.stime)
}
