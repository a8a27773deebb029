//! `lab break run`: every scenario holds over the labs that it is about, and does not hold over one
//! that is broken in just that.

mod mutants;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use harness::broker;
use harness::failure::{self, ALL, Scenario, Sources};
use harness::results::{Outcome, ScenarioRun};
use harness::roles::{Handle, handles};
use labs::catalog::Particular;
use labs::lab::{Broker, Overload};
use labs::pipeline::Sharing;
use libtest_mimic::Trial;

use crate::needs::{needs, proof};
use crate::program::run;
use crate::trial;

pub(crate) use mutants::handles as broken_handles;

/// Every scenario is tried over so many transports beside its usual one.
const FURTHER: usize = 2;
/// Which ones: the first of these that can show it. A RabbitMQ of its own takes a test 15 seconds.
const PREFERRED: [&str; 7] = ["tcp", "redis-stream", "nats", "zeromq", "redis", "rabbitmq", "mqtt"];

/// For each scenario a lab that is broken in what it teaches, and the claim that must not hold.
const MUTANTS: [(&str, &str, &str); 20] = [
    ("late-subscriber", "pubsub-tcp-misses-first", "loses nothing"),
    ("slow-subscriber", "pubsub-tcp-says-stores", "it stores"),
    ("durable-queue", "queue-redis-loses", "everything confirmed is delivered"),
    ("ack-too-early", "queue-tcp-acks-early", "it comes again to another consumer"),
    ("ack-too-early", "queue-tcp-unmarked", "is marked"),
    ("effects-once", "queue-redis-forgetful", "every message is done once"),
    ("orphaned-work", "queue-tcp-never-again", "everything is done"),
    ("orphaned-work", "queue-tcp-unmarked", "marked as redelivered"),
    ("unfair-dispatch", "queue-zeromq-greedy", "1.5 times as long"),
    ("competing-consumers", "queue-tcp-swaps", "are done in order"),
    ("head-of-line", "queue-redis-one-lock", "it does not"),
    ("poison-message", "queue-redis-never-dead", "delivered five times"),
    ("poison-message", "queue-tcp-unmarked", "which attempt it is"),
    ("publisher-confirms", "queue-redis-confirms-early", "nothing that was confirmed is lost"),
    ("late-reply", "reqrep-tcp-shared-id", "the reply to another"),
    ("ventilator-first", "pipeline-zeromq-says-on-demand", "the second one gets its share"),
    ("back-pressure", "queue-tcp-loses", "every message arrives"),
    ("coordinated-omission", "pubsub-redis-coordinated", "the open loop shows the pause"),
    ("foreign-message", "pubsub-tcp-ends-at-foreign", "everything behind"),
    ("reconnect-storm", "queue-redis-confirms-early", "every client comes back"),
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("scenarios::every_one_has_a_mutant_and_a_name_of_its_own", complete),
        trial("scenarios::what_cannot_be_shown_is_refused", refused),
        trial("scenarios::are_listed", listed),
        trial("scenarios::explain_every_fault", explained),
        trial("scenarios::have_a_page_each", pages),
    ];
    let labs = handles();
    let entries: Vec<_> = labs.iter().map(|handle| handle.entry.clone()).collect();
    for scenario in &ALL {
        let can = scenario.transports(&entries);
        let others = PREFERRED.into_iter().filter(|name| *name != scenario.usual);
        let further = others.filter(|name| can.iter().any(|can| can == name)).take(FURTHER);
        let over: Vec<String> = std::iter::once(scenario.usual).chain(further).map(str::to_owned).collect();
        for transport in &over {
            let broker = entries
                .iter()
                .find(|entry| entry.pattern == scenario.pattern && scenario.transport_of(entry) == *transport)
                .and_then(|entry| entry.broker);
            let name = format!("scenarios::{}::{transport}", scenario.name);
            let transport_of = transport.clone();
            let holds = move || holds(scenario, &transport_of);
            let trial = match broker {
                Some(broker) => needs(broker, &name, holds),
                None => trial(&name, holds),
            };
            // The usual one every time, the others with `./run prove`.
            trials.push(if transport == scenario.usual { trial } else { proof(trial) });
        }
    }
    for (scenario, mutant, claim) in MUTANTS {
        let name = format!("broken::{scenario}::{mutant}");
        let noticed = move || noticed(scenario, mutant, claim);
        let trial = if mutant.contains("redis") {
            needs(Broker::Redis, &name, noticed)
        } else {
            trial(&name, noticed)
        };
        // A latency that is withheld because the machine is busy shows nothing.
        trials.push(if scenario == "coordinated-omission" { proof(trial) } else { trial });
    }
    trials
}

