//! What a killed consumer, worker or responder had in hand, and what became of it.

use std::time::Duration;

use anyhow::Result;
use labs::catalog::{Particular, Pattern};
use labs::lab::Guarantee;
use labs::reqrep::Matching;

use super::seen::{Seen, are, many};
use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::roles::protocol::{Burst, Kind, RoleCommand, What, Work};

/// Messages of which a consumer or worker has all in hand that it may have.
pub(super) const IN_HAND: u32 = 8;
/// It is killed during its work on this one.
const FATAL: u32 = 3;
/// So long that it is always killed in the middle of it.
const LONG_MS: u64 = 60_000;
/// Requests in hand of a responder.
pub(super) const OPEN: usize = 3;
/// Requests that are answered before, and after.
pub(super) const EARLY: usize = 2;
/// All requests.
pub(super) const REQUESTS: usize = EARLY + OPEN + 1;
/// Time-out of each request, ms: longer than the lab needs to give it to another responder.
pub(super) const TIMEOUT_MS: u64 = 5_000;
/// What nobody finishes is delivered again soon. A consumer may have all messages in hand.
const KNOBS: [(&str, usize); 5] = [
    ("play-prefetch", IN_HAND as usize),
    ("lease-ms", 1_000),
    ("claim-ms", 1_000),
    ("look-ms", 50),
    ("wait-ms", 50),
];
const QUIET: Duration = Duration::from_millis(500);

/// A consumer, a worker or a durable subscriber is killed with messages in hand.
pub(super) async fn consumer(experiment: &mut Experiment) -> Result<Seen> {
    let (sends, takes, ends) = match experiment.handle.entry.pattern {
        Pattern::Pipeline => (Kind::Ventilator, Kind::Worker, Some(Kind::Sink)),
        Pattern::Durable => (Kind::Publisher, Kind::Subscriber, None),
        _ => (Kind::Producer, Kind::Consumer, None),
    };
    let all = IN_HAND as usize;
    let keeps = experiment.handle.entry.guarantee != Guarantee::AtMostOnce;
    let mut run = experiment.part(&format!("the {takes} is killed in the middle"), &KNOBS).await?;
    let sender = run.join(sends, 0).await?;
    if let Some(sink) = ends {
        run.join(sink, 0).await?;
    }
    let first = run.join(takes, 0).await?;
    run.burst(sender, Burst { prefix: "job-".into(), count: IN_HAND, ..Burst::default() });
    // It takes as many as it may have, then it begins to work.
    let received = |log: &Log| log.count(takes.as_str(), What::Received);
    run.until(PATIENCE, |log| received(log) > FATAL as usize).await;
    run.until_quiet(QUIET, received).await;
    let fatal = format!("job-{FATAL:04}");
    run.work(first, Work { slow: Some((fatal, LONG_MS)), ..Work::default() });
    run.until(PATIENCE, |log| settled(log, takes) >= FATAL as usize && ended(log, ends) >= FATAL as usize)
        .await;
    run.kill(first).await?;
    let killed = run.log.0.len();
    let second = run.again(first, 0).await?;
    run.work(second, Work::default());
    // Whether it is handled, seen where the messages end.
    let handled = |log: &Log| match ends {
        Some(_) => ended(log, ends),
        None => log.different(takes.as_str(), What::Effect, "job-"),
    };
    if keeps {
        run.until(2 * PATIENCE, |log| handled(log) == all).await;
    }
    // A message of its own, behind all the others.
    run.burst(sender, Burst { prefix: "last-".into(), count: 1, ..Burst::default() });
    run.until(PATIENCE, |log| log.count_of(takes.as_str(), What::Effect, "last-") > 0).await;
    run.until_quiet(QUIET, handled).await;
    let log = run.end().await?;
    let lost = all.saturating_sub(handled(&log));
    let before = log.0.iter().take(killed);
    let in_hand = before.filter(|h| h.what == What::Received && h.role == format!("{takes}-0")).count();
    let in_hand = in_hand.saturating_sub(settled_before(&log, killed));
    let again = received(&log).saturating_sub(log.times(takes.as_str(), What::Received).len());
    let entry = &experiment.handle.entry;
    let (thing, verb) = if ends.is_some() { ("task", "done") } else { ("message", "handled") };
    let told = format!(
        "the {takes} had {} in hand when it was killed; {} came again; {lost} of {all} {} never {verb}",
        many(in_hand, thing),
        again,
        are(lost)
    );
    let why = if keeps && lost > 0 {
        format!(
            "{} promises {}: what the {takes} had in hand must come again. {lost} of {all} did not within {} s, \
             so the machine was too busy, or the promise is broken.",
            entry.name,
            entry.guarantee,
            2 * PATIENCE.as_secs()
        )
    } else if keeps {
        format!(
            "{} promises {}: a {thing} belongs to the queue until it is acknowledged, and the {takes} \
             acknowledges after its work. What it had in hand is delivered again, so its work may be done \
             twice; write it so that this does no harm.",
            entry.name, entry.guarantee
        )
    } else {
        format!(
            "{} promises {}: what is given to a {takes} is nobody else's any more, and is lost with it. \
             SHARING decides how much that is: a {takes} that holds many {thing}s in advance loses many.",
            entry.name, entry.guarantee
        )
    };
    Ok(Seen::count(lost, told, why))
}

