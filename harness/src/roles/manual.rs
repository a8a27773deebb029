//! Roles that are played by hand: told what to do line by line, they say what
//! happened. `lab play` and `lab run` stand on these. A lab's ends are erased before they come
//! here: these loops measure nothing, and are compiled once.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use labs::oneway::{Receiver, Sender};
use labs::pubsub::{Publisher, Subscriber};
use labs::queue::{Consumer, Delivery, Producer};
use labs::reqrep::{Requester, Responder};
use labs::topic::Topic;

use super::adapters::Way;
use super::context::Stage;
use super::protocol::{Act, Event, FromRole, What};
use super::send_loop::Outlet;
use labs::erased::{
    AnyConsumer, AnyProducer, AnyPublisher, AnyReceiver, AnyRequester, AnyResponder, AnySender, AnySubscriber,
};

/// What is published under when no topic is given.
const TOPIC: &str = "play";
/// What the control channel carries to end all workers.
const STOP: &str = "stop";

fn text(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}

impl Stage {
    /// The next thing to do; `None` when told to stop.
    async fn act(&mut self) -> Option<Act> {
        let stop = self.stop();
        tokio::select! {
            biased;
            Some(act) = self.acts.recv() => Some(act),
            () = stop => None,
        }
    }

    fn say(&self, what: What, text: impl Into<String>) {
        self.event(Event::new(what, text));
    }

    /// An act that this role does not know.
    fn cannot(&self, act: &Act) {
        self.say(What::Failed, format!("a {} cannot do that: {act:?}", self.init.kind));
    }
}

/// A sender or a ventilator.
pub(super) async fn sender(mut stage: Stage, sender: AnySender) -> Result<()> {
    let mut way = Way(sender);
    stage.ready();
    while let Some(act) = stage.act().await {
        match act {
            Act::Say { text, .. } => {
                way.put(text.clone().into()).await?;
                way.flush().await?;
                stage.say(What::Written, text);
            }
            other => stage.cannot(&other),
        }
    }
    way.0.close().await
}

/// A publisher.
pub(super) async fn publisher(mut stage: Stage, mut publisher: AnyPublisher) -> Result<()> {
    stage.ready();
    while let Some(act) = stage.act().await {
        match act {
            Act::Say { text, topic } => match Topic::new(topic.as_deref().unwrap_or(TOPIC)) {
                Ok(topic) => {
                    publisher.publish(&topic, text.clone().into()).await?;
                    publisher.flush().await?;
                    stage.event(Event { topic: Some(topic.to_string()), ..Event::new(What::Written, text) });
                }
                Err(error) => stage.say(What::Failed, error.to_string()),
            },
            other => stage.cannot(&other),
        }
    }
    publisher.close().await
}

/// A receiver.
pub(super) async fn receiver(stage: Stage, mut receiver: AnyReceiver) -> Result<()> {
    stage.ready();
    let mut stop = std::pin::pin!(stage.stop());
    loop {
        tokio::select! {
            body = receiver.recv() => match body? {
                Some(body) => stage.say(What::Received, text(&body)),
                None => {
                    stage.say(What::Ended, "every sender has closed");
                    break stop.await;
                }
            },
            () = &mut stop => break,
        }
    }
    Ok(())
}

/// A subscriber.
pub(super) async fn subscriber(stage: Stage, mut subscriber: AnySubscriber) -> Result<()> {
    stage.ready();
    let mut stop = std::pin::pin!(stage.stop());
    loop {
        tokio::select! {
            event = subscriber.next() => match event? {
                Some(event) => stage.event(Event {
                    topic: Some(event.topic.to_string()),
                    ..Event::new(What::Received, text(&event.body))
                }),
                None => {
                    stage.say(What::Ended, "every publisher has closed");
                    break stop.await;
                }
            },
            () = &mut stop => break,
        }
    }
    Ok(())
}

