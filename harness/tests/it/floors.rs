//! Baselines: each receives what it sends, and is listed with its labs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use harness::results::LoadKind;
use harness::roles::{self, baseline};
use labs::lab::Broker;
use libtest_mimic::Trial;

use crate::needs::{needs, proof};
use crate::program::{bench, read};
use crate::trial;

/// Every trial of this file: the baselines of each broker in one run.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        proof(trial("floors::without_a_broker", || measured(None))),
        trial("floors::every_floor_lies_beneath_a_lab", none_is_idle),
        trial("floors::can_be_left_out", left_out),
    ];
    for broker in Broker::ALL {
        let name = format!("floors::over_{broker}");
        trials.push(proof(needs(broker, &name, move || measured(Some(broker)))));
    }
    trials
}

/// A lab for each baseline over this broker.
fn labs(broker: Option<Broker>) -> BTreeMap<String, String> {
    let handles = roles::handles();
    let own = handles.iter().filter(|handle| handle.entry.broker == broker);
    own.filter_map(|handle| Some((baseline::of_lab(&handle.entry)?, handle.entry.name.clone()))).collect()
}

fn none_is_idle() -> Result<()> {
    let all: BTreeSet<String> =
        roles::handles().iter().filter_map(|lab| baseline::of_lab(&lab.entry)).collect();
    for floor in baseline::handles() {
        ensure!(all.contains(&floor.entry.name), "{} belongs to no lab", floor.entry.name);
    }
    Ok(())
}

fn measured(broker: Option<Broker>) -> Result<()> {
    let labs = labs(broker);
    ensure!(!labs.is_empty(), "there is no lab with a baseline");
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("result_set");
    let names: Vec<&str> = labs.values().map(String::as_str).collect();
    let fixed = ["--load", "max", "--load", "200", "--trials", "1", "--seconds", "0.2", "--warmup", "0"];
    bench(&[&names[..], &fixed].concat(), &out)?.expect(0)?;
    let run = read(&out)?;
    for (floor, lab) in &labs {
        for cell in run.cells.iter().filter(|cell| cell.lab == *lab) {
            let id = cell.floor.as_ref().with_context(|| format!("{} has no baseline", cell.id))?;
            let wire =
                run.cells.iter().find(|cell| cell.id == *id).with_context(|| format!("no cell {id}"))?;
            ensure!(wire.lab == *floor && wire.pattern == "floor" && wire.load == cell.load, "{id}");
            let trial = wire.trials.first().with_context(|| format!("{id} was not run"))?;
            ensure!(trial.failed.is_none(), "{id}: {:?}", trial.failed);
            let counts = trial.counts;
            ensure!(counts.sent > 0 && counts.received == counts.sent, "{id}: {counts:?}");
            // Every message of a load at a rate has told when it was due.
            let timed = if wire.load.kind == LoadKind::Rate { counts.received } else { 0 };
            ensure!(trial.response_ns.count == timed, "{id}: {:?} of {timed} times", trial.response_ns);
        }
    }
    let readme = std::fs::read_to_string(out.join("README.md"))?;
    ensure!(
        readme.contains(" × raw sockets"),
        "the report does not say which share the labs reach:\n{readme}"
    );
    Ok(())
}

fn left_out() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("result_set");
    let words = ["oneway-tcp", "--no-floor", "--load", "max", "--trials", "1", "--seconds", "0.2"];
    bench(&words, &out)?.expect(0)?;
    let run = read(&out)?;
    ensure!(run.cells.len() == 1 && run.cells[0].floor.is_none(), "{:?}", run.cells);
    Ok(())
}
