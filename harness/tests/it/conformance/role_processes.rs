//! Roles as processes: none outlives its run, and one that dies is missed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::process;
use harness::roles::protocol::{Init, kinds};
use harness::roles::{Handle, handles};
use harness::supervisor::{Heard, Placement, Roles};
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

fn on_stage(check: impl AsyncFnOnce(Roles) -> Result<()>) -> Result<()> {
    harness::roles::runtime(0)?.block_on(async { check(start().await?).await })
}

async fn start() -> Result<Roles> {
    let all = handles();
    let handle: &Handle = all.iter().find(|handle| handle.entry.name == LAB).context("no such lab")?;
    let name = format!("it-{}-roles", std::process::id());
    let inits = kinds(handle.entry.pattern).iter().map(|kind| Init {
        lab: LAB.to_owned(),
        kind: *kind,
        index: 0,
        senders: 1,
        receivers: 1,
        run: 1,
        name: name.clone(),
        address: None,
        knobs: BTreeMap::new(),
        bind: BTreeMap::new(),
        filter: None,
        measure: None,
        brief: false,
        clock_ahead_ns: 0,
        restarted: false,
    });
    let mut roles = Roles::start(handle, inits.collect(), Placement::default())?;
    roles.gather(PATIENCE).await?;
    Ok(roles)
}

fn pids(roles: &Roles) -> Result<Vec<u32>> {
    roles.all.iter().map(|role| role.pid().context("a role without a process")).collect()
}

async fn dismissed(mut roles: Roles) -> Result<()> {
    let pids = pids(&roles)?;
    ensure!(pids.iter().all(|pid| process::runs(*pid)), "a role that has joined does not run");
    let complaints = roles.shut_down(PATIENCE).await;
    ensure!(complaints.is_empty(), "roles did not leave in order: {complaints:?}");
    let left = process::tree(&pids);
    ensure!(left.is_empty(), "processes {left:?} are left");
    Ok(())
}

async fn killed(mut roles: Roles) -> Result<()> {
    let pids = pids(&roles)?;
    roles.kill(0)?;
    let why = tokio::time::timeout(PATIENCE, async {
        loop {
            if let (0, Heard::Left(why)) = roles.hear().await {
                return why;
            }
        }
    });
    let why = why.await.context("nobody noticed that a role was killed")?;
    let why = why.context("a killed role is said to have left as it should")?;
    ensure!(why.contains("SIGKILL"), "a killed role is said to have left like this: {why}");
    roles.shut_down(PATIENCE).await;
    let left = process::tree(&pids);
    ensure!(left.is_empty(), "processes {left:?} are left");
    Ok(())
}
