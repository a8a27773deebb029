//! One slow message delays all messages behind it, also those of other customers.

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use crate::failure::experiment::{Experiment, ms};
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Kind, RoleCommand, What, Work};

/// Messages of the key that has nothing to do with the slow one.
const OTHERS: usize = 10;
/// The slow message, and its work, ms.
const SLOW: &str = "slow@a";
const SLOW_MS: u64 = 1_000;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "head-of-line",
    title: "Head-of-line blocking: one slow message holds up all behind it",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "One message of customer a takes a second, and behind it wait ten fast ones of customer b. How \
               long does customer b wait?",
    lesson: [
        "In one queue every message waits for all in front of it, also for those that it has nothing to do with.",
        "A mean hides it: most messages are fast, and a few slow ones delay all behind them.",
        "Give what must not wait a queue of its own: by key, by priority, or by how long it takes.",
    ],
    why_not: |_| None,
    play: |experiment| play(experiment).boxed_local(),
};

/// The median time from the begin of the slow message, behind which all others were sent, to the
/// effect of a message of the other key, ns.
fn waited(log: &Log) -> Option<u64> {
    let done = log.times("consumer", What::Effect);
    let begin = log.of("consumer", What::Received).find(|got| got.text == SLOW)?.at;
    let others = done.iter().filter(|(text, _)| text.ends_with("@b"));
    let mut waits: Vec<u64> = others.map(|(_, at)| at.saturating_sub(begin)).collect();
    waits.sort_unstable();
    (waits.len() == OTHERS).then(|| waits[waits.len() / 2])
}

async fn play(experiment: &mut Experiment) -> Result<()> {
    let mut medians = Vec::new();
    for (title, parts) in [("one queue", [None, None]), ("a queue for each customer", [Some("a"), Some("b")])]
    {
        let mut run = experiment.part(title, &[("play-prefetch", 1)]).await?;
        let apart = parts[0].is_some();
        let slow_producer = run.join_at(Kind::Producer, 0, parts[0]).await?;
        let producer = if apart { run.join_at(Kind::Producer, 1, parts[1]).await? } else { slow_producer };
        let mut consumers = vec![run.join_at(Kind::Consumer, 0, parts[0]).await?];
        if apart {
            consumers.push(run.join_at(Kind::Consumer, 1, parts[1]).await?);
        }
        for consumer in consumers {
            run.work(consumer, Work { slow: Some((SLOW.into(), SLOW_MS)), ..Work::default() });
        }
        run.tell(slow_producer, RoleCommand::Say { text: SLOW.into(), topic: None });
        run.until(PATIENCE, |log| log.times("consumer", What::Received).contains_key(SLOW)).await;
        for number in 0..OTHERS {
            run.tell(producer, RoleCommand::Say { text: format!("m{number:04}@b").into(), topic: None });
        }
        run.until(PATIENCE, |log| log.different("consumer", What::Effect, "") == OTHERS + 1).await;
        let log = run.end().await?;
        let median = waited(&log);
        experiment.fact(title, format!("customer b waited {} (median)", median.map_or("?".into(), ms)));
        medians.push(median);
    }
    let [one, apart] = medians[..] else { return Ok(()) };
    let slow = SLOW_MS * 1_000_000;
    experiment.holds_if(
        one.is_some(),
        "in one queue, customer b waits for the slow message of customer a",
        one.map_or("not everything was done".into(), ms),
        one.is_some_and(|median| median > slow / 2),
    );
    experiment.holds_if(
        one.is_some() && apart.is_some(),
        "in a queue of its own, it does not",
        apart.map_or("not everything was done".into(), ms),
        apart.is_some_and(|median| median < slow / 2),
    );
    Ok(())
}
