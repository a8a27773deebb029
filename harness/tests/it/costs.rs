//! What a message costs, as whole trials count it: where the truth is known, it
//! has to be found.

use anyhow::{Context as _, Result, ensure};
use harness::results::{BenchmarkCase, Cost, Run};
use labs::lab::Broker;
use libtest_mimic::Trial;

use crate::needs::needs;
use crate::program::{bench, read};
use crate::trial;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("costs::a_plain_socket_writes_once_a_message", || found(socket)),
        trial("costs::threads_write_nothing_to_send_in_process", threads),
        needs(Broker::Redis, "costs::a_broker_that_writes_is_counted", || found(redis)),
        trial("costs::the_pacer_has_an_error_where_it_paces", pacer),
    ]
}

const SIZE: f64 = 256.0;

fn measured(lab: &str, load: &str) -> Result<Run> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let words = [lab, "--load", load, "--size", "256", "--trials", "1", "--seconds", "1", "--warmup", "0.2"];
    bench(&words, &out)?.expect(0)?;
    read(&out)
}

fn cell<'a>(run: &'a Run, lab: &str) -> Result<&'a BenchmarkCase> {
    run.cells.iter().find(|cell| cell.lab == lab).with_context(|| format!("{lab} is not there"))
}

fn cost(cell: &BenchmarkCase, role: &str) -> Result<Cost> {
    cell.trials[0].cost.get(role).copied().with_context(|| format!("{} has no {role}", cell.id))
}

/// How often a count is made again that a busy machine has spoiled: what was held up
/// at one end of the window was counted there and received elsewhere.
const ATTEMPTS: usize = 5;

/// Counts until what is known is found. A count that is wrong is wrong every time.
fn found(count: fn() -> Result<()>) -> Result<()> {
    let spoiled = (1..ATTEMPTS).all(|_| count().is_err());
    if spoiled { count() } else { Ok(()) }
}

/// A busy machine may hold up a few messages at the window's ends, no more.
fn about(found: Option<f64>, expected: f64, what: &str) -> Result<()> {
    let near = found.is_some_and(|found| (found / expected - 1.0).abs() < 0.25);
    ensure!(near, "{what}: {found:?}, not about {expected}");
    Ok(())
}

/// At a rate the baseline hands over each message by itself: its length and its body.
fn socket() -> Result<()> {
    let run = measured("oneway-tcp", "500")?;
    let sender = cost(cell(&run, "floor-tcp")?, "sender")?;
    about(sender.writes_per_msg, 1.0, "writes of the baseline")?;
    about(sender.bytes_per_msg, SIZE + 4.0, "bytes of the baseline")?;
    let lab = cell(&run, "oneway-tcp")?;
    // What is due when the sender wakes goes out together: on a busy machine, more than one message.
    let writes = cost(lab, "sender")?.writes_per_msg;
    ensure!(writes.is_some_and(|writes| writes > 0.0 && writes < 1.25), "writes of the lab: {writes:?}");
    about(cost(lab, "sender")?.bytes_per_msg, SIZE + 4.0, "bytes of the lab")?;
    let receiver = cost(lab, "receiver")?;
    ensure!(receiver.writes_per_msg.is_some_and(|writes| writes < 0.25), "it only reads: {receiver:?}");
    ensure!(receiver.allocations_per_msg.is_some(), "{receiver:?}");
    Ok(())
}

fn threads() -> Result<()> {
    let run = measured("oneway-inproc", "max")?;
    let cell = cell(&run, "oneway-inproc")?;
    for role in ["sender", "receiver"] {
        let cost = cost(cell, role)?;
        let bytes = cost.bytes_per_msg.context("bytes are not known")?;
        // Threads wake each other by writes of 8 bytes.
        ensure!(bytes < SIZE / 4.0, "{role}: {cost:?}");
        ensure!(cost.allocations_per_msg.is_some(), "{role}: {cost:?}");
    }
    Ok(())
}

fn redis() -> Result<()> {
    let run = measured("pubsub-redis", "500")?;
    let broker = cost(cell(&run, "pubsub-redis")?, "broker")?;
    let bytes = broker.bytes_per_msg.context("the kernel counts what Redis writes")?;
    // It passes on the body, with its protocol around it, and answers the publisher.
    ensure!((SIZE..SIZE * 2.0).contains(&bytes), "{broker:?}");
    ensure!(broker.writes_per_msg.is_some() && broker.allocations_per_msg.is_none(), "{broker:?}");
    Ok(())
}

fn pacer() -> Result<()> {
    for lab in ["oneway-tcp", "reqrep-tcp", "queue-tcp"] {
        let run = measured(lab, "500")?;
        let cell = cell(&run, lab)?;
        let (trial, summary) = (&cell.trials[0], cell.summary.as_ref().context("no summary")?);
        let pacer = trial.pacer_ns.with_context(|| format!("{lab}: nothing was paced"))?;
        // Once a message at most, and what the pacer is late by is part of the lag.
        ensure!(pacer.count > 0 && pacer.count <= trial.lag_ns.count, "{lab}: {trial:?}");
        ensure!(pacer.p50 <= trial.lag_ns.max && pacer.max <= trial.lag_ns.max, "{lab}: {trial:?}");
        ensure!(summary.pacer_ns == trial.pacer_ns, "{lab}: {summary:?}");
    }
    let flat_out = measured("oneway-tcp", "max")?;
    ensure!(cell(&flat_out, "oneway-tcp")?.trials[0].pacer_ns.is_none(), "a closed loop has no times");
    Ok(())
}
