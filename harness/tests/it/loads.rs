//! Loads other than flat out and at a constant rate: bursts, ramps, backlogs,
//! searches and axes, through the program that users run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use harness::measure::recorder::Uninstrumented;
use harness::results::{BenchmarkCase, Load, LoadKind, Part, Purpose, ResultSet, Run};
use harness::roles::{self, Handles};
use harness::supervisor::Placement;
use harness::trial::{self, Spec, TrialOptions};
use labs::catalog::Visitor as _;
use labs::lab::Broker;
use labs::{oneway, pipeline, pubsub, reqrep};
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::needs::{needs, proof};
use crate::program::{bench, read, run};
use crate::trial as test;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        test("loads::bursts_and_ramps_are_offered_as_laid_out", bursts_and_ramps),
        test("loads::axes_make_cells", axes),
        proof(test("loads::capacity_is_bracketed_and_confirmed", capacity)),
        proof(test("loads::sweep_reaches_from_idle_to_overload", sweep)),
        test("loads::loops_that_only_count_move_messages", counting),
        test("loads::what_cannot_be_asked_for_is_refused", refused),
        test("loads::outbox_is_drained", || drained(&["queue-tcp"])),
    ];
    for (broker, labs) in [
        (Broker::Redis, &["queue-redis", "queue-redis-stream", "durable-redis-stream"][..]),
        (
            Broker::RabbitMq,
            &["queue-rabbitmq", "queue-rabbitmq-quorum", "queue-stomp", "durable-rabbitmq", "durable-stomp"],
        ),
        (Broker::Mqtt, &["queue-mqtt", "queue-mqtt-qos2", "durable-mqtt"]),
        (Broker::Nats, &["queue-jetstream", "durable-jetstream"]),
    ] {
        let name = format!("loads::backlogs_over_{broker}_are_drained");
        trials.push(proof(needs(broker, &name, move || drained(labs))));
    }
    trials
}

/// A result set made with these words.
fn made(words: &[&str]) -> Result<(TempDir, PathBuf, Run)> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("result_set");
    bench(&[words, &["--trials", "1", "--seed", "7", "--no-floor"]].concat(), &out)?.expect(0)?;
    let run = read(&out)?;
    ensure!(run.complete, "the run is not complete");
    Ok((dir, out, run))
}

fn good(cell: &BenchmarkCase) -> Result<&harness::results::Trial> {
    let trial = cell.trials.first().with_context(|| format!("{} was not run", cell.id))?;
    ensure!(trial.failed.is_none(), "{}: {:?}", cell.id, trial.failed);
    ensure!(trial.counts.sent == trial.counts.received, "{}: {:?}", cell.id, trial.counts);
    Ok(trial)
}

fn bursts_and_ramps() -> Result<()> {
    let times = ["oneway-tcp", "--load", "1000", "--seconds", "0.8", "--warmup", "0.2"];
    let (_dir, out, run) = made(&[&times[..], &["--arrivals", "burst:50"]].concat())?;
    let cell = &run.cells[0];
    // 20 bursts of 50 in a second, the first at its very beginning; 16 of them are measured.
    ensure!((good(cell)?.counts.sent, good(cell)?.due) == (1000, 800), "{:?}", good(cell)?);
    let offered: Vec<u64> =
        ResultSet::open(&out)?.0.raw(&cell.id, 0)?.series.iter().map(|interval| interval.offered).collect();
    ensure!(offered[..20] == [50; 20], "{offered:?}");

    let (_dir, out, run) = made(&[&times[..], &["--arrivals", "ramp"]].concat())?;
    let cell = &run.cells[0];
    ensure!(good(cell)?.counts.sent == 500, "half of the rate on average: {:?}", good(cell)?.counts);
    let series = ResultSet::open(&out)?.0.raw(&cell.id, 0)?.series;
    let offered: Vec<u64> = series.iter().take(20).map(|interval| interval.offered).collect();
    ensure!(offered.is_sorted() && offered[0] < 3 && offered[19] > 45, "{offered:?}");
    Ok(())
}

fn axes() -> Result<()> {
    let (_dir, _out, run) = made(&[
        "pubsub-inproc",
        "--load",
        "500",
        "--seconds",
        "0.2",
        "--warmup",
        "0",
        "--receivers",
        "1,3",
        "--set",
        "runtime-threads=0,1",
    ])?;
    ensure!(run.cells.len() == 4, "{} cells", run.cells.len());
    for cell in &run.cells {
        let trial = cell.trials.first().context("a trial")?;
        ensure!(trial.counts.received == trial.counts.sent * cell.receivers as u64, "{}", cell.id);
        ensure!(cell.knobs.get("runtime-threads") == cell.set.get("runtime-threads"), "{}", cell.id);
    }
    Ok(())
}

/// What a search says must follow from its own trials, whatever the machine did.
fn consistent(run: &Run) -> Result<()> {
    let capacity = run.capacities.first().context("nothing was searched")?;
    ensure!(capacity.complete && !capacity.steps.is_empty());
    for step in &capacity.steps {
        let cell = run.cells.iter().find(|cell| cell.id == step.cell).context("a step without a cell")?;
        ensure!(cell.part_of == Some(Part::Capacity) && cell.load.rate == Some(step.rate), "{}", cell.id);
        let passes = step.trials.iter().filter(|trial| trial.why.is_none()).count();
        ensure!(step.passed == (passes * 2 > step.trials.len()), "{step:?}");
        ensure!((2..=3).contains(&step.trials.len()), "{step:?}");
    }
    match capacity.sustainable_per_s {
        Some(rate) => {
            let last = capacity.steps.last().context("a step")?;
            ensure!(last.purpose == Purpose::Confirm && last.passed && last.rate == rate, "{last:?}");
            ensure!(capacity.lowest_fail_per_s.is_none_or(|fail| fail > rate), "{capacity:?}");
            ensure!(capacity.lowest_fail_per_s.is_some() || capacity.note.is_some(), "{capacity:?}");
        }
        None => ensure!(capacity.note.is_some(), "{capacity:?}"),
    }
    Ok(())
}

