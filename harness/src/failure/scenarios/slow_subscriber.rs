//! A subscriber that stops reading: what the lab does about it.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;
use labs::lab::Overload;

use super::shared::one_process;
use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Burst, Flush, Kind, What};

/// Messages: more than any lab holds for a subscriber with the limits below, the buffers of the
/// kernel included.
const MESSAGES: u32 = 2_000;
/// Their size, bytes.
const SIZE: usize = 16 << 10;
/// So many are published before the next look at the subscriber that keeps up.
const STEP: u32 = 100;
/// What is held for a slow subscriber: less than by default, so that it shows within seconds. In the
/// lab, and in a private broker.
const HELD: [(&str, usize); 1] = [("high-water", 800)];

fn limits(transport: &str) -> &'static [(&'static str, &'static str)] {
    match transport {
        "redis" => &[("client-output-buffer-limit", "pubsub 2mb 2mb 60")],
        // NATS writes to subscribers in turn: one that does not read holds up all who publish to it
        // until this deadline, which is 10 s by default.
        "nats" => &[("max_pending", "10MB"), ("write_deadline", "300ms")],
        "mqtt" => &[("max_queued_messages", "200")],
        _ => &[],
    }
}
/// Nothing more happens for so long: the publisher is blocked, or everything has come.
const QUIET: Duration = Duration::from_millis(1_500);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "slow-subscriber",
    title: "A slow subscriber: the publisher waits, or messages are dropped or stored",
    pattern: Pattern::PubSub,
    usual: "redis",
    question: "One of two subscribers stops reading while 2,000 messages of 16 KiB are published. Does the \
               publisher wait, are messages dropped, is the subscriber disconnected, or is everything stored?",
    lesson: [
        "When a subscriber is slower than its publisher there are four answers: the publisher waits, messages \
         are dropped, the subscriber is disconnected, or messages are stored until there is no room.",
        "Each system has chosen one of them, and the choice decides who suffers: everybody, the slow one, or \
         the machine that stores.",
        "Look up the choice before you need it, measure how many messages fit until it takes effect, and watch \
         the count of dropped messages or of the backlog.",
    ],
    why_not: one_process,
    play: |experiment| play(experiment).boxed_local(),
};

async fn play(experiment: &mut Experiment) -> Result<()> {
    let policy = experiment.handle.entry.overload;
    // Without a broker the publisher itself drops, and a flush would wait for the subscriber. Such a
    // lab has one limit for its socket: nobody gets what is beyond it.
    let drops_itself = policy == Overload::Drops && experiment.handle.entry.broker.is_none();
    let flush = if drops_itself { Flush::Never } else { Flush::Last };
    experiment.broker(false, limits(experiment.handle.entry.transport)).await?;
    let mut run = experiment.part("subscriber-1 stops reading", &HELD).await?;
    let publisher = run.join(Kind::Publisher, 0).await?;
    run.subscribe(0, publisher).await?;
    let slow = run.subscribe(1, publisher).await?;
    run.pause(slow, true)?;
    let all = MESSAGES as usize;
    let written = |log: &Log| log.different("publisher-0", What::Written, "m-");
    let got = |who: &'static str| move |log: &Log| log.different(who, What::Received, "m-");
    // In steps, so that the other subscriber keeps up on a busy machine.
    let mut asked = 0;
    for first in (0..MESSAGES).step_by(STEP as usize) {
        let step = Burst { prefix: "m-".into(), first, count: STEP, size: SIZE, flush, ..Burst::default() };
        run.burst(publisher, step);
        let so_far = (first + STEP) as usize;
        asked = so_far;
        // The last of a step, because others may have been lost.
        let last = format!("m-{:04}", so_far - 1);
        let came = |log: &Log| log.of("subscriber-0", What::Received).any(|received| received.text == last);
        if !run.until(QUIET, |log| written(log) >= so_far && came(log)).await {
            // The publisher waits, or a message was lost.
            run.until_quiet(QUIET, written).await;
        }
        if written(&run.log) < so_far {
            break;
        }
    }
    let before = written(&run.log);
    run.pause(slow, false)?;
    // What the publisher was told to publish, and could not while it waited.
    let sent = asked;
    run.until(PATIENCE, |log| written(log) == sent).await;
    if matches!(policy, Overload::Waits | Overload::Stores) {
        run.until(PATIENCE, |log| got("subscriber-0")(log) + got("subscriber-1")(log) == 2 * sent).await;
    }
    run.until_quiet(QUIET, |log| got("subscriber-0")(log) + got("subscriber-1")(log)).await;
    let log = run.end().await?;
    let (after, quick, slow) = (written(&log), got("subscriber-0")(&log), got("subscriber-1")(&log));
    let lost = after.saturating_sub(slow);
    experiment.fact("published while subscriber-1 did not read", format!("{before} of {all}"));
    experiment.fact("received by subscriber-0", quick.to_string());
    experiment.fact("received by subscriber-1", slow.to_string());
    let seen = format!(
        "{before} of {all} published while it did not read; it lost {lost}, the other {}",
        after.saturating_sub(quick)
    );
    let first_lost = first_lost(&log);
    match policy {
        Overload::Waits => {
            experiment.holds_if(
                before < all || lost > 0,
                "it waits: the publisher is held up, and nobody loses anything",
                seen,
                before < all && lost == 0 && quick == after && after == sent,
            );
        }
        Overload::Stores => {
            experiment.holds(
                "it stores: the publisher goes on, and nobody loses anything",
                seen,
                before == all && lost == 0 && quick == all,
            );
        }
        Overload::Drops | Overload::Disconnects => {
            let claim = if drops_itself {
                "it drops: the publisher goes on, and messages beyond its limit are lost, here for all subscribers"
            } else if policy == Overload::Drops {
                "it drops: the publisher goes on, and only the slow subscriber loses messages"
            } else {
                "it disconnects: the publisher goes on, and only the slow subscriber loses messages"
            };
            let seen =
                first_lost.map_or(seen.clone(), |first| format!("{seen}; the first that it lost is {first}"));
            let others = drops_itself || quick == all;
            experiment.holds_if(lost > 0 || before < all, claim, seen, before == all && others);
        }
    }
    Ok(())
}

/// The first message that the slow subscriber never got.
fn first_lost(log: &Log) -> Option<String> {
    let got = log.times("subscriber-1", What::Received);
    let written = log.times("publisher-0", What::Written);
    written
        .keys()
        .find(|text| text.starts_with("m-") && !got.contains_key(*text))
        .map(|text| (*text).to_owned())
}
