//! Publish/subscribe: a filter, and a subscriber that joins late.

use std::time::Duration;

use anyhow::Result;
use labs::catalog::Particular;
use labs::lab::{Join, Knob};
use labs::topic::FilterKind;

use super::narrator::Scenario;
use crate::roles::protocol::{Kind, What};

pub(super) async fn run(scenario: &mut Scenario<'_>) -> Result<()> {
    let publisher = scenario.enter(Kind::Publisher, 0, None).await?;
    let only = match scenario.handle.entry.particular {
        Particular::Filters(kinds) if kinds.contains(&FilterKind::Exact) => Some("exact:news.sport"),
        Particular::Filters(kinds) if kinds.contains(&FilterKind::Prefix) => Some("prefix:news.sport"),
        _ => None,
    };
    scenario.enter(Kind::Subscriber, 0, None).await?;
    scenario.enter(Kind::Subscriber, 1, only).await?;
    if scenario.handle.entry.join == Join::Probed {
        probe(scenario, publisher, "hello?", "subscriber-0", "news.weather").await;
        probe(scenario, publisher, "hello?", "subscriber-1", "news.sport").await;
    }
    scenario.say(publisher, "rain", Some("news.weather")).await;
    scenario.say(publisher, "one nil", Some("news.sport")).await;
    scenario
        .wait(|scenario| {
            scenario.count("subscriber-0", What::Received, "one nil") > 0
                && scenario.count("subscriber-1", What::Received, "one nil") > 0
        })
        .await;
    scenario.enter(Kind::Subscriber, 2, None).await?;
    if scenario.handle.entry.join == Join::Probed {
        probe(scenario, publisher, "hello again?", "subscriber-2", "news.weather").await;
    }
    scenario.say(publisher, "sunshine", Some("news.weather")).await;
    scenario
        .wait(|scenario| {
            scenario.count("subscriber-0", What::Received, "sunshine") > 0
                && scenario.count("subscriber-2", What::Received, "sunshine") > 0
        })
        .await;
    let news = |scenario: &Scenario<'_>, role: &str| -> usize {
        ["rain", "one nil", "sunshine"].iter().map(|text| scenario.count(role, What::Received, text)).sum()
    };
    scenario.conclude(&format!(
        "Of three events, subscriber-0 received {}, subscriber-1 with its filter {}, and subscriber-2, which \
         joined late, {}.",
        news(scenario, "subscriber-0"),
        news(scenario, "subscriber-1"),
        news(scenario, "subscriber-2")
    ));
    let missed =
        ["rain", "one nil"].iter().all(|text| scenario.count("subscriber-2", What::Received, text) == 0);
    if missed {
        let why = late_joiner(scenario.handle.entry.knobs);
        scenario.conclude(&format!("subscriber-2 did not get what was published before it joined{why}"));
    }
    Ok(())
}

/// Why a late subscriber misses what was published before, or which knob changes that.
fn late_joiner(knobs: &[Knob]) -> String {
    match knobs.iter().find(|knob| ["replay", "retain"].contains(&knob.name)) {
        Some(Knob { name, default, meaning, .. }) => {
            format!(". The knob `{name}` changes this; it was {default}. Its meaning: {meaning}")
        }
        None => ": nothing stores events for a subscriber that has not joined yet.".to_owned(),
    }
}

/// Publishes until this subscriber has received it.
async fn probe(scenario: &mut Scenario<'_>, publisher: usize, text: &str, listener: &str, topic: &str) {
    let publisher_name = scenario.roles.all[publisher].name.clone();
    let why = format!(
        "repeats the probe `{text}` until {listener} has received it, because nothing confirms a \
         subscription here"
    );
    scenario.direct(&publisher_name, &why);
    let came = |scenario: &Scenario<'_>| scenario.count(listener, What::Received, text) > 0;
    for _ in 0..100 {
        scenario.say_quietly(publisher, text, Some(topic));
        let before = scenario.of("publisher-0", What::Written).len();
        scenario
            .wait_for(Duration::from_millis(50), |scenario| {
                scenario.of("publisher-0", What::Written).len() > before && came(scenario)
            })
            .await;
        if came(scenario) {
            return;
        }
    }
}
