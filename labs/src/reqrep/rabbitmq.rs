//! Request/reply over RabbitMQ: one queue of requests on which responders
//! compete; the return address and the correlation identifier travel in the
//! properties that AMQP has for them, `reply-to` and `correlation-id`.
//!
//! The return address is RabbitMQ's direct reply-to: no queue at all, but a
//! way back to the requester's channel, so replies are routed and not stored.
//! A request that has no queue to go to comes back (`mandatory`) and is an error.
//! Promises: a reply reaches the `ask` it answers or nobody. Loses: a request
//! whose responder dies, and a reply whose requester has gone, so a caller who
//! must not wait for ever needs a timeout.
//!
//! Run it: `just lab reqrep-rabbitmq`.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Consumer};
use tokio::task::JoinHandle;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::ReturnAddress;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::amqp::{self, Link, Outbox};

/// RabbitMQ's name for "back to the channel that published this".
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// How often the client is asked for requests that came back.
const LOOK: Duration = Duration::from_millis(50);

/// A reply, or what RabbitMQ says of a request that cannot be answered.
type Replies = Pending<Result<Bytes>>;

/// A transient queue of requests.
pub struct RabbitMq {
    place: Place,
}

impl Lab for RabbitMq {
    const TRANSPORT: &'static str = "rabbitmq";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        let link = Link::to(place).await?;
        link.declare(&place.name(), false).await?;
        link.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_queue(place, &place.name()).await
    }
}

impl RequestReply for RabbitMq {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = QueueRequester;
    type Responder = QueueResponder;

    async fn requester(&self) -> Result<QueueRequester> {
        let link = Link::to(&self.place).await?;
        let no_ack = BasicConsumeOptions { no_ack: true, ..Default::default() };
        // On the channel that publishes the requests, as direct reply-to demands.
        let replies = link.consume(DIRECT_REPLY_TO, no_ack).await?;
        let pending = Replies::default();
        let reader = tokio::spawn(read_replies(replies, pending.clone()));
        let returns = tokio::spawn(fail_returned(Channel::clone(&link.channel), pending.clone()));
        Ok(QueueRequester { link, requests: self.place.name(), pending, tasks: [reader, returns] })
    }

    async fn responder(&self) -> Result<QueueResponder> {
        let link = Link::to(&self.place).await?;
        let no_ack = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let requests = link.consume(&self.place.name(), no_ack).await?;
        let default_exchange = String::new();
        Ok(QueueResponder { requests, replies: Outbox::new(link, default_exchange) })
    }
}

/// Asks with a correlation identifier of its own for every request.
pub struct QueueRequester {
    link: Link,
    requests: String,
    pending: Replies,
    tasks: [JoinHandle<()>; 2],
}

impl Requester for QueueRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        let properties = BasicProperties::default()
            .with_reply_to(DIRECT_REPLY_TO.into())
            .with_correlation_id(ticket.id().to_string().into());
        let queue = self.requests.as_str().into();
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let publish = self.link.channel.basic_publish("".into(), queue, options, &request, properties);
        publish.await.context("cannot publish the request")?;
        Ok(Document(ticket.reply().await??))
    }
}

impl Drop for QueueRequester {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Answers from the shared queue, and publishes replies where the request says.
pub struct QueueResponder {
    requests: Consumer,
    replies: Outbox,
}

impl Responder for QueueResponder {
    type ReplyTo = ReturnAddress<ShortString, Option<ShortString>>;

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        loop {
            let request = amqp::next(&mut self.requests).await?;
            // What has no return address cannot be answered, and is dropped.
            if let Some(address) = request.properties.reply_to().clone() {
                let id = request.properties.correlation_id().clone();
                return Ok(Some((request.data.into(), ReturnAddress { address, id })));
            }
        }
    }

    /// Handed to the client's own thread, which writes it without being asked.
    async fn reply(&mut self, to: Self::ReplyTo, reply: Document) -> Result<()> {
        let mut properties = BasicProperties::default();
        if let Some(id) = to.id {
            properties = properties.with_correlation_id(id);
        }
        self.replies.publish(to.address.as_str(), reply.0, properties).await
    }
}

/// Hands every reply to the ask that waits for it.
async fn read_replies(mut replies: Consumer, pending: Replies) {
    while let Ok(reply) = amqp::next(&mut replies).await {
        let id = reply.properties.correlation_id().as_ref();
        if let Some(id) = id.and_then(|id| id.as_str().parse().ok()) {
            pending.hand_out(id, Ok(reply.data.into()));
        }
    }
    pending.close();
}

/// Fails every request that came back, by its own correlation identifier. The
/// client keeps what came back and tells nobody, so it has to be asked; that is
/// done from the side, and costs a request that is routed nothing.
async fn fail_returned(channel: Channel, pending: Replies) {
    loop {
        tokio::time::sleep(LOOK).await;
        // Without confirms there is nothing to wait for, whatever the name says.
        let Ok(returned) = channel.wait_for_confirms().await else { return };
        for request in returned {
            let id = request.delivery.properties.correlation_id().as_ref();
            if let Some(id) = id.and_then(|id| id.as_str().parse().ok()) {
                let (queue, why) = (request.delivery.routing_key.as_str(), request.reply_text.as_str());
                let error = anyhow!("RabbitMQ returned the request: there is no queue {queue} ({why})");
                pending.hand_out(id, Err(error));
            }
        }
    }
}
