//! Roles played by hand: they get a command per line, and report events. `lab play` and
//! `lab run` use them. The ends of a lab are erased before they get here, because these
//! loops measure nothing and should be compiled once.

mod burst;
mod settle;

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use labs::oneway::{Receiver, Sender};
use labs::pubsub::{Publisher, Subscriber};
use labs::queue::{Consumer, Producer};
use labs::reqrep::{Document, Requester, Responder};
use labs::topic::Topic;
use tokio::time::error::Elapsed;

use super::adapters::SenderSink;
use super::context::RoleContext;
use super::message_text::MessageText;
use super::protocol::{Event, FromRole, RoleCommand, What, Work};
use super::send_loop::MessageSink;
use burst::{confirm, shown, tell, work, write};
use labs::erased::{
    AnyConsumer, AnyProducer, AnyPublisher, AnyReceiver, AnyRequester, AnyResponder, AnySender, AnySubscriber,
};
use settle::settle;

/// The topic if none is given.
const TOPIC: &str = "play";
/// How often a binding end that everybody has left looks for newcomers: until then, the lab
/// returns at once.
const LOOK: Duration = Duration::from_millis(50);
/// The message on the control channel that ends all workers.
const STOP: &str = "stop";

impl RoleContext {
    /// The next command; `None` after `stop`.
    async fn act(&mut self) -> Option<RoleCommand> {
        let stop = self.stop();
        tokio::select! {
            biased;
            Some(act) = self.acts.recv() => Some(act),
            () = stop => None,
        }
    }

    fn say(&self, what: What, text: impl Into<MessageText>) {
        self.event(Event::new(what, text));
    }

    /// An act that this role does not know.
    fn cannot(&self, act: &RoleCommand) {
        self.say(What::Failed, format!("a {} cannot do that: {act:?}", self.init.kind));
    }
}

/// A sender or a ventilator.
pub(super) async fn sender(mut context: RoleContext, sender: AnySender) -> Result<()> {
    let mut way = SenderSink { sender, confirms: false };
    context.ready();
    while let Some(act) = context.act().await {
        match act {
            RoleCommand::Say { text, .. } => {
                let written = Event::new(What::Written, text.clone());
                way.put(text.bytes().clone()).await?;
                way.flush().await?;
                context.event(written);
            }
            RoleCommand::Burst(burst) => {
                let stop = context.stop();
                let writing = write(&context, &burst, async |body, flush| {
                    way.put(body).await?;
                    if flush { way.flush().await } else { Ok(()) }
                });
                tokio::select! {
                    written = writing => written?,
                    () = stop => break,
                }
            }
            other => context.cannot(&other),
        }
    }
    way.sender.close().await
}

/// A publisher.
pub(super) async fn publisher(mut context: RoleContext, mut publisher: AnyPublisher) -> Result<()> {
    context.ready();
    while let Some(act) = context.act().await {
        match act {
            RoleCommand::Say { text, topic } => match Topic::new(topic.as_deref().unwrap_or(TOPIC)) {
                Ok(topic) => {
                    let written = Event::new(What::Written, text.clone());
                    publisher.publish(&topic, text.bytes().clone()).await?;
                    publisher.flush().await?;
                    context.event(Event { topic: Some(topic.to_string()), ..written });
                }
                Err(error) => context.say(What::Failed, error.to_string()),
            },
            RoleCommand::Burst(burst) => {
                let topic = Topic::new(TOPIC)?;
                let stop = context.stop();
                let writing = write(&context, &burst, async |body, flush| {
                    publisher.publish(&topic, body).await?;
                    if flush { publisher.flush().await } else { Ok(()) }
                });
                tokio::select! {
                    written = writing => written?,
                    () = stop => break,
                }
            }
            other => context.cannot(&other),
        }
    }
    publisher.close().await
}

