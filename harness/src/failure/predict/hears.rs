//! Who will hear what: nothing fails, and the pattern decides who gets a message.

use std::time::Duration;

use anyhow::Result;
use labs::catalog::{Entry, Particular, Pattern};
use labs::lab::Join;
use labs::pipeline::Sharing;
use labs::queue::Confirmed;
use labs::reqrep::Matching;

use super::question::{Form, Question, Topic};
use super::seen::{Seen, many};
use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::roles::protocol::{AckWhen, Burst, Kind, RoleCommand, What, Work};

/// Messages of one burst.
const FEW: u32 = 3;
/// The same, as a count.
const HALF: usize = FEW as usize;
/// Messages of two bursts.
const ALL: usize = 2 * HALF;
/// Tasks for two workers.
const TASKS: u32 = 12;
/// Work of the slow worker and of the quick one on each task, ms: the quick one can do all tasks while
/// the slow one does its first, also on a busy machine.
const SLOW_MS: u64 = 300;
const QUICK_MS: u64 = 2;
/// Workers that ask for tasks ask for one at a time.
const ONE: [(&str, usize); 3] = [("prefetch", 1), ("credit", 1), ("depth", 1)];
/// Nothing more comes when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(300);

pub(super) fn question(entry: &Entry) -> Question {
    let (text, form) = match entry.pattern {
        Pattern::OneWay => (
            format!(
                "Two senders send {FEW} messages each to one receiver, at the same time. How many messages \
                 does the receiver get?"
            ),
            Form::Count { most: 2 * ALL, within: 0 },
        ),
        Pattern::RequestReply => (
            format!(
                "Two requesters ask {FEW} questions each, all at the same time. How many of the {ALL} replies \
                 belong to a question that the other requester asked?"
            ),
            Form::Count { most: ALL, within: 0 },
        ),
        Pattern::PubSub => (
            format!(
                "Two subscribers are there from the beginning. After {FEW} of {ALL} messages a third one joins. \
                 How many of the {ALL} messages does the third subscriber get?"
            ),
            Form::Count { most: ALL, within: 0 },
        ),
        Pattern::Pipeline => (
            format!(
                "Two workers share {TASKS} tasks. One needs {SLOW_MS} ms for each task, the other one \
                 {QUICK_MS} ms. A worker that asks for tasks asks for one at a time. How many tasks does the \
                 slow worker do?"
            ),
            Form::Count { most: TASKS as usize, within: tolerance(entry) },
        ),
        Pattern::Queue => (
            format!(
                "Two consumers take {ALL} messages from one queue, and acknowledge each. How many deliveries do \
                 both get together? ({} would mean that each message reaches both.)",
                2 * ALL
            ),
            Form::Count { most: 2 * ALL, within: 0 },
        ),
        Pattern::Durable => (
            format!(
                "A durable subscriber joins and leaves again. {FEW} messages are published, then it comes back. \
                 How many of the {FEW} does it get?"
            ),
            Form::Count { most: HALF, within: 0 },
        ),
    };
    let page = format!("docs/patterns/{}.md", entry.pattern);
    Question { topic: Topic::Hears, text, form, why_not: None, page }
}

/// How far a right prediction may be off: workers that ask may find one task more or less.
const fn tolerance(entry: &Entry) -> usize {
    match entry.particular {
        Particular::Sharing(Sharing::OnDemand) => 1,
        Particular::Sharing(Sharing::Random) => 2,
        _ => 0,
    }
}

pub(super) async fn play(experiment: &mut Experiment) -> Result<Seen> {
    match experiment.handle.entry.pattern {
        Pattern::OneWay => one_way(experiment).await,
        Pattern::RequestReply => request_reply(experiment).await,
        Pattern::PubSub => pub_sub(experiment).await,
        Pattern::Pipeline => pipeline(experiment).await,
        Pattern::Queue => queue(experiment).await,
        Pattern::Durable => durable(experiment).await,
    }
}

fn burst(prefix: &str) -> Burst {
    Burst { prefix: prefix.to_owned(), count: FEW, ..Burst::default() }
}