/// A requester: many questions may be open.
pub(super) async fn requester(mut stage: Stage, requester: AnyRequester) -> Result<()> {
    stage.ready();
    let asking = &requester;
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            act = stage.act() => match act {
                None => return Ok(()),
                Some(Act::Say { text: question, .. }) => {
                    stage.say(What::Requested, question.clone());
                    open.push(async move { (question.clone(), asking.ask(question.into()).await) });
                }
                Some(other) => stage.cannot(&other),
            },
            Some((question, reply)) = open.next() => {
                let event = match reply {
                    Ok(reply) => Event::new(What::Replied, text(&reply)),
                    Err(error) => Event::new(What::Failed, format!("{error:#}")),
                };
                stage.event(Event { about: Some(question), ..event });
            }
        }
    }
}

/// A responder: answers the oldest request when told, or by itself.
pub(super) async fn responder(mut stage: Stage, mut responder: AnyResponder) -> Result<()> {
    stage.ready();
    let (mut open, mut auto) = (VecDeque::new(), None);
    loop {
        tokio::select! {
            act = stage.act() => match act {
                None => return Ok(()),
                Some(Act::Reply { text: reply }) => match open.pop_front() {
                    Some((question, to)) => {
                        responder.reply(to, reply.clone().into()).await?;
                        stage.event(Event { about: Some(question), ..Event::new(What::Replied, reply) });
                    }
                    None => stage.say(What::Failed, "no request waits for a reply"),
                },
                Some(Act::Auto { work_ms }) => {
                    let work = Duration::from_millis(work_ms);
                    auto = Some(work);
                    // A request may have been quicker than the word to answer by oneself.
                    for (question, to) in open.drain(..) {
                        answer(&stage, &mut responder, work, question, to).await?;
                    }
                }
                Some(other) => stage.cannot(&other),
            },
            request = responder.next() => {
                let Some((request, to)) = request? else {
                    stage.say(What::Ended, "every requester has closed");
                    stage.stop().await;
                    return Ok(());
                };
                let question = text(&request);
                stage.say(What::Requested, question.clone());
                let Some(work) = auto else {
                    open.push_back((question, to));
                    continue;
                };
                answer(&stage, &mut responder, work, question, to).await?;
            }
        }
    }
}

/// Answers a question by itself, after some work.
async fn answer(
    stage: &Stage,
    responder: &mut AnyResponder,
    work: Duration,
    question: String,
    to: <AnyResponder as Responder>::ReplyTo,
) -> Result<()> {
    tokio::time::sleep(work).await;
    let reply = format!("{} heard: {question}", stage.init.role());
    responder.reply(to, reply.clone().into()).await?;
    stage.event(Event { about: Some(question), ..Event::new(What::Replied, reply) });
    Ok(())
}

/// A producer: many messages may wait for their confirmation.
pub(super) async fn producer(mut stage: Stage, producer: AnyProducer) -> Result<()> {
    stage.ready();
    let sending = &producer;
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            act = stage.act() => match act {
                None => break,
                Some(Act::Say { text, .. }) => {
                    open.push(async move { (text.clone(), sending.send(text.into()).await) });
                }
                Some(other) => stage.cannot(&other),
            },
            Some((text, confirmed)) = open.next() => match confirmed {
                Ok(()) => stage.say(What::Confirmed, text),
                Err(error) => stage.event(Event {
                    about: Some(text),
                    ..Event::new(What::Failed, format!("{error:#}"))
                }),
            },
        }
    }
    drop(open);
    producer.close().await
}

/// A consumer: settles the oldest delivery when told, or by itself.
pub(super) async fn consumer(mut stage: Stage, consumer: AnyConsumer) -> Result<()> {
    settle(&mut stage, consumer, None).await
}