/// Each scenario has a mutant, three transports, three sentences and no name of a lab.
fn complete() -> Result<()> {
    let entries: Vec<_> = handles().into_iter().map(|handle| handle.entry).collect();
    let with_mutant: BTreeSet<&str> = MUTANTS.iter().map(|(scenario, ..)| *scenario).collect();
    for scenario in &ALL {
        ensure!(with_mutant.contains(scenario.name), "{} has no mutant", scenario.name);
        let over = scenario.transports(&entries);
        ensure!(over.len() > FURTHER, "{} runs over {over:?} alone", scenario.name);
        ensure!(over.iter().any(|name| name == scenario.usual), "{} is not among {over:?}", scenario.usual);
        ensure!(entries.iter().all(|entry| entry.name != scenario.name), "{} is a lab", scenario.name);
        ensure!(scenario.lesson.iter().all(|sentence| sentence.ends_with('.')), "{}", scenario.name);
        ensure!(scenario.question.ends_with('?'), "{} asks nothing", scenario.name);
    }
    Ok(())
}

/// It holds; a busy machine may have to try again where nobody could tell.
fn holds(scenario: &Scenario, transport: &str) -> Result<()> {
    let mut last = None;
    for _ in 0..3 {
        let ran = run(&["break", "run", scenario.name, "--over", transport, "--json"])?;
        let found: ScenarioRun =
            serde_json::from_str(&ran.out).with_context(|| format!("no account:\n{}{}", ran.out, ran.err))?;
        match found.outcome {
            Outcome::Holds => {
                ensure!(ran.code == 0, "exit code {}", ran.code);
                ensure!(
                    !found.checks.is_empty() && found.lab.starts_with(scenario.pattern.as_str()),
                    "{found:?}"
                );
                return Ok(());
            }
            Outcome::CannotTell => {
                ensure!(ran.code == 3, "exit code {}", ran.code);
                last = Some(found.checks);
            }
            Outcome::DoesNotHold => {
                ensure!(ran.code == 1, "exit code {}", ran.code);
                anyhow::bail!("{} over {transport} does not hold: {:#?}", scenario.name, found.checks);
            }
        }
    }
    anyhow::bail!("three times nobody could tell: {last:#?}")
}

/// A mutant: a broken lab, or one that says of itself what it does not do.
fn mutant(name: &str) -> Result<Handle> {
    let all = || crate::conformance::handles().into_iter();
    let of =
        |name: &str| all().find(|handle| handle.entry.name == name).with_context(|| format!("no lab {name}"));
    Ok(match name {
        "pubsub-tcp-says-stores" => {
            let mut handle = of("pubsub-tcp")?;
            handle.entry.overload = Overload::Stores;
            handle
        }
        "pipeline-zeromq-says-on-demand" => {
            let mut handle = of("pipeline-zeromq")?;
            handle.entry.particular = Particular::Sharing(Sharing::OnDemand);
            handle
        }
        name => of(name)?,
    })
}

