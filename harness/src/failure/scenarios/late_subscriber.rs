//! A late subscriber does not get what was published before it joined.

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use crate::failure::experiment::Experiment;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Burst, Kind, What};

/// Messages before the second subscriber joins, and as many afterwards.
const MESSAGES: u32 = 10;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "late-subscriber",
    title: "A late subscriber does not get what was published before it joined",
    pattern: Pattern::PubSub,
    usual: "redis",
    question: "Ten messages are published, then a second subscriber joins, then ten more are published. How \
               many of the twenty does the second subscriber get?",
    lesson: [
        "Publish/subscribe delivers to those who are subscribed at that moment, and keeps nothing for those \
         who come later.",
        "A subscription is in effect when the other side has confirmed it, not when the call was made: where \
         nothing confirms it, the first messages are lost as well (a slow joiner).",
        "A subscriber that needs what came before takes a durable subscription, a stream that it reads from \
         the start, or asks for the present state after it has joined.",
    ],
    why_not: |_| None,
    play: |experiment| play(experiment).boxed_local(),
};

async fn play(experiment: &mut Experiment) -> Result<()> {
    let mut run = experiment.part("one subscriber is early, one is late", &[]).await?;
    let publisher = run.join(Kind::Publisher, 0).await?;
    run.subscribe(0, publisher).await?;
    let burst = |prefix: &str| Burst { prefix: prefix.to_owned(), count: MESSAGES, ..Burst::default() };
    run.burst(publisher, burst("before-"));
    let all = MESSAGES as usize;
    let got = |who: &'static str, what: &'static str| {
        move |log: &crate::failure::log::Log| log.different(who, What::Received, what) >= all
    };
    run.until(PATIENCE, got("subscriber-0", "before-")).await;
    run.subscribe(1, publisher).await?;
    run.burst(publisher, burst("after-"));
    run.until(PATIENCE, got("subscriber-0", "after-")).await;
    run.until(PATIENCE, got("subscriber-1", "after-")).await;
    let log = run.end().await?;
    let count = |who: &str, what: &str| log.different(who, What::Received, what);
    let (early, early_after) = (count("subscriber-0", "before-"), count("subscriber-0", "after-"));
    let (late, late_after) = (count("subscriber-1", "before-"), count("subscriber-1", "after-"));
    experiment.holds(
        "the early subscriber gets everything",
        format!("{early} of {all} before, {early_after} of {all} after"),
        early == all && early_after == all,
    );
    experiment.holds_if(
        early == all,
        "the late subscriber gets nothing from before its subscription",
        format!("{late} of {all}"),
        late == 0,
    );
    experiment.holds(
        "from its subscription on, the late subscriber loses nothing",
        format!("{late_after} of {all}"),
        late_after == all,
    );
    Ok(())
}