fn capacity() -> Result<()> {
    // An objective that any machine keeps: the search must still end.
    let words =
        ["reqrep-tcp", "--load", "capacity", "--objective", "1000", "--seconds", "0.2", "--warmup", "0"];
    let (_dir, _out, run) = made(&words)?;
    consistent(&run)?;
    ensure!(run.cells.iter().all(|cell| cell.part_of.is_some()), "only what the search made");
    Ok(())
}

fn sweep() -> Result<()> {
    let words =
        ["oneway-inproc", "--load", "sweep", "--objective", "1000", "--seconds", "0.2", "--warmup", "0"];
    let (_dir, _out, run) = made(&words)?;
    consistent(&run)?;
    let Some(sweep) = run.sweeps.first() else {
        ensure!(run.capacities[0].sustainable_per_s.is_none(), "a sustainable rate, and no sweep");
        return Ok(());
    };
    ensure!(sweep.points.len() == 14 && sweep.points[0].share == 0.01 && sweep.points[13].share == 1.05);
    for point in &sweep.points {
        let cell = run.cells.iter().find(|cell| cell.id == point.cell).context("a point without a cell")?;
        ensure!(cell.part_of == Some(Part::Sweep) && cell.trials.len() == 1, "{}", cell.id);
        ensure!(point.predicted_ns.is_some() == (point.share < 1.0), "{point:?}");
    }
    ensure!(sweep.knee.is_some() && sweep.base_ns.is_some(), "{sweep:?}");
    Ok(())
}

/// A backlog is there before anybody takes it, and all of it arrives.
fn drained(labs: &[&str]) -> Result<()> {
    let (_dir, _out, run) = made(&[labs, &["--load", "drain:2000", "--senders", "2"][..]].concat())?;
    ensure!(run.cells.len() == labs.len(), "{:?}", run.skipped);
    for cell in &run.cells {
        let trial = good(cell)?;
        let drain = trial.drain.with_context(|| format!("{}: no drain", cell.id))?;
        ensure!(cell.load.kind == LoadKind::Drain && trial.counts.sent == 2000, "{}", cell.id);
        ensure!(trial.backlog[0] == 2000, "{}: {:?} were there when draining began", cell.id, trial.backlog);
        ensure!(drain.messages == 2000 && drain.fill_s > 0.0 && drain.drain_s > 0.0, "{drain:?}");
        let expected = 2000.0 / drain.drain_s;
        ensure!((trial.throughput_per_s / expected - 1.0).abs() < 1e-6, "{}: {trial:?}", cell.id);
    }
    Ok(())
}

/// A loop that only counts ends by its counts, for every pattern that one process can play.
fn counting() -> Result<()> {
    let mut labs = Handles::<Uninstrumented>::default();
    labs.one_way::<oneway::inproc::Inproc>();
    labs.request_reply::<reqrep::inproc::Inproc>();
    labs.pub_sub::<pubsub::inproc::Inproc>();
    labs.pipeline::<pipeline::inproc::Inproc>();
    for handle in &labs.0 {
        let spec = Spec {
            handle: handle.clone(),
            size: 64,
            load: Load::max(),
            senders: 1,
            receivers: 1,
            warmup: 0.0,
            seconds: 0.2,
            drain: 10.0,
            window: Some(1000),
            knobs: BTreeMap::new(),
            seed: 1,
            placement: Placement { threads: true, ..Placement::default() },
            null_rate: f64::INFINITY,
            options: TrialOptions::default(),
        };
        let name = &handle.entry.name;
        let trial = roles::runtime(0)?.block_on(trial::run(&spec, None, 0, 0, |_| {}))?.trial;
        ensure!(trial.failed.is_none(), "{name}: {:?}", trial.failed);
        let counts = trial.counts;
        ensure!(counts.sent == counts.received && counts.sent > 1000, "{name}: {counts:?}");
        ensure!(trial.service_ns.count == 0 && trial.lag_ns.count == 0, "{name}: something was recorded");
    }
    Ok(())
}

fn refused() -> Result<()> {
    for (words, said) in [
        (&["oneway-tcp", "--load", "drain"][..], "nothing that keeps a backlog"),
        (&["oneway-tcp", "--load", "capasity"], "did you mean `capacity`"),
        (&["oneway-tcp", "--load", "sweep", "--arrivals", "ramp"], "a ramp has no fixed rate"),
        (&["oneway-tcp", "--arrivals", "burst:x"], "burst:x"),
        (&["oneway-tcp", "--objective", "0"], "objective of 0 ms"),
        (&["oneway-tcp", "--receivers", "2"], "1 receiver, not 2"),
        (&["oneway-tcp", "--set", "batch=1,x"], "batch=1,x"),
    ] {
        let ran = run(&[&["bench"], words].concat())?.expect(2)?;
        ensure!(ran.err.contains(said), "{words:?}: {}", ran.err);
    }
    Ok(())
}
