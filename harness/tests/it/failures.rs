//! What happens to a benchmark when a role or a broker fails beneath it: the
//! trial has failed and says why, and the run goes on.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::process::signal;
use harness::results::{BenchmarkCase, Trial as Result_};
use labs::lab::Broker;
use libtest_mimic::Trial;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::needs::needs;
use crate::program::{Live, read, text, used};
use crate::{trial, wait_until};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("failures::killed_role_fails_its_trial_only", killed_role),
        needs(Broker::Redis, "failures::killed_broker_fails_its_trial_only", killed_broker),
        needs(Broker::Redis, "failures::broker_paused_too_long_stalls_the_trial", paused_too_long),
        needs(Broker::Redis, "failures::broker_paused_shortly_is_measured", paused_shortly),
    ]
}

/// CPU time after which a role is certainly sending or receiving, ticks of 10 ms:
/// joining takes a fraction of it.
const AT_WORK: u64 = 10;

fn bench(labs: &[&str], more: &[&str]) -> Result<(TempDir, Live)> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("result_set");
    let fixed = ["--load", "max", "--warmup", "0", "--no-floor", "--out", text(&out)?];
    let live = Live::start(&[&["bench"], labs, more, &fixed].concat())?;
    Ok((dir, live))
}

fn redis(live: &Live) -> Result<u32> {
    let found = [live.below("redis-server"), live.below("valkey-server")].concat();
    found.first().copied().context("no Redis runs below the benchmark")
}

/// Every trial of a result set with its cell, in the order made.
fn made(dir: &Path) -> Result<Vec<(BenchmarkCase, Result_)>> {
    let run = read(&dir.join("result_set"))?;
    ensure!(run.complete, "the run did not go on to its end");
    let mut all: Vec<(BenchmarkCase, Result_)> = run
        .cells
        .iter()
        .flat_map(|cell| cell.trials.iter().map(|trial| (cell.clone(), trial.clone())))
        .collect();
    all.sort_by_key(|(_, trial)| trial.position);
    Ok(all)
}

fn killed_role() -> Result<()> {
    let (dir, mut live) = bench(&["oneway-tcp"], &["--trials", "2", "--seconds", "3"])?;
    let role = live.until_at_work("receiver-0", AT_WORK)?;
    signal(role, Signal::KILL);
    live.end()?.expect(1)?.told(&["FAILED: ", "SIGKILL", "1 trial failed", "--resume"])?;
    let trials = made(dir.path())?;
    let reason = trials[0].1.failed.as_deref().context("the trial did not fail")?;
    ensure!(reason.starts_with("receiver-0 "), "{reason}");
    ensure!(trials.len() == 2 && trials[1].1.failed.is_none(), "{:?}", trials[1].1.failed);
    Ok(())
}

fn killed_broker() -> Result<()> {
    let (dir, mut live) = bench(&["oneway-redis", "reqrep-redis"], &["--trials", "1", "--seconds", "3"])?;
    live.until_at_work("role", AT_WORK)?;
    signal(redis(&live)?, Signal::KILL);
    live.end()?.expect(1)?.told(&["FAILED: the broker died", "1 trial failed"])?;
    let trials = made(dir.path())?;
    let reason = trials[0].1.failed.as_deref().context("the trial did not fail")?;
    ensure!(reason.contains("SIGKILL") && reason.contains("end of its log"), "{reason}");
    ensure!(trials.len() == 2 && trials[1].1.failed.is_none(), "{:?}", trials[1].1.failed);
    Ok(())
}

fn paused_too_long() -> Result<()> {
    let args = ["--trials", "1", "--seconds", "3", "--drain", "1"];
    let (dir, mut live) = bench(&["oneway-redis", "oneway-inproc"], &args)?;
    live.until_at_work("role", AT_WORK)?;
    let paused = redis(&live)?;
    signal(paused, Signal::STOP);
    live.end()?.expect(1)?.told(&["FAILED: stalled", "1 trial failed"])?;
    for (cell, trial) in made(dir.path())? {
        let stalled =
            trial.failed.as_deref().is_some_and(|reason| reason.contains("nothing was received for 1 s"));
        ensure!(stalled == (cell.lab == "oneway-redis"), "{}: {:?}", cell.lab, trial.failed);
    }
    Ok(())
}

fn paused_shortly() -> Result<()> {
    let (dir, mut live) = bench(&["oneway-redis"], &["--trials", "1", "--seconds", "3", "--drain", "60"])?;
    live.until_at_work("role", AT_WORK)?;
    let paused = redis(&live)?;
    signal(paused, Signal::STOP);
    // The pause has reached everybody when all roles wait: ten looks see the same CPU times.
    let (mut last, mut same) = (Vec::new(), 0);
    wait_until("the roles wait for the paused broker", || {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let now: Vec<u64> = live.below("role").into_iter().map(used).collect();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        Ok(same >= 10)
    })?;
    signal(paused, Signal::CONT);
    live.end()?.expect(0)?;
    let trials = made(dir.path())?;
    let (_, trial) = trials.first().context("no trial")?;
    let counts = trial.counts;
    ensure!(trial.failed.is_none() && counts.lost == 0 && counts.sent == counts.received, "{trial:?}");
    Ok(())
}
