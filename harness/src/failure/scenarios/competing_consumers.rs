//! Two consumers of one queue lose the order of messages; a queue for each key keeps it.

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Burst, Kind, What, Work};

const MESSAGES: u32 = 42;
/// Not a multiple of the number of consumers: where they are served in turn, each of two keys would
/// always meet the same one.
const KEYS: [&str; 3] = ["a", "b", "c"];
/// Work of the slow consumer and of the quick one on each message, ms: so far apart that the quick
/// one is three messages ahead also where a delivery takes 40 ms.
const SLOW_MS: u64 = 100;
const QUICK_MS: u64 = 5;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "competing-consumers",
    title: "Competing consumers lose the order of messages",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "Forty-two messages of three accounts go into a queue in order, and two consumers, a fast one and a \
               slow one, take them. Are the messages of one account done in their order?",
    lesson: [
        "A queue delivers in order, but two consumers do not finish in order: the order of work is lost as soon \
         as there is more than one worker.",
        "Order is only needed within a key, such as one account, so divide the messages by key and give each \
         part one consumer.",
        "Between keys there is no order, so nothing may depend on it.",
    ],
    why_not: |_| None,
    play: |experiment| play(experiment).boxed_local(),
};

fn burst(prefix: &str) -> Burst {
    Burst { prefix: prefix.to_owned(), count: MESSAGES, keys: KEYS.len() as u32, ..Burst::default() }
}

fn done(log: &Log) -> usize {
    log.different("consumer", What::Effect, "")
}

async fn play(experiment: &mut Experiment) -> Result<()> {
    let all = MESSAGES as usize;
    let slow = Work { work_ms: SLOW_MS, ..Work::default() };
    let mut run = experiment.part("one queue, two consumers", &[("play-prefetch", 1)]).await?;
    let producer = run.join(Kind::Producer, 0).await?;
    let (first, second) = (run.join(Kind::Consumer, 0).await?, run.join(Kind::Consumer, 1).await?);
    // The messages wait in the queue before anybody works, however busy the machine is.
    run.burst(producer, burst("m"));
    run.until(PATIENCE, |log| log.count("producer-0", What::Sent) == all).await;
    run.work(first, slow.clone());
    run.work(second, Work { work_ms: QUICK_MS, ..Work::default() });
    run.until(PATIENCE, |log| done(log) == all).await;
    let log = run.end().await?;
    let whole = done(&log);
    let (by_key, _) = log.out_of_order("consumer", What::Effect);
    experiment.holds_if(
        whole == all && by_key > 0,
        "with two consumers of one queue, messages of one key are done out of order",
        format!("{by_key} of {whole}"),
        true,
    );

    let mut run =
        experiment.part("a queue for each key, with one consumer each", &[("play-prefetch", 1)]).await?;
    for (index, key) in KEYS.into_iter().enumerate() {
        let producer = run.join_at(Kind::Producer, index, Some(key)).await?;
        let consumer = run.join_at(Kind::Consumer, index, Some(key)).await?;
        run.work(
            consumer,
            if index == 0 { slow.clone() } else { Work { work_ms: QUICK_MS, ..Work::default() } },
        );
        // The messages of its key.
        for number in (index as u32..MESSAGES).step_by(KEYS.len()) {
            let text = format!("m{number:04}@{key}");
            run.tell(producer, crate::roles::protocol::RoleCommand::Say { text: text.into(), topic: None });
        }
    }
    run.until(PATIENCE, |log| done(log) == all).await;
    let log = run.end().await?;
    let whole = done(&log);
    let (by_key, global) = log.out_of_order("consumer", What::Effect);
    experiment.fact("out of order between keys", global.to_string());
    experiment.holds_if(
        whole == all,
        "with a queue for each key, the messages of a key are done in order",
        format!("{by_key} of {whole} out of order; between keys {global}"),
        by_key == 0,
    );
    Ok(())
}
