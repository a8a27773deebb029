//! Publish/subscribe: a filter, and a subscriber that joins late.

use std::time::Duration;

use anyhow::Result;
use labs::catalog::Particular;
use labs::lab::Join;
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
        probe(scenario, publisher, "hello?", &["subscriber-0"], "news.weather").await;
        probe(scenario, publisher, "hello?", &["subscriber-1"], "news.sport").await;
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
        probe(scenario, publisher, "hello again?", &["subscriber-2"], "news.weather").await;
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
    if scenario.count("subscriber-2", What::Received, "rain") == 0 {
        scenario.conclude(
            "A subscriber cannot get events published before it joined, because they were not stored.",
        );
    }
    let calls = scenario.count("publisher-0", What::Written, "hello?");
    if calls > 2 {
        scenario.conclude(&format!(
            "Nothing confirms a subscription here: the publisher sent {calls} probes until both subscribers \
             had received one."
        ));
    }
    Ok(())
}

/// Publishes until these subscribers have received it.
async fn probe(scenario: &mut Scenario<'_>, publisher: usize, text: &str, listeners: &[&str], topic: &str) {
    for _ in 0..100 {
        scenario.say_quietly(publisher, text, Some(topic));
        let before = scenario.of("publisher-0", What::Written).len();
        scenario
            .wait_for(Duration::from_millis(50), |scenario| {
                scenario.of("publisher-0", What::Written).len() > before
                    && listeners.iter().all(|role| scenario.count(role, What::Received, text) > 0)
            })
            .await;
        if listeners.iter().all(|role| scenario.count(role, What::Received, text) > 0) {
            return;
        }
    }
}
