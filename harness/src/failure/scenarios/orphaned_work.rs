//! A consumer takes work and never comes back.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::{Entry, Pattern};

use super::shared::{SOON, keeps_nothing, one_process};
use crate::failure::experiment::{Experiment, ms};
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{AckWhen, Burst, Kind, What, Work};

const MESSAGES: u32 = 8;
/// The knobs that say how long a silent consumer keeps its work.
const LEASES: [&str; 2] = ["lease-ms", "claim-ms"];
/// What a loaded machine may add to it, ns.
const SLACK: u64 = 3_000_000_000;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "orphaned-work",
    title: "Orphaned work: a consumer takes messages and never comes back",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "A consumer has taken messages and stops for ever, while its connection stays open. (Where only \
               connections count, it is killed.) When do the others get them?",
    lesson: [
        "A queue sees a dead consumer by its connection, and a silent one only by a clock: a lease, a visibility \
         time-out, a heartbeat.",
        "The time is a compromise: too short, and slow work is done twice; too long, and orphaned work waits.",
        "Where only the connection counts, a consumer that hangs keeps its messages until somebody kills it: \
         prefetch few, and watch the age of what is not acknowledged.",
    ],
    why_not: |entry| one_process(entry).or_else(|| keeps_nothing(entry)),
    play: |experiment| play(experiment).boxed_local(),
};

fn has_lease(entry: &Entry) -> bool {
    entry.knobs.iter().any(|knob| LEASES.contains(&knob.name))
}

async fn play(experiment: &mut Experiment) -> Result<()> {
    let lease = has_lease(&experiment.handle.entry);
    let within = if lease { SOON[1].1 as u64 * 1_000_000 } else { 0 };
    let knobs: Vec<(&str, usize)> = SOON
        .into_iter()
        .map(|(name, value)| if name == "play-prefetch" { (name, 3) } else { (name, value) })
        .collect();
    let title =
        if lease { "a consumer is stopped with its work" } else { "a consumer is killed with its work" };
    let mut run = experiment.part(title, &knobs).await?;
    let producer = run.join(Kind::Producer, 0).await?;
    let orphan = run.join(Kind::Consumer, 0).await?;
    run.work(orphan, Work { ack: AckWhen::Never, ..Work::default() });
    run.burst(producer, Burst { prefix: "job-".into(), count: MESSAGES, ..Burst::default() });
    run.until(PATIENCE, |log| log.count("consumer-0", What::Received) > 0).await;
    if lease {
        run.pause(orphan, true)?;
    } else {
        run.kill(orphan).await?;
    }
    let gone = crate::measure::clock::now();
    let heir = run.join(Kind::Consumer, 1).await?;
    run.work(heir, Work::default());
    let all = MESSAGES as usize;
    let done = |log: &Log| log.different("consumer-1", What::Effect, "job-");
    run.until(PATIENCE + Duration::from_secs(2), |log| done(log) == all).await;
    if lease {
        run.kill(orphan).await?;
    }
    let log = run.end().await?;
    let held: Vec<&str> = log.times("consumer-0", What::Received).into_keys().collect();
    let heirs = log.times("consumer-1", What::Received);
    let claimed: Vec<u64> = held.iter().filter_map(|text| heirs.get(text).copied()).collect();
    let last = claimed.iter().max().map_or(0, |at| at.saturating_sub(gone));
    let marked =
        log.of("consumer-1", What::Received).filter(|got| held.contains(&&*got.text) && got.attempt > 1);
    experiment.fact("held by the consumer that is gone", held.len().to_string());
    experiment.fact("the last of them came after", ms(last));
    let rule = match lease {
        true => "within its lease of 1 s, with 3 s of tolerance",
        false => "when its connection is gone, with 3 s of tolerance",
    };
    experiment.holds_if(
        !held.is_empty(),
        &format!("another consumer gets the orphaned messages {rule}"),
        format!("{} of {} after {}", claimed.len(), held.len(), ms(last)),
        claimed.len() == held.len() && last <= within + SLACK,
    );
    let marked = marked.count();
    experiment.holds_if(
        !held.is_empty(),
        "they are marked as redelivered",
        format!("{marked} of {}", held.len()),
        marked >= held.len(),
    );
    let done = done(&log);
    experiment.holds("everything is done in the end", format!("{done} of {all}"), done == all);
    Ok(())
}
