//! The broker dies in the middle of a batch: confirmations say what it still has.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;
use labs::lab::Guarantee;

use super::shared::{keeps_nothing, one_process};
use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Burst, Kind, What, Work};

const MESSAGES: u32 = 300;
/// Confirmations after which the broker dies.
const CONFIRMED: usize = 100;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "publisher-confirms",
    title: "Publisher confirms: what the broker has confirmed is not lost",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "The broker dies while a producer has many messages on their way. Which of them are lost, and how \
               does the producer know?",
    lesson: [
        "A message is safe when the other side has confirmed it, and not when it was sent.",
        "What was sent and not confirmed when the connection broke may be there or not: nobody knows, so it is \
         sent again, and may come twice.",
        "Without confirmations the producer never learns what was lost.",
    ],
    why_not: |entry| one_process(entry).or_else(|| keeps_nothing(entry)),
    play: |experiment| play(experiment).boxed_local(),
};

async fn play(experiment: &mut Experiment) -> Result<()> {
    let entry = experiment.handle.entry.clone();
    // Only a durable broker has anything left after it was killed.
    let kill = entry.broker.is_some() && entry.guarantee == Guarantee::Durable;
    if kill {
        experiment.own_broker()?;
    }
    let title =
        if kill { "the broker is killed in mid-batch" } else { "every connection is cut in mid-batch" };
    let mut run = experiment.part(title, &[]).await?;
    run.through_proxy()?;
    let producer = run.join(Kind::Producer, 0).await?;
    // Peer to peer, nothing is confirmed before somebody takes it.
    if !kill {
        let consumer = run.join(Kind::Consumer, 0).await?;
        run.work(consumer, Work::default());
    }
    let all = MESSAGES as usize;
    run.burst(
        producer,
        Burst { prefix: "m-".into(), count: MESSAGES, every_us: 1_000, in_flight: 50, ..Burst::default() },
    );
    run.until(PATIENCE, |log| log.count("producer-0", What::Confirmed) >= CONFIRMED).await;
    if kill {
        run.kill_broker()?;
        run.listen(Duration::from_millis(300)).await;
    } else {
        run.cut();
    }
    let sent_before = run.log.count("producer-0", What::Sent);
    let confirmed_before = run.log.count("producer-0", What::Confirmed);
    if kill {
        run.restart_broker().await?;
    }
    let answered =
        |log: &Log| log.count("producer-0", What::Confirmed) + log.count("producer-0", What::Failed);
    run.until(PATIENCE, |log| answered(log) == all).await;
    if kill {
        let consumer = run.join(Kind::Consumer, 0).await?;
        run.work(consumer, Work::default());
    }
    let got = |log: &Log| log.different("consumer-0", What::Received, "m-");
    run.until(PATIENCE, |log| got(log) == all).await;
    run.until_quiet(Duration::from_millis(500), got).await;
    let log = run.end().await?;
    let confirmed = log.times("producer-0", What::Confirmed);
    let received = log.times("consumer-0", What::Received);
    let lost: Vec<&str> = confirmed.keys().filter(|text| !received.contains_key(*text)).copied().collect();
    let sent = log.times("producer-0", What::Sent);
    let unconfirmed: Vec<&&str> = sent.keys().filter(|text| !confirmed.contains_key(*text)).collect();
    let there = unconfirmed.iter().filter(|text| received.contains_key(**text)).count();
    let twice = log.count_of("consumer-0", What::Received, "m-") - got(&log);
    let in_flight = sent_before.saturating_sub(confirmed_before);
    experiment.fact("sent and not confirmed when it broke", in_flight.to_string());
    experiment.fact("received twice", twice.to_string());
    experiment.holds_if(
        !lost.is_empty() || in_flight > 0 && confirmed.len() >= CONFIRMED,
        "nothing that was confirmed is lost",
        format!("{} confirmed, {} of them lost", confirmed.len(), lost.len()),
        lost.is_empty(),
    );
    experiment.holds_if(
        in_flight > 0,
        "everything else is accounted for: confirmed after it was sent again, or reported as failed",
        format!(
            "{} sent; {} never confirmed, of which {there} were received; {} reported as failed",
            sent.len(),
            unconfirmed.len(),
            log.count("producer-0", What::Failed)
        ),
        answered(&log) == sent.len(),
    );
    Ok(())
}
