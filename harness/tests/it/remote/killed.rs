//! Killed launchers, and a killed `lab`: the trial fails with the reason, and nothing stays.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::process::signal;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use super::{gone, trials_of};
use crate::program::{Live, bench, text};
use crate::result_sets::{MARK, marked};
use crate::{lab, wait_until};

/// `timeout` kills the agent in the middle of the trial.
pub(super) fn once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mark = format!("mark-{}", std::process::id());
    let launch = format!("receiver=timeout -s KILL 3 env {MARK}={mark}");
    let words = ["oneway-tcp", "--load", "500", "--trials", "1", "--seconds", "20", "--no-floor"];
    bench(&[&words[..], &["--launch", &launch]].concat(), dir.path())?.expect(1)?;
    let one = trials_of(dir.path())?.remove(0);
    let why = one["failed"].as_str().context("it has not failed")?;
    ensure!(why.contains("receiver-0"), "{why}");
    gone(&mark)
}

/// Launchers of senders and receivers are killed at random moments, so many times: whenever it is,
/// the trial fails with a reason, and in the end nothing is left on either side.
pub(super) fn at_random(times: usize) -> Result<()> {
    let seed: u64 = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    for number in 0..times {
        let dir = tempfile::tempdir()?;
        let mark = format!("killed-{}-{number}", std::process::id());
        let launch = |role: &str| format!("{role}=env {MARK}={mark}");
        let (sender, receiver) = (launch("sender"), launch("receiver"));
        let load = if number % 2 == 0 { "500" } else { "max" };
        let words = ["bench", "oneway-tcp", "--load", load, "--trials", "1", "--seconds", "30", "--no-floor"];
        let words = [&words[..], &["--launch", &sender, "--launch", &receiver]].concat();
        let mut child = lab(&[&words[..], &["--out", text(dir.path())?]].concat()).spawn()?;
        // Two processes of this mark are the least that can be there; how far they are is left to chance.
        wait_until("launchers are there", || Ok(marked(&mark).len() >= 2))?;
        std::thread::sleep(Duration::from_millis(random.random_range(0..1_500)));
        let there = marked(&mark);
        let victim = there[random.random_range(0..there.len())];
        signal(victim, Signal::KILL);
        wait_until("the trial has ended", || Ok(child.try_wait()?.is_some()))?;
        let told = || format!("launcher {number} of seed {seed}");
        let failed = why(dir.path()).with_context(told)?;
        ensure!(failed.contains("-0"), "{}: {failed} names no role", told());
        gone(&mark).with_context(told)?;
    }
    Ok(())
}

fn why(dir: &Path) -> Result<String> {
    let one = trials_of(dir)?.pop().context("no trial")?;
    Ok(one["failed"].as_str().context("it has not failed")?.to_owned())
}

/// `kill -9` of `lab` itself: the other side ends with its input.
pub(super) fn lab_itself() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mark = format!("orphan-{}", std::process::id());
    let launch = format!("receiver=env {MARK}={mark}");
    let words = ["bench", "oneway-tcp", "--load", "max", "--trials", "1", "--seconds", "60", "--no-floor"];
    let words = [&words[..], &["--launch", &launch, "--out", text(dir.path())?]].concat();
    let live = Live::start(&words)?;
    wait_until("the agent and its role are there", || Ok(marked(&mark).len() >= 4))?;
    signal(live.pid(), Signal::KILL);
    ensure!(live.end()?.code == 128 + 9);
    gone(&mark)
}