/// A receiver.
pub(super) async fn receiver(context: RoleContext, mut receiver: AnyReceiver) -> Result<()> {
    context.ready();
    let mut stop = std::pin::pin!(context.stop());
    let mut all_left = false;
    loop {
        tokio::select! {
            body = receiver.recv() => match body? {
                Some(body) => {
                    all_left = false;
                    context.say(What::Received, shown(&context, &body));
                }
                None => {
                    if !std::mem::replace(&mut all_left, true) {
                        context.say(What::Ended, "every sender has closed; others may connect");
                    }
                    tokio::time::sleep(LOOK).await;
                }
            },
            () = &mut stop => break,
        }
    }
    Ok(())
}

/// A subscriber.
pub(super) async fn subscriber(context: RoleContext, mut subscriber: AnySubscriber) -> Result<()> {
    context.ready();
    let mut stop = std::pin::pin!(context.stop());
    loop {
        tokio::select! {
            event = subscriber.next() => match event? {
                Some(event) => context.event(Event {
                    topic: Some(event.topic.to_string()),
                    ..Event::new(What::Received, shown(&context, &event.body))
                }),
                None => {
                    context.say(What::Ended, "every publisher has closed");
                    break stop.await;
                }
            },
            () = &mut stop => break,
        }
    }
    Ok(())
}

/// A requester: many questions may be open.
pub(super) async fn requester(mut context: RoleContext, requester: AnyRequester) -> Result<()> {
    context.ready();
    let asking = &requester;
    let mut open = FuturesUnordered::new();
    loop {
        let (question, patience) = tokio::select! {
            act = context.act() => match act {
                None => return Ok(()),
                Some(RoleCommand::Say { text, .. }) => (text, Duration::MAX),
                Some(RoleCommand::Ask { text, timeout_ms }) => (text, Duration::from_millis(timeout_ms)),
                Some(other) => {
                    context.cannot(&other);
                    continue;
                }
            },
            Some((question, reply)) = open.next() => {
                let (question, reply): (MessageText, Result<Result<Document>, Elapsed>) = (question, reply);
                let event = match reply {
                    Ok(Ok(reply)) => Event::new(What::Replied, shown(&context, &reply)),
                    Ok(Err(error)) => Event::new(What::Failed, format!("{error:#}")),
                    Err(_) => Event::new(What::Failed, "no reply in time: the request is given up"),
                };
                context.event(Event { about: Some(question.to_string()), ..event });
                continue;
            }
        };
        context.say(What::Requested, question.clone());
        open.push(async move {
            let reply = asking.ask(question.bytes().clone().into());
            (question, tokio::time::timeout(patience, reply).await)
        });
    }
}

/// A responder: answers the oldest request on command, or automatically.
pub(super) async fn responder(mut context: RoleContext, mut responder: AnyResponder) -> Result<()> {
    context.ready();
    let (mut open, mut auto) = (VecDeque::new(), None);
    loop {
        tokio::select! {
            act = context.act() => match act {
                None => return Ok(()),
                Some(RoleCommand::Reply { text: reply }) => match open.pop_front() {
                    Some((question, to)) => {
                        let replied = Event::new(What::Replied, reply.clone());
                        responder.reply(to, reply.bytes().clone().into()).await?;
                        context.event(Event { about: Some(question), ..replied });
                    }
                    None => context.say(What::Failed, "no request waits for a reply"),
                },
                Some(act @ (RoleCommand::Auto { .. } | RoleCommand::Work(_))) => {
                    let rule = match act {
                        RoleCommand::Work(rule) => rule,
                        RoleCommand::Auto { work_ms } => Work { work_ms, ..Work::default() },
                        _ => Work::default(),
                    };
                    // A request may have been quicker than the word to answer by oneself.
                    for (question, to) in open.drain(..) {
                        answer(&context, &mut responder, &rule, question, to).await?;
                    }
                    auto = Some(rule);
                }
                Some(other) => context.cannot(&other),
            },
            request = responder.next() => {
                let Some((request, to)) = request? else {
                    context.say(What::Ended, "every requester has closed");
                    context.stop().await;
                    return Ok(());
                };
                let request = shown(&context, &request);
                context.say(What::Requested, request.clone());
                let question = request.to_string();
                let Some(rule) = &auto else {
                    open.push_back((question, to));
                    continue;
                };
                answer(&context, &mut responder, rule, question, to).await?;
            }
        }
    }
}

