//! Duplicates and replays reach a consumer: with and without a memory.

use std::path::Path;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use super::shared::{SOON, keeps_nothing, one_process};
use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::process::guard;
use crate::roles::protocol::{AckWhen, Burst, Kind, What, Work};

const MESSAGES: u32 = 5;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "effects-once",
    title: "Delivered at least once, done once: an idempotent receiver",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "A consumer does its work on a message, and is killed before it acknowledges; then the producer \
               sends everything again, twice. How often is each of the five messages done?",
    lesson: [
        "At-least-once delivery repeats messages, and so does a producer that sends again what it is unsure of.",
        "An idempotent receiver keeps the identifiers of what it has done, in the same place and the same step \
         as the effect, and acknowledges what it knows without doing it again.",
        "Its memory is bounded, so it has to be larger than the time, or the number of messages, after which \
         anything can still come again.",
    ],
    why_not: |entry| one_process(entry).or_else(|| keeps_nothing(entry)),
    play: |experiment| play(experiment).boxed_local(),
};

/// Every message is sent twice, and the first consumer is killed with work that it has done and not
/// acknowledged.
async fn twice(experiment: &mut Experiment, title: &str, once: Option<&Path>) -> Result<Log> {
    let mut run = experiment.part(title, &SOON).await?;
    let producer = run.join(Kind::Producer, 0).await?;
    let orders = || Burst { prefix: "order-".into(), count: MESSAGES, ..Burst::default() };
    run.burst(producer, orders());
    let first = run.join(Kind::Consumer, 0).await?;
    let work = |ack| Work { ack, once: once.map(Path::to_owned), ..Work::default() };
    run.work(first, work(AckWhen::Never));
    run.until(PATIENCE, |log| log.count("consumer-0", What::Effect) > 0).await;
    run.kill(first).await?;
    let second = run.join(Kind::Consumer, 1).await?;
    run.work(second, work(AckWhen::After));
    let all = MESSAGES as usize;
    let settled = |log: &Log, least: usize| log.count_of("consumer-1", What::Acked, "order-") >= least;
    run.until(PATIENCE, |log| settled(log, all)).await;
    // A replay by the producer.
    run.burst(producer, orders());
    run.until(PATIENCE, |log| settled(log, 2 * all)).await;
    run.leave(second).await?;
    // The memory outlives its process: a restart, and a second replay.
    let third = run.join(Kind::Consumer, 2).await?;
    run.work(third, work(AckWhen::After));
    run.burst(producer, orders());
    run.until(PATIENCE, |log| log.count_of("consumer-2", What::Acked, "order-") >= all).await;
    run.end().await
}

/// The most and the fewest effects of a message.
fn effects(log: &Log) -> (usize, usize) {
    let of = |number: u32| {
        let text = format!("order-{number:04}");
        log.of("consumer", What::Effect).filter(|happened| happened.text == text).count()
    };
    let counts: Vec<usize> = (0..MESSAGES).map(of).collect();
    (counts.iter().copied().max().unwrap_or(0), counts.iter().copied().min().unwrap_or(0))
}

async fn play(experiment: &mut Experiment) -> Result<()> {
    let dir = tempfile::tempdir_in(guard::session_dir())?;
    let log = twice(experiment, "a consumer without a memory", None).await?;
    let (most, fewest) = effects(&log);
    experiment.holds_if(
        most > 1,
        "without a memory, a message that comes again is done again",
        format!("each was done {fewest} to {most} times"),
        true,
    );
    let repeated = most > 1;
    let log = twice(experiment, "the same with a memory", Some(&dir.path().join("done"))).await?;
    let (most, fewest) = effects(&log);
    experiment.holds_if(
        repeated,
        "with a memory, every message is done once: under duplicates, replays and restarts",
        format!(
            "each was done {}; {} deliveries were known",
            if most == 1 && fewest == 1 { "once".to_owned() } else { format!("{fewest} to {most} times") },
            log.count("consumer", What::Again)
        ),
        most == 1 && fewest == 1,
    );
    Ok(())
}