/// Messages that it is done with: acknowledged, or finished where nothing is acknowledged.
fn settled(log: &Log, takes: Kind) -> usize {
    log.different(takes.as_str(), What::Acked, "job-") + log.different(takes.as_str(), What::Finished, "job-")
}

fn settled_before(log: &Log, end: usize) -> usize {
    log.0.iter().take(end).filter(|h| matches!(h.what, What::Acked | What::Finished)).count()
}

/// Results that the sink has; of what has no sink, everything has arrived.
fn ended(log: &Log, ends: Option<Kind>) -> usize {
    ends.map_or(usize::MAX, |sink| log.different(sink.as_str(), What::Received, "worker-0 did: job-"))
}

/// A responder is killed with requests in hand.
pub(super) async fn responder(experiment: &mut Experiment) -> Result<Seen> {
    let mut run = experiment.part("the responder is killed in the middle", &KNOBS).await?;
    let first = run.join(Kind::Responder, 0).await?;
    let requester = run.join(Kind::Requester, 0).await?;
    let ask = |text: String| RoleCommand::Ask { text: text.into(), timeout_ms: TIMEOUT_MS };
    let heard = |log: &Log| log.count("responder", What::Requested);
    let replied = |log: &Log| log.count("requester", What::Replied);
    for number in 0..EARLY {
        run.tell(requester, ask(format!("early-{number}")));
        run.until(PATIENCE, |log| heard(log) > number).await;
        run.tell(first, RoleCommand::Reply { text: format!("answer-{number}").as_str().into() });
        run.until(PATIENCE, |log| replied(log) > number).await;
    }
    for number in 0..OPEN {
        run.tell(requester, ask(format!("open-{number}")));
    }
    run.until(PATIENCE, |log| heard(log) > EARLY).await;
    run.until_quiet(QUIET, heard).await;
    let in_hand = heard(&run.log).saturating_sub(EARLY);
    run.kill(first).await?;
    let second = run.again(first, 0).await?;
    run.work(second, Work::default());
    run.tell(requester, ask("late".to_owned()));
    let over = |log: &Log| replied(log) + log.count("requester", What::Failed);
    run.until(PATIENCE + Duration::from_millis(TIMEOUT_MS), |log| over(log) == REQUESTS).await;
    let log = run.end().await?;
    let lost = REQUESTS.saturating_sub(replied(&log));
    let failed = log.of("requester", What::Failed).next().map(|failed| format!(" ({})", failed.text));
    let told = format!(
        "the responder had {} in hand when it was killed; {lost} of {REQUESTS} {} never answered{}",
        many(in_hand, "request"),
        are(lost),
        failed.unwrap_or_default()
    );
    let entry = &experiment.handle.entry;
    let lockstep = entry.particular == Particular::Matching(Matching::Lockstep) && in_hand < OPEN;
    let mut why = match entry.guarantee {
        Guarantee::AtMostOnce => format!(
            "{} promises {}: a request is lost when the responder that received it crashes, and nobody asks \
             again by itself. Its `ask` fails or waits without end, so a caller sets a time-out, here {} s, and \
             decides whether the work may be done twice.",
            entry.name,
            entry.guarantee,
            TIMEOUT_MS / 1000
        ),
        _ => format!(
            "{} promises {}: a request stays with the broker until its reply is there, and another responder \
             gets what the dead one had in hand. The work may be done a second time.",
            entry.name, entry.guarantee
        ),
    };
    if lockstep {
        why +=
            " MATCHING is lockstep: the other requests had not been sent yet, and went to the new responder.";
    }
    Ok(Seen::count(lost, told, why))
}
