//! Pipeline: a fast and a slow worker share the tasks.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use labs::catalog::Particular;
use labs::lab::Guarantee;
use labs::pipeline::Sharing;

use super::narrator::Scenario;
use crate::roles::protocol::{Kind, RoleCommand, What};

pub(super) async fn run(scenario: &mut Scenario<'_>) -> Result<()> {
    const TASKS: usize = 12;
    // All binders are started before any is awaited: each may need the others' addresses.
    let sink = scenario.start(Kind::Sink, 0, None)?;
    let ventilator = scenario.start(Kind::Ventilator, 0, None)?;
    let quick = scenario.start(Kind::Worker, 0, None)?;
    let slow = scenario.start(Kind::Worker, 1, None)?;
    scenario.joined(&[sink, ventilator, quick, slow]).await?;
    scenario.act(quick, RoleCommand::Auto { work_ms: 5 }, "needs 5 ms for a task").await;
    scenario.act(slow, RoleCommand::Auto { work_ms: 60 }, "needs 60 ms for a task").await;
    for task in 1..=TASKS {
        scenario.say(ventilator, &format!("task {task}"), None).await;
    }
    // The workers' reports may come after the sink's, and belong before what follows from it.
    scenario
        .wait(|scenario| {
            let results = |role: &str, what| {
                let texts = scenario.of(role, what);
                let tasks = texts.iter().filter_map(|text| text.split_once(" did: "));
                tasks.map(|(_, task)| task.to_owned()).collect::<BTreeSet<String>>()
            };
            let written = &results("worker-0", What::Written) | &results("worker-1", What::Written);
            results("sink-0", What::Received).len() >= TASKS && written.len() >= TASKS
        })
        .await;
    let results = scenario.of("sink-0", What::Received);
    let by = |worker: &str| results.iter().filter(|text| text.starts_with(worker)).count();
    let (fast, slow) = (by("worker-0"), by("worker-1"));
    scenario.conclude(&format!(
        "{TASKS} tasks, {} results: {fast} from worker-0 (fast) and {slow} from worker-1 (slow).",
        results.len()
    ));
    scenario.conclude(match (scenario.handle.entry.particular, slow < fast) {
        (Particular::Sharing(Sharing::OnDemand), true) => {
            "Each task goes to the worker that asks next, so the slow worker got fewer tasks."
        }
        (Particular::Sharing(Sharing::OnDemand), false) => {
            "Each task goes to the worker that asks next. Here the slow worker got as many; on a machine that \
             is less busy it gets fewer."
        }
        (Particular::Sharing(Sharing::Random), _) => "Tasks are assigned at random.",
        _ => "Tasks go to the workers in turn, even if a worker does not keep up.",
    });
    if scenario.handle.entry.guarantee == Guarantee::AtMostOnce {
        scenario.conclude("Nothing is acknowledged: a worker that dies loses its tasks.");
    }
    let home = |scenario: &Scenario<'_>| {
        ["worker-0", "worker-1"]
            .iter()
            .filter(|role| scenario.gone(role) || !scenario.of(role, What::Ended).is_empty())
            .count()
    };
    let written = |scenario: &Scenario<'_>| !scenario.of("sink-0", What::Written).is_empty();
    // A subscription to the control channel may not be confirmed.
    scenario.direct("sink-0", "sends `stop`, and repeats it until both workers have received it");
    for _ in 0..20 {
        scenario.say_quietly(sink, "stop", None);
        scenario
            .wait_for(Duration::from_millis(500), |scenario| home(scenario) == 2 && written(scenario))
            .await;
        if home(scenario) == 2 {
            break;
        }
    }
    scenario.conclude(&format!(
        "The sink sent `stop` over the control channel, and {} of 2 workers ended.",
        home(scenario)
    ));
    Ok(())
}
