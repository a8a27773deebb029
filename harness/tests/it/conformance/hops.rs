//! Every pipeline, hop by hop: each result that came has a complete way behind
//! it, in order, whose hops sum up to the time that the sink measured.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::measure::account::{self, Collected, Counter, Counters, Journey, Worked};
use harness::measure::clock::{self, SECOND};
use harness::results::{Arrivals, Load};
use harness::roles::protocol::{FromRole, Kind, Measure, ToRole};
use harness::roles::{self, Handle};
use harness::supervisor::{Heard, Placement, Roles};
use harness::{stats, trial};
use labs::catalog::Pattern;
use libtest_mimic::Trial;

use super::Site;

const PATIENCE: Duration = Duration::from_secs(180);
const WORKERS: usize = 2;
const WORK_US: usize = 2_000;

pub(super) fn trials() -> Vec<Trial> {
    let pipelines = roles::handles().into_iter().filter(|lab| lab.entry.pattern == Pattern::Pipeline);
    let test = |handle: Handle| {
        let name = format!("conformance::{}::hops", handle.entry.name);
        super::trial(name, handle.entry.broker, move || {
            let site = Site::new(&format!("{}-hops", handle.entry.name), handle.entry.broker)?;
            roles::runtime(0)?.block_on(followed(&handle, &site.with(&[("work-us", WORK_US)])))
        })
    };
    pipelines.map(test).collect()
}

/// A short run at a low rate, with work to do.
async fn followed(handle: &Handle, site: &Site) -> Result<()> {
    let accounts = account::new_dir()?;
    let dir = accounts.path();
    let threads = handle.entry.in_process();
    let measure = Measure {
        accounts: dir.to_owned(),
        load: Load::rate(200.0, Arrivals::Constant),
        size: 64,
        seed: 1,
        warmup_ns: SECOND / 10,
        measure_ns: SECOND / 2,
        window: None,
        threads,
        record: false,
        lockstep: false,
    };
    let role_counts = trial::role_counts(Pattern::Pipeline, 1, WORKERS).into_iter();
    let roles = role_counts.flat_map(|(kind, count)| (0..count).map(move |index| (kind, index)));
    let inits = roles.map(|(kind, index)| {
        let mut init = site.init(&handle.entry.name, kind, index);
        (init.receivers, init.measure) = (WORKERS, Some(measure.clone()));
        init
    });
    let inits: Vec<_> = inits.collect();
    let (name, address) = (inits[0].name.clone(), inits[0].address.clone());
    let mut roles = Roles::start(handle, inits, Placement { threads, ..Placement::default() })?;
    roles.gather(PATIENCE).await?;
    roles.tell_all(&ToRole::Go { start: clock::now() + SECOND / 50 });
    let all = tokio::time::timeout(PATIENCE, all_received(&mut roles, dir)).await;
    let sent = all.context("not every result came")??;
    let complaints = roles.shut_down(PATIENCE).await;
    ensure!(complaints.is_empty(), "roles did not leave in order: {complaints:?}");
    trial::remove(handle, &name, address.as_ref(), Vec::new()).await?;

    let collected = Collected::open(dir, "sink-0", 1)?;
    let worker = |index| Worked::open(dir, &format!("worker-{index}"), 1);
    let workers: Vec<Worked> = (0..WORKERS).map(worker).collect::<Result<_>>()?;
    let journeys: Vec<Journey> = account::journeys(&collected, &workers, 0, sent).collect();
    for journey in &journeys {
        let hops = journey.hops();
        ensure!(journey.in_order() && journey.settled.is_some(), "{journey:?}");
        let sum = hops.task_queued + hops.worked + hops.result_queued;
        ensure!(sum == journey.response(), "{hops:?} do not sum up to {} ns", journey.response());
        ensure!(hops.worked >= WORK_US as u64 * 1_000, "{hops:?}: that is not 2 ms of work");
    }
    // What the sink measured by itself, message by message.
    let sink = roles.all.iter().find(|role| role.kind == Kind::Sink).context("no sink")?;
    let measured = stats::decode(&sink.report.as_ref().context("the sink has not reported")?.response)?;
    let mut joined = stats::new_histogram();
    journeys.iter().for_each(|journey| joined.saturating_record(journey.response()));
    ensure!(!measured.is_empty(), "nothing was due in the measured time");
    ensure!(joined == measured, "{} of {} messages have a complete way", joined.len(), measured.len());
    let share = |index| Ok(Counters::open(dir, &format!("worker-{index}"))?.get(Counter::Sent));
    let shares: Vec<u64> = (0..WORKERS).map(share).collect::<Result<_>>()?;
    ensure!(shares.iter().sum::<u64>() == sent, "{shares:?} are not {sent} tasks");
    Ok(())
}

/// Waits until all is sent and all has come; how many that are.
async fn all_received(roles: &mut Roles, dir: &std::path::Path) -> Result<u64> {
    let (ventilator, sink) = (Counters::open(dir, "ventilator-0")?, Counters::open(dir, "sink-0")?);
    loop {
        tokio::select! {
            (number, heard) = roles.hear() => match heard {
                Heard::Line(FromRole::Failed { error }) => bail!("{}: {error}", roles.all[number].name),
                Heard::Left(why) => bail!("{} has left: {why:?}", roles.all[number].name),
                Heard::Line(_) | Heard::Remote(_) => {}
            },
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
        }
        let sent = ventilator.get(Counter::Sent);
        if ventilator.get(Counter::Done) == 1 && sink.get(Counter::Received) == sent {
            return Ok(sent);
        }
    }
}