/// A worker: a result is on its way before its task is settled. It leaves when
/// the control channel says `stop`.
pub(super) async fn worker(
    mut stage: Stage,
    tasks: AnyConsumer,
    results: AnySender,
    mut orders: AnySubscriber,
) -> Result<()> {
    let outbox = stage.outbox.clone();
    tokio::select! {
        ended = settle(&mut stage, tasks, Some(Way(results))) => return ended,
        stop = heard_stop(&mut orders) => stop?,
    }
    outbox(FromRole::Event(Event::new(What::Ended, STOP)));
    stage.stop().await;
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
pub(super) async fn sink(mut stage: Stage, mut results: AnyConsumer, mut orders: AnyPublisher) -> Result<()> {
    stage.ready();
    let control = Topic::new("control")?;
    loop {
        tokio::select! {
            act = stage.act() => match act {
                None => break,
                Some(Act::Say { text, .. }) => {
                    orders.publish(&control, text.clone().into()).await?;
                    orders.flush().await?;
                    stage.event(Event { topic: Some(control.to_string()), ..Event::new(What::Written, text) });
                }
                // A sink settles by itself, always.
                Some(Act::Auto { .. }) => {}
                Some(other) => stage.cannot(&other),
            },
            result = results.next() => {
                let Some(result) = result? else {
                    stage.say(What::Ended, "every worker has left");
                    stage.stop().await;
                    break;
                };
                let event = Event::new(What::Received, text(&result.item));
                stage.event(Event { attempt: Some(result.attempt), ..event });
                results.ack(result.receipt).await?;
                results.flush().await?;
            }
        }
    }
    results.close().await?;
    orders.close().await
}

async fn settle(
    stage: &mut Stage,
    mut consumer: AnyConsumer,
    mut results: Option<Way<AnySender>>,
) -> Result<()> {
    stage.ready();
    let mut open: VecDeque<Delivery<String, <AnyConsumer as Consumer>::Receipt>> = VecDeque::new();
    let mut auto: Option<Duration> = None;
    loop {
        let act = match auto.filter(|_| !open.is_empty()) {
            // Whatever is open is worked on, also what came before the word did.
            Some(work) => {
                tokio::time::sleep(work).await;
                Act::Ack
            }
            None => tokio::select! {
                act = stage.act() => match act {
                    None => break,
                    Some(Act::Auto { work_ms }) => {
                        auto = Some(Duration::from_millis(work_ms));
                        continue;
                    }
                    Some(act) => act,
                },
                delivery = consumer.next() => {
                    let Some(delivery) = delivery? else {
                        stage.say(What::Ended, "no more can come");
                        stage.stop().await;
                        break;
                    };
                    let (text, attempt) = (text(&delivery.item), delivery.attempt);
                    stage.event(Event { attempt: Some(attempt), ..Event::new(What::Received, text.clone()) });
                    open.push_back(Delivery { item: text, attempt, receipt: delivery.receipt });
                    continue;
                }
            },
        };
        if !matches!(act, Act::Ack | Act::Nack) {
            stage.cannot(&act);
            continue;
        }
        let Some(delivery) = open.pop_front() else {
            stage.say(What::Failed, "nothing waits to be settled");
            continue;
        };
        let what = match act {
            Act::Ack => {
                if let Some(results) = &mut results {
                    let result = format!("{} did: {}", stage.init.role(), delivery.item);
                    results.put(result.clone().into()).await?;
                    results.flush().await?;
                    stage.event(Event {
                        about: Some(delivery.item.clone()),
                        ..Event::new(What::Written, result)
                    });
                }
                consumer.ack(delivery.receipt).await.map(|()| What::Acked)
            }
            _ => consumer.nack(delivery.receipt).await.map(|()| What::Nacked),
        };
        match what {
            Ok(what) => {
                consumer.flush().await?;
                stage.event(Event { attempt: Some(delivery.attempt), ..Event::new(what, delivery.item) });
            }
            Err(error) => stage.say(What::Failed, format!("{error:#}")),
        }
    }
    consumer.close().await.context("while leaving")?;
    match results {
        Some(results) => results.0.close().await,
        None => Ok(()),
    }
}