async fn one_way(experiment: &mut Experiment) -> Result<Seen> {
    let mut run = experiment.part("two senders, one receiver", &[]).await?;
    run.join(Kind::Receiver, 0).await?;
    let senders = [run.join(Kind::Sender, 0).await?, run.join(Kind::Sender, 1).await?];
    for (sender, prefix) in senders.into_iter().zip(["from-0-", "from-1-"]) {
        run.burst(sender, burst(prefix));
    }
    let got = |log: &Log| log.count("receiver", What::Received);
    run.until(PATIENCE, |log| got(log) >= ALL).await;
    run.until_quiet(QUIET, got).await;
    let log = run.end().await?;
    let entry = &experiment.handle.entry;
    let from = |prefix| log.count_of("receiver", What::Received, prefix);
    Ok(Seen::count(
        got(&log),
        format!("the receiver got {} from sender-0 and {} from sender-1", from("from-0-"), from("from-1-")),
        format!(
            "One-way has many senders and one receiver, and every message goes to it. {0} promises {1}: each \
             message arrives once or not at all, and none is lost while nothing fails. The senders learned \
             that a message was written; nothing told them that it was received.",
            entry.name, entry.guarantee
        ),
    ))
}

async fn request_reply(experiment: &mut Experiment) -> Result<Seen> {
    let mut run = experiment.part("two requesters ask at the same time", &[]).await?;
    let responder = run.join(Kind::Responder, 0).await?;
    run.work(responder, Work { work_ms: 10, ..Work::default() });
    let requesters = [run.join(Kind::Requester, 0).await?, run.join(Kind::Requester, 1).await?];
    for number in 0..FEW {
        for (index, requester) in requesters.into_iter().enumerate() {
            let text = format!("question-{index}-{number}");
            run.tell(requester, RoleCommand::Ask { text: text.into(), timeout_ms: 10_000 });
        }
    }
    run.until(PATIENCE, |log| log.count("requester", What::Replied) >= ALL).await;
    let log = run.end().await?;
    let replies = log.count("requester", What::Replied);
    let wrong =
        log.of("requester", What::Replied).filter(|reply| !reply.text.ends_with(&reply.about)).count();
    let entry = &experiment.handle.entry;
    let matching = match entry.particular {
        Particular::Matching(Matching::Lockstep) => {
            "MATCHING is lockstep: a connection has one request in flight, so the next reply on it belongs to \
             that request"
        }
        Particular::Matching(Matching::ReplyAddress) => {
            "MATCHING is a reply address: every request names an address of its own, where nothing but its \
             reply arrives"
        }
        _ => {
            "MATCHING is a correlation identifier: the request carries one, and its reply carries the same, so \
             the order of the replies does not matter"
        }
    };
    Ok(Seen::count(
        wrong,
        format!("{replies} of {ALL} questions were answered; {wrong} got the reply to another one"),
        format!("In {}, {matching}. Each requester gets its own replies only.", entry.name),
    ))
}

async fn pub_sub(experiment: &mut Experiment) -> Result<Seen> {
    let mut run = experiment.part("the third subscriber joins in the middle", &[]).await?;
    let publisher = run.join(Kind::Publisher, 0).await?;
    for index in 0..2 {
        run.subscribe(index, publisher).await?;
    }
    let got = |who: usize, begin: &'static str| {
        move |log: &Log| log.different(&format!("subscriber-{who}"), What::Received, begin)
    };
    run.burst(publisher, burst("before-"));
    run.until(PATIENCE, |log| (0..2).all(|who| got(who, "before-")(log) == HALF)).await;
    run.subscribe(2, publisher).await?;
    run.burst(publisher, burst("after-"));
    run.until(PATIENCE, |log| (0..3).all(|who| got(who, "after-")(log) == HALF)).await;
    run.until_quiet(QUIET, |log| log.count("subscriber-2", What::Received)).await;
    let log = run.end().await?;
    let whole = |who: usize| got(who, "before-")(&log) + got(who, "after-")(&log);
    let entry = &experiment.handle.entry;
    let join = match entry.join {
        Join::Confirmed => {
            "JOIN is confirmed: the other side has said that the subscription is live, so nothing after it is \
             missed"
        }
        Join::Probed => {
            "JOIN is probed: nobody says when a subscription is live, so the publisher sent probes until one \
             arrived; without them the next messages could be lost, too"
        }
    };
    Ok(Seen::count(
        whole(2),
        format!(
            "the first two got {} and {}; the third got {} of the messages before it joined and {} of those \
             after it",
            whole(0),
            whole(1),
            got(2, "before-")(&log),
            got(2, "after-")(&log)
        ),
        format!(
            "{} promises {}: an event goes to those who are subscribed at that moment, and is not kept for \
             those who come later. {join}.",
            entry.name, entry.guarantee
        ),
    ))
}

