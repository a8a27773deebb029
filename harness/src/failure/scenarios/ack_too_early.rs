//! A consumer is killed in the middle of its work: acknowledged before it, or after it.

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use super::shared::{SOON, keeps_nothing, one_process};
use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{AckWhen, Burst, Kind, What, Work};

const MESSAGES: u32 = 3;
/// The first job takes so long that its consumer is always killed in the middle of it.
const LONG_MS: u64 = 30_000;
const FIRST: &str = "job-0000";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ack-too-early",
    title: "Acknowledged too early, a message is lost with its consumer",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "A consumer is killed in the middle of its work on a message. What happens to the message if the \
               consumer acknowledges before the work, and what if it acknowledges afterwards?",
    lesson: [
        "An acknowledgement says: I am done, forget it.",
        "Sent before the work, it makes delivery at most once, whatever the queue promises; sent after the \
         work, the message comes again when its consumer dies, and is marked as redelivered.",
        "So acknowledge after the work, and make the work safe to repeat.",
    ],
    why_not: |entry| one_process(entry).or_else(|| keeps_nothing(entry)),
    play: |experiment| play(experiment).boxed_local(),
};

async fn killed(experiment: &mut Experiment, title: &str, ack: AckWhen) -> Result<Log> {
    let mut run = experiment.part(title, &SOON).await?;
    let producer = run.join(Kind::Producer, 0).await?;
    let first = run.join(Kind::Consumer, 0).await?;
    run.work(first, Work { slow: Some(("job".into(), LONG_MS)), ack, ..Work::default() });
    run.burst(producer, Burst { prefix: "job-".into(), count: MESSAGES, ..Burst::default() });
    let begun = if ack == AckWhen::Before { What::Acked } else { What::Received };
    run.until(PATIENCE, |log| log.count("consumer-0", begun) > 0).await;
    run.kill(first).await?;
    let second = run.join(Kind::Consumer, 1).await?;
    run.work(second, Work::default());
    let expected = MESSAGES as usize - usize::from(ack == AckWhen::Before);
    let handled = |log: &Log| log.different("consumer-1", What::Effect, "job-") >= expected;
    run.until(PATIENCE, handled).await;
    // A message of its own says that nothing more comes: it is behind everything else.
    run.burst(producer, Burst { prefix: "last-".into(), count: 1, ..Burst::default() });
    run.until(PATIENCE, |log| log.count_of("consumer-1", What::Effect, "last-") > 0).await;
    run.end().await
}

async fn play(experiment: &mut Experiment) -> Result<()> {
    let log = killed(experiment, "acknowledged before the work", AckWhen::Before).await?;
    let hit = log.times("consumer-0", What::Acked).contains_key(FIRST);
    let done = log.times("consumer", What::Effect).contains_key(FIRST);
    experiment.holds_if(
        hit,
        "acknowledged before the work, the message is lost with its consumer",
        format!("{FIRST} was acknowledged: {}; its work was done: {}", yes(hit), yes(done)),
        !done,
    );
    let log = killed(experiment, "acknowledged after the work", AckWhen::After).await?;
    let hit = log.times("consumer-0", What::Received).contains_key(FIRST);
    let again = log.of("consumer-1", What::Received).find(|happened| happened.text == FIRST);
    let (came, marked) = (again.is_some(), again.is_some_and(|again| again.attempt > 1));
    let done = log.of("consumer", What::Effect).filter(|happened| happened.text == FIRST).count();
    experiment.holds_if(
        hit,
        "acknowledged after the work, it comes again to another consumer, and is done",
        format!("{FIRST} came again: {}; its work was done: {}", yes(came), times(done)),
        came && done == 1,
    );
    experiment.holds_if(hit && came, "the second delivery is marked as redelivered", yes(marked), marked);
    Ok(())
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

const fn yes(so: bool) -> &'static str {
    if so { "yes" } else { "no" }
}
