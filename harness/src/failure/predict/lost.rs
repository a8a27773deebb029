//! What is lost when a receiver is killed in the middle and started again.

use std::time::Duration;

use anyhow::Result;
use labs::catalog::{Entry, Pattern};
use labs::lab::{Guarantee, Overload};

use super::held::{self, EARLY, IN_HAND, OPEN, REQUESTS, TIMEOUT_MS};
use super::question::{Form, Question, Topic};
use super::seen::Seen;
use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::roles::protocol::{Burst, Kind, What};

/// Messages before the receiver is killed, while it is away, and when it is back.
const BEFORE: u32 = 3;
const AWAY: u32 = 4;
const AFTER: u32 = 3;
const ALL: usize = (BEFORE + AWAY + AFTER) as usize;
/// A sender that has written nothing for so long waits for the receiver.
const WAITS: Duration = Duration::from_millis(700);
const QUIET: Duration = Duration::from_millis(500);

pub(super) fn question(entry: &Entry) -> Question {
    let in_parts = |who: &str, sent: &str| {
        format!(
            "{BEFORE} messages are {sent} and received. Then the {who} is killed (kill -9), {AWAY} messages are \
             {sent} while it is away, it is started again, and {AFTER} more are {sent}. How many of the {ALL} \
             messages does it never get?"
        )
    };
    let in_hand = |who: &str, thing: &str, first: &str, done: &str| {
        format!(
            "A {who} takes as many of {IN_HAND} {thing}s as it may hold. It handles {BEFORE}, and is killed \
             (kill -9) in the middle of the next one; then it is started again. How many of the {IN_HAND} \
             {first} {done}?"
        )
    };
    let (text, most) = match entry.pattern {
        Pattern::OneWay => (in_parts("receiver", "sent"), ALL),
        Pattern::PubSub => (in_parts("subscriber", "published"), ALL),
        Pattern::RequestReply => (
            format!(
                "A responder has answered {EARLY} requests. {OPEN} more are asked at the same time, and it is killed \
                 (kill -9) before it answers any of them. It is started again and gets one more. Each request \
                 has a time-out of {} s. How many of the {REQUESTS} requests are never answered?",
                TIMEOUT_MS / 1000
            ),
            REQUESTS,
        ),
        Pattern::Pipeline => (in_hand("worker", "task", "results", "never reach the sink"), IN_HAND as usize),
        Pattern::Queue => (in_hand("consumer", "message", "messages", "are never handled"), IN_HAND as usize),
        Pattern::Durable => {
            (in_hand("subscriber", "message", "messages", "are never handled"), IN_HAND as usize)
        }
    };
    let why_not =
        entry.in_process().then_some("its roles are threads of one process, and a thread cannot be killed");
    let page = "docs/glossary.md#guarantees".to_owned();
    Question { topic: Topic::Lost, text, form: Form::Count { most, within: 0 }, why_not, page }
}

pub(super) async fn play(experiment: &mut Experiment) -> Result<Seen> {
    match experiment.handle.entry.pattern {
        Pattern::OneWay => one_way(experiment).await,
        Pattern::PubSub => pub_sub(experiment).await,
        Pattern::RequestReply => held::responder(experiment).await,
        Pattern::Pipeline | Pattern::Queue | Pattern::Durable => held::consumer(experiment).await,
    }
}

fn burst(prefix: &str, count: u32) -> Burst {
    Burst { prefix: prefix.to_owned(), count, ..Burst::default() }
}

/// What one role got of each of the three parts.
struct Got {
    before: usize,
    away: usize,
    after: usize,
}

impl Got {
    fn of(log: &Log, who: &str) -> Self {
        let part = |begin| log.different(who, What::Received, begin);
        Self { before: part("before-"), away: part("away-"), after: part("after-") }
    }

    const fn all(&self) -> usize {
        self.before + self.away + self.after
    }

    fn told(&self, who: &str) -> String {
        let Self { before, away, after } = self;
        format!(
            "{who} got {before} of {BEFORE} before it was killed, {away} of {AWAY} that were sent while it was \
             away, and {after} of {AFTER} afterwards"
        )
    }
}