/// Answers a question by itself, after some work.
async fn answer(
    context: &RoleContext,
    responder: &mut AnyResponder,
    rule: &Work,
    question: String,
    to: <AnyResponder as Responder>::ReplyTo,
) -> Result<()> {
    let slow = rule.slow.as_ref().filter(|(marker, _)| question.contains(marker));
    work(slow.map_or(rule.work_ms, |(_, work_ms)| *work_ms)).await;
    let reply = format!("{} heard: {question}", context.init.role());
    let replied = Event::new(What::Replied, reply.clone());
    responder.reply(to, reply.into()).await?;
    context.event(Event { about: Some(question), ..replied });
    Ok(())
}

/// A producer: many messages may wait for their confirmation.
pub(super) async fn producer(mut context: RoleContext, producer: AnyProducer) -> Result<()> {
    context.ready();
    let sending = &producer;
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            act = context.act() => match act {
                None => break,
                Some(RoleCommand::Say { text, .. }) => {
                    // Who draws each message wants to know when it began.
                    if context.init.brief {
                        context.say(What::Sent, text.clone());
                    }
                    open.push(async move { (text.clone(), sending.send(text.bytes().clone()).await) });
                }
                Some(RoleCommand::Burst(burst)) => {
                    let stop = context.stop();
                    tokio::select! {
                        sent = confirm(&context, &burst, sending) => sent?,
                        () = stop => break,
                    }
                }
                Some(other) => context.cannot(&other),
            },
            Some((text, confirmed)) = open.next() => tell(&context, text, confirmed),
        }
    }
    drop(open);
    producer.close().await
}

/// A consumer: settles the oldest delivery on command, or automatically.
pub(super) async fn consumer(mut context: RoleContext, consumer: AnyConsumer) -> Result<()> {
    settle(&mut context, consumer, None).await
}

/// A worker: a result is on its way before its task is settled. It leaves when
/// the control channel says `stop`.
pub(super) async fn worker(
    mut context: RoleContext,
    tasks: AnyConsumer,
    results: AnySender,
    mut orders: AnySubscriber,
) -> Result<()> {
    let outbox = context.outbox.clone();
    tokio::select! {
        ended = settle(&mut context, tasks, Some(SenderSink { sender: results, confirms: false })) => return ended,
        stop = heard_stop(&mut orders) => stop?,
    }
    outbox(FromRole::Event(Event::new(What::Ended, STOP)));
    context.stop().await;
    Ok(())
}

async fn heard_stop(orders: &mut AnySubscriber) -> Result<()> {
    while let Some(order) = orders.next().await? {
        if order.body == STOP {
            return Ok(());
        }
    }
    pending().await
}

/// A sink: collects results, and says `stop` (or whatever it is told to) to
/// all workers.
pub(super) async fn sink(
    mut context: RoleContext,
    mut results: AnyConsumer,
    mut orders: AnyPublisher,
) -> Result<()> {
    context.ready();
    let control = Topic::new("control")?;
    let mut all_left = false;
    loop {
        tokio::select! {
            act = context.act() => match act {
                None => break,
                Some(RoleCommand::Say { text, .. }) => {
                    let written = Event::new(What::Written, text.clone());
                    orders.publish(&control, text.bytes().clone()).await?;
                    orders.flush().await?;
                    context.event(Event { topic: Some(control.to_string()), ..written });
                }
                // A sink settles by itself, always.
                Some(RoleCommand::Auto { .. }) => {}
                Some(other) => context.cannot(&other),
            },
            result = results.next() => {
                let Some(result) = result? else {
                    if !std::mem::replace(&mut all_left, true) {
                        context.say(What::Ended, "every worker has left; others may connect");
                    }
                    tokio::time::sleep(LOOK).await;
                    continue;
                };
                all_left = false;
                let event = Event::new(What::Received, shown(&context, &result.item));
                context.event(Event { attempt: Some(result.attempt), ..event });
                results.ack(result.receipt).await?;
                results.flush().await?;
            }
        }
    }
    results.close().await?;
    orders.close().await
}
