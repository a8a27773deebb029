//! All connections are lost at once, and everybody comes back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;
use labs::lab::Recovery;

use super::shared::{keeps_nothing, one_process};
use crate::failure::experiment::{Experiment, ms};
use crate::failure::scenario::Scenario;
use crate::fault::campaign::{self, Brokers, Job};
use crate::fault::{Fault, Injection, What, Who};
use crate::replay::of_fault_run;
use crate::results::{EventKind, Outcome, ScenarioEvent, ScenarioPart, Series, Verdict};

/// Consumers, each in a process of its own.
const CLIENTS: usize = 16;
const RATE: f64 = 500.0;
/// When every connection is cut, and how long new ones are refused, seconds.
const AT_S: f64 = 1.0;
const FOR_S: f64 = 1.0;
const SECONDS: f64 = 6.0;
/// The first of them and the last, ns: less than that is one moment.
const SPREAD: u64 = 20_000_000;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "reconnect-storm",
    title: "A reconnect storm: every client lost its connection in the same moment",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "Sixteen consumers and a producer lose their connections at once, and none can connect for one \
               second. When does the last of them come back, and do they all come in the same moment?",
    lesson: [
        "When a broker comes back, all its clients come back with it, and if they all try in the same moment, \
         again and again, they can take it down once more.",
        "Wait longer after each failed attempt (exponential back-off), and add chance to each wait (jitter), so \
         that clients spread out.",
        "What was confirmed is not lost meanwhile; what was not confirmed is sent again.",
    ],
    why_not: |entry| {
        one_process(entry)
            .or_else(|| keeps_nothing(entry))
            .or_else(|| (entry.recovery == Recovery::Nobody).then_some("nobody opens its connections again"))
    },
    play: |experiment| play(experiment).boxed_local(),
};

async fn play(experiment: &mut Experiment) -> Result<()> {
    experiment.tell(&format!(
        "\n  {CLIENTS} consumers; every connection is cut after {AT_S} s, and refused for {FOR_S} s …"
    ));
    let fault = Fault { who: Who::Link, what: What::Refuse };
    let job = Job {
        handle: experiment.handle.clone(),
        knobs: experiment.knobs.clone(),
        injections: vec![Injection { for_s: FOR_S, ..Injection::new(fault, AT_S) }],
        seed: 1,
        rate: RATE,
        size: 64,
        senders: 1,
        receivers: CLIENTS,
        seconds: SECONDS,
        drain: 8.0,
        command: String::new(),
    };
    let mut brokers = Brokers::new(experiment.sources().clone(), Vec::new());
    let mut lines = Vec::new();
    let made = campaign::make(&job, &mut brokers, &mut |line| lines.push(line.to_owned())).await;
    let version = brokers.version();
    brokers.close().await?;
    let found = made?;
    experiment.is_over(version);
    for line in lines.iter().take(12) {
        experiment.tell(&format!("  {line}"));
    }
    if lines.len() > 12 {
        experiment.tell(&format!("  … and {} more", lines.len() - 12));
    }
    let mut replay = of_fault_run(&found, &experiment.handle.entry);
    replay.head.command.clone_from(&experiment.purpose.command);
    experiment.replays.push(replay);
    let healed = found.faults.iter().map(|fault| fault.healed_ns).max().unwrap_or(0);
    // The first connection after the end of the fault, of each client.
    let mut back: BTreeMap<&str, u64> = BTreeMap::new();
    let mut lost: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &found.events {
        match event.what {
            EventKind::Reconnected => drop(back.entry(&event.who).or_insert(event.at)),
            EventKind::Noticed => drop(lost.entry(&event.who).or_insert(event.at)),
            _ => {}
        }
    }
    let ended = found.events.iter().filter(|event| event.what == EventKind::Failed);
    let failed: BTreeSet<&str> = ended.map(|event| event.who.as_str()).collect();
    let clients = CLIENTS + 1;
    let times: Vec<u64> = back.values().map(|at| at.saturating_sub(healed)).collect();
    let (first, last) = (times.iter().min().copied().unwrap_or(0), times.iter().max().copied().unwrap_or(0));
    let mut slots: Vec<u64> = times.iter().map(|at| at / 10_000_000).collect();
    slots.sort_unstable();
    let most = slots.chunk_by(|a, b| a == b).map(<[u64]>::len).max().unwrap_or(0);
    experiment.fact("connections lost", format!("{} of {clients} clients noticed", lost.len()));
    experiment.fact("without service", found.times.without_service_ns.map_or("unknown".into(), ms));
    experiment.fact(
        "first and last client back after the broker took connections again",
        format!("{} and {}", ms(first), ms(last)),
    );
    experiment.fact("most clients within 10 ms", most.to_string());
    experiment.fact("connections opened again", found.counts.reconnects.to_string());
    let hit = lost.len() >= CLIENTS / 2;
    let all_back = lost.keys().all(|who| back.contains_key(who));
    experiment.check(
        "every client comes back by itself",
        format!("{} of {}; {} ended with an error", back.len(), lost.len(), failed.len()),
        match () {
            () if !failed.is_empty() => Outcome::DoesNotHold,
            () if hit && all_back => Outcome::Holds,
            // A busy machine was too slow, or the cut hit too few.
            () => Outcome::CannotTell,
        },
    );
    let spread = last.saturating_sub(first);
    experiment.holds_if(
        hit && times.len() > 1,
        "they do not come back in the same moment: at least 20 ms lie between the first and the last",
        format!("{} clients over {}", times.len(), ms(spread)),
        spread >= SPREAD,
    );
    experiment.check(
        "nothing that was confirmed is lost",
        format!(
            "{} confirmed, {} of them lost: {}",
            found.counts.confirmed,
            found.counts.confirmed_lost.total(),
            found.why
        ),
        match found.verdict {
            Verdict::Kept => Outcome::Holds,
            Verdict::Broke => Outcome::DoesNotHold,
            _ => Outcome::CannotTell,
        },
    );
    let events = found.events.iter().map(|event| ScenarioEvent {
        at: event.at,
        who: event.who.clone(),
        what: format!("{:?}", event.what).to_lowercase(),
        text: event.detail.clone(),
        attempt: None,
    });
    let points = |count: fn(&crate::results::FaultInterval) -> u64| {
        let step = crate::results::FAULT_INTERVAL_NS as f64 / 1e9;
        found
            .series
            .iter()
            .enumerate()
            .map(|(at, interval)| (at as f64 * step, count(interval) as f64))
            .collect()
    };
    experiment.parts.push(ScenarioPart {
        name: "every connection is cut, and refused for a second".into(),
        events: events.take(crate::results::MOST_EVENTS).collect(),
        left_out: 0,
        series: vec![Series {
            name: "received".into(),
            unit: "messages in 50 ms".into(),
            points: points(|interval| interval.received),
        }],
    });
    Ok(())
}
