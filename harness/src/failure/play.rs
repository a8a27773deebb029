//! Plays a scenario over a lab.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use super::experiment::{Experiment, Purpose, Sources};
use super::scenario::Scenario;
use crate::replay::Replay;
use crate::results::{ScenarioRun, together};
use crate::roles::Handle;

/// Plays a scenario over a lab and says what came of it. `tell` gets the story, line by line.
///
/// # Errors
/// When there is nothing to judge: the broker does not start, roles cannot join.
pub async fn run(
    scenario: &Scenario,
    handle: &Handle,
    knobs: BTreeMap<String, usize>,
    sources: Sources,
    command: String,
    tell: Box<dyn FnMut(&str)>,
) -> Result<ScenarioRun> {
    recorded(scenario, handle, knobs, sources, command, tell).await.map(|(run, _)| run)
}

/// The same, with replays of the parts in which messages can be drawn one by one.
pub(crate) async fn recorded(
    scenario: &Scenario,
    handle: &Handle,
    knobs: BTreeMap<String, usize>,
    sources: Sources,
    command: String,
    tell: Box<dyn FnMut(&str)>,
) -> Result<(ScenarioRun, Vec<Replay>)> {
    let began = Instant::now();
    let mut experiment =
        Experiment::new(handle.clone(), knobs, sources, Purpose::lesson(command.clone()), tell);
    let played = (scenario.play)(&mut experiment).await;
    let broker = experiment.server.as_ref().map(|server| format!("{} {}", server.broker(), server.version()));
    let broker = broker.or_else(|| experiment.over.take());
    let closed = experiment.close().await;
    played?;
    closed?;
    let Experiment { checks, facts, parts, mut replays, .. } = experiment;
    for replay in &mut replays {
        replay.head.title = format!("{}: {}", scenario.title, replay.head.title);
    }
    let run = ScenarioRun {
        scenario: scenario.name.to_owned(),
        title: scenario.title.to_owned(),
        lab: handle.entry.name.clone(),
        broker,
        command,
        outcome: together(&checks),
        checks,
        facts,
        parts,
        seconds: began.elapsed().as_secs_f64(),
    };
    Ok((run, replays))
}