async fn one_way(experiment: &mut Experiment) -> Result<Seen> {
    let mut run = experiment.part("the receiver is killed in the middle", &[]).await?;
    let receiver = run.join(Kind::Receiver, 0).await?;
    let sender = run.join(Kind::Sender, 0).await?;
    let got = |begin: &'static str| move |log: &Log| log.different("receiver-0", What::Received, begin);
    run.burst(sender, burst("before-", BEFORE));
    run.until(PATIENCE, |log| got("before-")(log) == BEFORE as usize).await;
    run.kill(receiver).await?;
    run.burst(sender, burst("away-", AWAY));
    let written = |log: &Log| log.count_of("sender-0", What::Written, "away-");
    run.until(WAITS, |log| written(log) == AWAY as usize).await;
    run.again(receiver, 0).await?;
    run.until(PATIENCE, |log| written(log) == AWAY as usize).await;
    run.burst(sender, burst("after-", AFTER));
    run.until(PATIENCE, |log| got("after-")(log) == AFTER as usize).await;
    run.until_quiet(QUIET, |log| log.count("receiver-0", What::Received)).await;
    let log = run.end().await?;
    let got = Got::of(&log, "receiver-0");
    let lost = ALL.saturating_sub(got.all());
    let entry = &experiment.handle.entry;
    let why = match (entry.broker, entry.overload) {
        (Some(broker), Overload::Stores) if lost == 0 => format!(
            "OVERLOAD is {}: {broker} keeps what nobody has fetched, so the messages waited there. {} still \
             promises {} only: what a receiver has taken and not handled is lost with it, and nobody \
             acknowledges anything.",
            entry.overload, entry.name, entry.guarantee
        ),
        (Some(broker), _) => format!(
            "{} promises {}, and {broker} passes a message on to the receiver that is there at that moment. It \
             keeps none for one that is away, and the sender is not told.",
            entry.name, entry.guarantee
        ),
        (None, _) => format!(
            "{} promises {}, and without a broker nobody keeps a message for a receiver that is away. What the \
             sender wrote until it noticed the end of the connection ({lost} here) is lost, and no error \
             reached its caller. From then on the sender waited (OVERLOAD: {}), and the rest came over the new \
             connection.",
            entry.name, entry.guarantee, entry.overload
        ),
    };
    Ok(Seen::count(lost, got.told("the receiver"), why))
}

async fn pub_sub(experiment: &mut Experiment) -> Result<Seen> {
    let mut run = experiment.part("a subscriber is killed in the middle, another one stays", &[]).await?;
    let publisher = run.join(Kind::Publisher, 0).await?;
    let subscriber = run.subscribe(0, publisher).await?;
    run.subscribe(1, publisher).await?;
    let got =
        |who: &'static str, begin: &'static str| move |log: &Log| log.different(who, What::Received, begin);
    let both = |log: &Log, begin: &'static str, count: u32| {
        ["subscriber-0", "subscriber-1"].iter().all(|who| got(who, begin)(log) == count as usize)
    };
    run.burst(publisher, burst("before-", BEFORE));
    run.until(PATIENCE, |log| both(log, "before-", BEFORE)).await;
    run.kill(subscriber).await?;
    run.burst(publisher, burst("away-", AWAY));
    run.until(PATIENCE, |log| got("subscriber-1", "away-")(log) == AWAY as usize).await;
    run.subscribe(0, publisher).await?;
    run.burst(publisher, burst("after-", AFTER));
    run.until(PATIENCE, |log| both(log, "after-", AFTER)).await;
    run.until_quiet(QUIET, |log| log.count("subscriber", What::Received)).await;
    let log = run.end().await?;
    let (killed, stayed) = (Got::of(&log, "subscriber-0"), Got::of(&log, "subscriber-1"));
    let lost = ALL.saturating_sub(killed.all());
    let entry = &experiment.handle.entry;
    let keeper = match entry.broker {
        Some(broker) => format!("{broker} keeps nothing"),
        None => "the publisher keeps nothing".to_owned(),
    };
    let promise = if entry.guarantee == Guarantee::AtMostOnce {
        format!(
            "an event arrives once or not at all, and {keeper} for a subscriber that is away. Its new \
             subscription begins where the stream is now; a durable subscriber would get what it missed"
        )
    } else {
        "events are kept for a subscriber that is away".to_owned()
    };
    Ok(Seen::count(
        lost,
        format!(
            "{}; the subscriber that stayed got {} of {ALL}",
            killed.told("the killed one"),
            stayed.all()
        ),
        format!("{} promises {}: {promise}.", entry.name, entry.guarantee),
    ))
}
