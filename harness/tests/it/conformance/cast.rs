//! Roles as processes: none outlives its run, and one that dies is missed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::process;
use harness::roles::protocol::{Init, roles};
use harness::roles::{Handle, handles};
use harness::supervisor::{Cast, Heard, Housing};
use libtest_mimic::Trial;

const LAB: &str = "oneway-tcp";
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) fn trials() -> Vec<Trial> {
    let test = |name: &str, check: fn() -> Result<()>| {
        super::trial(format!("conformance::roles::{name}"), None, check)
    };
    vec![
        test("dismissed_roles_leave_no_process", || on_stage(dismissed)),
        test("a_killed_role_is_reported", || on_stage(killed)),
    ]
}

fn on_stage(check: impl AsyncFnOnce(Cast) -> Result<()>) -> Result<()> {
    harness::roles::runtime(0)?.block_on(async { check(cast().await?).await })
}

async fn cast() -> Result<Cast> {
    let all = handles();
    let handle: &Handle = all.iter().find(|handle| handle.entry.name == LAB).context("no such lab")?;
    let name = format!("it-{}-roles", std::process::id());
    let inits = roles(handle.entry.pattern).iter().map(|kind| Init {
        lab: LAB.to_owned(),
        kind: *kind,
        index: 0,
        senders: 1,
        receivers: 1,
        run: 1,
        name: name.clone(),
        url: None,
        knobs: BTreeMap::new(),
        bind: BTreeMap::new(),
        filter: None,
        measure: None,
    });
    let mut cast = Cast::start(handle, inits.collect(), Housing::default())?;
    cast.gather(PATIENCE).await?;
    Ok(cast)
}

fn pids(cast: &Cast) -> Result<Vec<u32>> {
    cast.actors.iter().map(|actor| actor.pid().context("a role without a process")).collect()
}

async fn dismissed(mut cast: Cast) -> Result<()> {
    let pids = pids(&cast)?;
    ensure!(pids.iter().all(|pid| process::runs(*pid)), "a role that has joined does not run");
    let complaints = cast.dismiss(PATIENCE).await;
    ensure!(complaints.is_empty(), "roles did not leave in order: {complaints:?}");
    let left = process::tree(&pids);
    ensure!(left.is_empty(), "processes {left:?} are left");
    Ok(())
}

async fn killed(mut cast: Cast) -> Result<()> {
    let pids = pids(&cast)?;
    cast.kill(0)?;
    let why = tokio::time::timeout(PATIENCE, async {
        loop {
            if let (0, Heard::Left(why)) = cast.hear().await {
                return why;
            }
        }
    });
    let why = why.await.context("nobody noticed that a role was killed")?;
    let why = why.context("a killed role is said to have left as it should")?;
    ensure!(why.contains("SIGKILL"), "a killed role is said to have left like this: {why}");
    cast.dismiss(PATIENCE).await;
    let left = process::tree(&pids);
    ensure!(left.is_empty(), "processes {left:?} are left");
    Ok(())
}
