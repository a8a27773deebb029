//! Nothing that is started under guard outlives the program, whoever is killed.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::process::{runs, signal};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::result_sets::{MARK, marked};
use crate::{trial, wait_until};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("guard::killed_front_leaves_nothing", || leaves_nothing(Victim::Front)),
        trial("guard::front_killed_as_it_starts_leaves_nothing", as_it_starts),
        trial("guard::killed_guard_leaves_nothing", || leaves_nothing(Victim::Guard)),
        trial("guard::killed_worker_leaves_nothing", || leaves_nothing(Victim::Worker)),
        trial("guard::terminated_front_leaves_nothing", || leaves_nothing(Victim::Terminated)),
        trial("guard::exit_codes_come_through", exit_codes),
        trial("guard::costs_little", costs_little),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Front,
    Guard,
    Worker,
    Terminated,
}

struct Family {
    front: Child,
    guard: u32,
    worker: u32,
    escaped: u32,
    dir: PathBuf,
}

fn program() -> Result<PathBuf> {
    // Cargo builds examples beside the tests: target/PROFILE/deps/it-… and target/PROFILE/examples/guarded.
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).context("the test program is in no folder")?;
    let program = profile.join("examples/guarded");
    ensure!(program.exists(), "{} is not built; run `cargo build --examples` first", program.display());
    Ok(program)
}

fn family(args: &[&str]) -> Result<Family> {
    let mut command = Command::new(program()?);
    let mut front = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(front.stdout.take().context("no pipe")?).read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
    let (guard, worker, escaped) = (number(), number(), number());
    let dir = words.next().with_context(|| format!("the program said {line:?}"))?.into();
    Ok(Family {
        front,
        guard: guard.context("no guard")?,
        worker: worker.context("no worker")?,
        escaped: escaped.context("no grandchild")?,
        dir,
    })
}

fn leaves_nothing(victim: Victim) -> Result<()> {
    let Family { mut front, guard, worker, escaped, dir } = family(&["wait"])?;
    let all = [front.id(), guard, worker, escaped];
    ensure!(all.iter().all(|&pid| runs(pid)), "not all of {all:?} run");
    ensure!(dir.is_dir(), "{} is not there", dir.display());
    let (pid, sent, code) = match victim {
        Victim::Front => (front.id(), Signal::KILL, None),
        Victim::Guard => (guard, Signal::KILL, Some(137)),
        Victim::Worker => (worker, Signal::KILL, Some(137)),
        Victim::Terminated => (front.id(), Signal::TERM, Some(143)),
    };
    signal(pid, sent);
    let status = front.wait()?;
    match code {
        Some(code) => ensure!(status.code() == Some(code), "the front ended with {status}"),
        None => ensure!(status.signal() == Some(9), "the front ended with {status}"),
    }
    wait_until("every process has ended", || Ok(!all.iter().any(|&pid| runs(pid))))?;
    wait_until("the session's folder has gone", || Ok(!dir.exists()))
}

/// As soon as the front has a child, which does not know yet that it is the guard: it must not take
/// itself for a front of its own, and do the work.
fn as_it_starts() -> Result<()> {
    for number in 0..20 {
        let mark = format!("start-{}-{number}", std::process::id());
        let mut command = Command::new(program()?);
        let mut front =
            command.arg("wait").env(MARK, &mark).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let children = format!("/proc/{0}/task/{0}/children", front.id());
        let began = Instant::now();
        while std::fs::read_to_string(&children)?.is_empty() {
            ensure!(began.elapsed() < Duration::from_secs(60), "the front starts no guard");
            std::thread::yield_now();
        }
        front.kill()?;
        front.wait()?;
        wait_until("every process has ended", || Ok(marked(&mark).is_empty()))?;
    }
    Ok(())
}

fn exit_codes() -> Result<()> {
    for (args, expected) in [(&["exit", "0"][..], 0), (&["exit", "3"], 3), (&["abort"], 134)] {
        let Family { mut front, guard, escaped, dir, .. } = family(args)?;
        let status = front.wait()?;
        ensure!(status.code() == Some(expected), "{args:?} ended with {status}");
        ensure!(!runs(guard) && !runs(escaped), "{args:?} left processes");
        ensure!(!dir.exists(), "{args:?} left {}", dir.display());
    }
    Ok(())
}

fn costs_little() -> Result<()> {
    // The best of several: a busy machine must not fail this.
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        let status = Command::new(program()?).arg("time").status()?;
        best = best.min(start.elapsed());
        ensure!(status.success(), "it ended with {status}");
    }
    // The unoptimised build pays for a longer program file.
    let allowed = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 20 });
    ensure!(best < allowed, "starting under guard took {best:?}");
    println!("starting under guard takes {best:?}");
    Ok(())
}