async fn pipeline(experiment: &mut Experiment) -> Result<Seen> {
    let all = TASKS as usize;
    let mut run = experiment.part("a slow worker and a quick one", &ONE).await?;
    let ventilator = run.join(Kind::Ventilator, 0).await?;
    run.join(Kind::Sink, 0).await?;
    let (slow, quick) = (run.join(Kind::Worker, 0).await?, run.join(Kind::Worker, 1).await?);
    run.work(slow, Work { work_ms: SLOW_MS, ..Work::default() });
    run.work(quick, Work { work_ms: QUICK_MS, ..Work::default() });
    run.burst(ventilator, Burst { prefix: "task-".into(), count: TASKS, ..Burst::default() });
    let done = |log: &Log, who: &str| log.different(who, What::Effect, "task-");
    run.until(PATIENCE, |log| done(log, "worker") == all).await;
    let log = run.end().await?;
    let (slow, quick) = (done(&log, "worker-0"), done(&log, "worker-1"));
    let entry = &experiment.handle.entry;
    let sharing = match entry.particular {
        Particular::Sharing(Sharing::RoundRobin) => {
            "SHARING is round-robin: each worker in turn gets a task, whether it keeps up or not. The slow \
             worker has as many as the quick one, and everything waits for it"
        }
        Particular::Sharing(Sharing::Random) => {
            "SHARING is random: the broker draws a worker for each task, whether it keeps up or not. The slow \
             worker gets about half, and everything waits for it"
        }
        _ => {
            "SHARING is on demand: a worker gets the next task when it asks for one. The slow worker is busy \
             with its first, or one more that it has asked for, while the quick one does all the others"
        }
    };
    Ok(Seen::count(
        slow,
        format!("the slow worker did {}, the quick one {quick}, of {all}", many(slow, "task")),
        format!("In {}, {sharing}.", entry.name),
    ))
}

async fn queue(experiment: &mut Experiment) -> Result<Seen> {
    let mut run = experiment.part("two consumers of one queue", &[("play-prefetch", 1)]).await?;
    let producer = run.join(Kind::Producer, 0).await?;
    for index in 0..2 {
        let consumer = run.join(Kind::Consumer, index).await?;
        run.work(consumer, Work { work_ms: 20, ack: AckWhen::After, ..Work::default() });
    }
    run.burst(producer, Burst { count: ALL as u32, ..burst("job-") });
    // Counted for each consumer: a delivery that is repeated to the same one is not another one's.
    let each = |log: &Log| [0, 1].map(|who| log.different(&format!("consumer-{who}"), What::Acked, "job-"));
    run.until(PATIENCE, |log| log.different("consumer", What::Acked, "job-") == ALL).await;
    run.until_quiet(QUIET, |log| log.count("consumer", What::Received)).await;
    let log = run.end().await?;
    let [first, second] = each(&log);
    let both = first + second - log.different("consumer", What::Acked, "job-");
    let entry = &experiment.handle.entry;
    let confirmed = match entry.particular {
        Particular::Confirmed(Confirmed::Acked) => "a consumer has acknowledged it",
        _ => "the queue has stored it",
    };
    Ok(Seen::count(
        first + second,
        format!("consumer-0 got {first}, consumer-1 got {second}; {} reached both", many(both, "message")),
        format!(
            "The consumers of a queue compete: each message goes to one of them, which is free. {} promises \
             {}, and CONFIRMED means that {confirmed}: a second delivery comes only when the first is not \
             acknowledged.",
            entry.name, entry.guarantee
        ),
    ))
}

async fn durable(experiment: &mut Experiment) -> Result<Seen> {
    let mut run = experiment.part("a subscriber that was away", &[]).await?;
    let publisher = run.join(Kind::Publisher, 0).await?;
    let subscriber = run.join(Kind::Subscriber, 0).await?;
    run.leave(subscriber).await?;
    run.burst(publisher, burst("away-"));
    run.until(PATIENCE, |log| log.count("publisher-0", What::Written) == HALF).await;
    let subscriber = run.again(subscriber, 0).await?;
    run.work(subscriber, Work::default());
    let got = |log: &Log| log.different("subscriber-0", What::Received, "away-");
    run.until(PATIENCE, |log| got(log) == HALF).await;
    run.until_quiet(QUIET, got).await;
    let log = run.end().await?;
    let entry = &experiment.handle.entry;
    Ok(Seen::count(
        got(&log),
        format!("it came back and got {} of {FEW}", got(&log)),
        format!(
            "A durable subscriber has an identifier, and JOIN is {}: from its first join on, the broker stores \
             every event for this identifier. {} promises {}, and OVERLOAD is {}: events wait until the \
             subscriber has acknowledged them or is forgotten.",
            entry.join, entry.name, entry.guarantee, entry.overload
        ),
    ))
}
