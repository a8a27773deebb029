//! Another program publishes what no lab wrote.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use crate::failure::experiment::Experiment;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::failure::stranger;
use crate::roles::protocol::{Burst, Kind, What};

const MESSAGES: u32 = 5;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "foreign-message",
    title: "A foreign message must not stop those who cannot read it",
    pattern: Pattern::PubSub,
    usual: "redis",
    question: "Another program publishes a message that no subscriber understands, between messages that all of \
               them do. What do the subscribers get after it?",
    lesson: [
        "Anybody who can reach a topic can publish there, and one day somebody publishes what nobody expects.",
        "A receiver that ends, or that never acknowledges what it cannot read, blocks everything behind it: one \
         message stops a service.",
        "Skip it, count it, show the count, and settle it where it would come again.",
    ],
    why_not: |entry| {
        (!stranger::TRANSPORTS.contains(&entry.transport))
            .then_some("no other program is at hand that speaks its protocol")
    },
    play: |experiment| play(experiment).boxed_local(),
};

async fn play(experiment: &mut Experiment) -> Result<()> {
    let mut run = experiment.part("five messages, a foreign one, five more", &[]).await?;
    let publisher = run.join(Kind::Publisher, 0).await?;
    for index in 0..2 {
        run.subscribe(index, publisher).await?;
    }
    let all = MESSAGES as usize;
    let burst = |prefix: &str| Burst { prefix: prefix.to_owned(), count: MESSAGES, ..Burst::default() };
    let got = |begin: &'static str| {
        move |log: &crate::failure::log::Log| {
            (0..2).all(|index| log.different(&format!("subscriber-{index}"), What::Received, begin) == all)
        }
    };
    run.burst(publisher, burst("before-"));
    let before = run.until(PATIENCE, got("before-")).await;
    let sent = run.strangers(publisher).await?;
    // Where it is skipped somebody says so, soon.
    run.until(Duration::from_secs(2), |log| log.0.iter().any(|happened| happened.what == What::Incident))
        .await;
    run.burst(publisher, burst("after-"));
    run.until(PATIENCE, got("after-")).await;
    let log = run.end().await?;
    let after: usize =
        (0..2).map(|index| log.different(&format!("subscriber-{index}"), What::Received, "after-")).sum();
    let incidents: Vec<&str> = log
        .0
        .iter()
        .filter(|happened| happened.what == What::Incident)
        .map(|happened| happened.text.as_str())
        .collect();
    let foreign = log.count_of("subscriber", What::Received, stranger::BODY);
    experiment.holds_if(
        before && sent > 0,
        "everything behind the foreign message arrives",
        format!("{after} of {} deliveries", 2 * all),
        after == 2 * all,
    );
    experiment.holds_if(
        before && sent > 0,
        "nobody takes the foreign message for one of ours",
        format!("{foreign} of {sent}"),
        foreign == 0,
    );
    experiment.holds_if(
        before && sent > 0,
        "it is counted, and shown",
        incidents.last().map_or("nobody said anything".to_owned(), |last| (*last).to_owned()),
        !incidents.is_empty(),
    );
    Ok(())
}
