//! A message that no consumer can handle.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use super::shared::{SOON, keeps_nothing, one_process};
use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Burst, Kind, RoleCommand, What, Work};

/// Messages before the one that cannot be handled, and as many behind it.
const MESSAGES: u32 = 5;
const POISON: &str = "poison";
/// Attempts after which a message is a dead letter: the default of the knob.
const ATTEMPTS: u32 = 5;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "poison-message",
    title: "A poison message: its handling fails every time",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "One message of eleven cannot be handled, and its consumer gives it back each time. How often is it \
               delivered, and what happens to the messages behind it?",
    lesson: [
        "A message that cannot be handled, and that always goes back to its queue, comes again for ever and takes \
         time from all others.",
        "Count the attempts, and after a few of them put the message where somebody can look at it: a dead letter \
         channel, with the number of attempts and the reason.",
        "Watch that channel, repair what is wrong, and return its messages to the queue.",
    ],
    why_not: |entry| one_process(entry).or_else(|| keeps_nothing(entry)),
    play: |experiment| play(experiment).boxed_local(),
};

async fn play(experiment: &mut Experiment) -> Result<()> {
    let mut run = experiment.part("one message of eleven cannot be handled", &SOON).await?;
    let producer = run.join(Kind::Producer, 0).await?;
    let consumer = run.join(Kind::Consumer, 0).await?;
    run.work(consumer, Work { refuse: Some(POISON.into()), ..Work::default() });
    let burst = |first| Burst { prefix: "m-".into(), first, count: MESSAGES, ..Burst::default() };
    run.burst(producer, burst(0));
    run.tell(producer, RoleCommand::Say { text: POISON.into(), topic: None });
    run.burst(producer, burst(MESSAGES));
    let all = 2 * MESSAGES as usize;
    let done = |log: &Log| log.different("consumer-0", What::Effect, "m-");
    let failed = |log: &Log| log.count_of("consumer-0", What::Nacked, POISON);
    run.until(PATIENCE, |log| done(log) == all && failed(log) >= ATTEMPTS as usize).await;
    // It may not come again: a message of its own, which comes behind it, says so.
    run.until_quiet(Duration::from_millis(700), failed).await;
    run.tell(producer, RoleCommand::Say { text: "last".into(), topic: None });
    run.until(PATIENCE, |log| log.count_of("consumer-0", What::Effect, "last") > 0).await;
    let mut dead = run.dead_letters().await?;
    for _ in 0..20 {
        // A broker may take a moment to move it.
        if !dead.is_empty() {
            break;
        }
        run.listen(Duration::from_millis(100)).await;
        dead = run.dead_letters().await?;
    }
    for letter in &dead {
        let text = format!(
            "{} after {} attempts: {}",
            String::from_utf8_lossy(&letter.body),
            letter.attempts,
            letter.reason
        );
        run.note("dead letters", "has", &text);
    }
    let log = run.end().await?;
    let attempts: Vec<u32> = log
        .of("consumer-0", What::Received)
        .filter(|received| received.text == POISON)
        .map(|received| received.attempt)
        .collect();
    let of_it: Vec<_> = dead.iter().filter(|letter| letter.body == POISON).collect();
    let expected: Vec<u32> = (1..=ATTEMPTS).collect();
    experiment.holds_if(
        !attempts.is_empty(),
        "it is delivered five times, and each delivery says which attempt it is",
        format!("attempts {attempts:?}"),
        attempts == expected,
    );
    experiment.holds_if(
        !attempts.is_empty(),
        "then it is in the dead letter channel, once, with its count and a reason",
        match of_it.as_slice() {
            [] => "it is not there".to_owned(),
            [one] => format!("once, after {} attempts: {}", one.attempts, one.reason),
            several => format!("{} times", several.len()),
        },
        matches!(of_it.as_slice(), [one] if one.attempts == ATTEMPTS && !one.reason.is_empty()),
    );
    experiment.holds(
        "all other messages are handled, and none of them is a dead letter",
        format!("{} of {all}; {} dead letters in all", done(&log), dead.len()),
        done(&log) == all && dead.len() == of_it.len(),
    );
    Ok(())
}