/// The scenario does not hold over the mutant, and says which claim.
fn noticed(scenario: &str, name: &str, claim: &str) -> Result<()> {
    let scenario = ALL.iter().find(|known| known.name == scenario).context("no such scenario")?;
    let handle = mutant(name)?;
    let sources = match handle.entry.broker {
        Some(broker) => [(broker, broker::find(broker, &BTreeMap::new())?)].into(),
        None => Sources::new(),
    };
    let play = || {
        let (sources, tell) = (sources.clone(), Box::new(|_: &str| {}));
        let playing = failure::run(scenario, &handle, BTreeMap::new(), sources, String::new(), tell);
        harness::roles::runtime(0)?.block_on(playing)
    };
    // A busy machine may have to try again where nobody could tell.
    let mut found = play()?;
    for _ in 0..2 {
        if found.outcome == Outcome::CannotTell {
            found = play()?;
        }
    }
    ensure!(found.outcome == Outcome::DoesNotHold, "{name} was not noticed: {:#?}", found.checks);
    let wrong: Vec<&str> = found
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::DoesNotHold)
        .map(|check| check.claim.as_str())
        .collect();
    ensure!(wrong.iter().any(|wrong| wrong.contains(claim)), "`{claim}` is not among {wrong:?}");
    Ok(())
}

fn refused() -> Result<()> {
    for (words, told) in [
        (&["late-subscribr"][..], &["`late-subscribr`", "did you mean `late-subscriber`"][..]),
        (&["late-subscriber", "--over", "http"], &["`http`", "redis", "zeromq"]),
        (&["slow-subscriber", "--over", "inproc"], &["`inproc`", "threads", "websocket"]),
        (&["coordinated-omission", "--over", "tcp"], &["it pauses the broker", "nats"]),
        (&["durable-queue", "--over", "mqtt"], &["`mqtt`", "rabbitmq"]),
        (&["late-subscriber", "--set", "colour=1"], &["`colour`"]),
        (&["durable-queue", "--times", "0"], &["0"]),
        (&[], &["SCENARIO"]),
    ] {
        let ran = run(&[&["break", "run"], words].concat())?.expect(2)?;
        ran.told(told).with_context(|| format!("{words:?}"))?;
    }
    run(&["break", "run", "durable-queue", "--url", "redis=redis://127.0.0.1:1"])?
        .expect(1)?
        .told(&["leave out --url"])
}

fn listed() -> Result<()> {
    let text = run(&["break", "list"])?.expect(0)?.out;
    let json: serde_json::Value = serde_json::from_str(&run(&["break", "list", "--json"])?.expect(0)?.out)?;
    for scenario in &ALL {
        ensure!(
            text.contains(scenario.name) && text.contains(scenario.title),
            "{} is missing",
            scenario.name
        );
    }
    let count = json["scenarios"].as_array().map_or(0, Vec::len);
    ensure!(count == ALL.len(), "{count} scenarios in JSON");
    ensure!(json["faults"].as_array().is_some_and(|faults| faults.len() == 20), "{json}");
    Ok(())
}

/// Every cell that a scorecard has to explain leads to a scenario that there is.
fn explained() -> Result<()> {
    use harness::fault;
    use harness::report::scorecard::explains;
    for fault in fault::ALL {
        for pattern in labs::catalog::Pattern::ALL {
            let name = explains(&fault.to_string(), pattern.as_str());
            let name = name.with_context(|| format!("nothing explains {fault} of {pattern}"))?;
            ensure!(ALL.iter().any(|scenario| scenario.name == name), "there is no scenario {name}");
        }
    }
    ensure!(explains("earthquake", "queue").is_none());
    Ok(())
}

/// Each scenario has a page with its title, its question and its picture.
fn pages() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let index = std::fs::read_to_string(docs.join("failures.md"))?;
    for scenario in &ALL {
        let path = docs.join(scenario.page());
        let page = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(page.starts_with(&format!("# {}\n", scenario.title)), "{} has another title", path.display());
        ensure!(page.contains(scenario.question), "{} has another question", path.display());
        let picture = format!("{}-{}-{}.svg", scenario.name, scenario.pattern, scenario.usual);
        ensure!(page.contains(&picture), "{} does not show {picture}", path.display());
        ensure!(index.contains(&scenario.page()), "docs/failures.md does not link {}", scenario.page());
    }
    Ok(())
}
