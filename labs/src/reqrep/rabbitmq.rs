//! Request/reply over RabbitMQ: one queue of requests that responders compete for, and RabbitMQ's
//! *direct reply-to* for the replies.
//!
//! Wire: a requester publishes to the queue `PLACE` (`basic.publish` to the default
//! exchange) with AMQP's own properties `reply-to` and `correlation-id`. A responder consumes from
//! it (`basic.consume` with `no_ack`) and publishes the reply to the address in `reply-to`, with
//! the same `correlation-id`. The address is `amq.rabbitmq.reply-to`: not a queue but a route to
//! the channel that published the request, so replies are routed and not stored.
//!
//! Confirms: a request by its reply, and by nothing before; `ask` waits for it without a limit. A
//! request whose queue is gone comes back (`mandatory`), and its `ask` ends with an error.
//!
//! Survives: a responder that is late or dies: requests that were not delivered to it wait for
//! another. A requester that gives up: its reply reaches nobody. After a cut connection or a
//! restart of RabbitMQ, the recovery layer (`labs/src/recovery/`) connects and joins again; for the
//! requests, see Loses.
//!
//! Loses: requests that were delivered to a responder when it died or its connection was cut:
//! nothing is acked, and a slow responder may have many, because RabbitMQ sends them without a
//! limit. Their `ask` waits for ever, unless the caller sets a timeout. When a requester loses its
//! connection, each open `ask` ends with `ConnectionLost`: the recovery layer does not ask again.
//! Everything in the queue when RabbitMQ stops. (The queue is durable, because some brokers allow
//! no transient queue that several connections use; its messages are not.)
//!
//! Run it: `just lab reqrep-rabbitmq`. Watch it: `rabbitmqctl list_queues name messages`.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer};
use tokio::task::JoinHandle;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::ReturnAddress;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::amqp::{self, AmqpConnection};
use crate::wire::window::Window;

/// RabbitMQ's name for "back to the channel that published this".
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// How often the client is asked for requests that came back.
const LOOK: Duration = Duration::from_millis(50);

/// A reply, or what RabbitMQ says of a request that cannot be answered.
type Replies = Pending<Result<Bytes>>;

/// A queue of requests.
pub struct RabbitMq {
    place: Place,
}

impl Lab for RabbitMq {
    const TRANSPORT: &'static str = "rabbitmq";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;

    async fn open(place: &Place) -> Result<Self> {
        let connection = AmqpConnection::open(place).await?;
        // The first role to declare the queue creates it.
        let (queue, options) = (place.name(), QueueDeclareOptions { durable: true, ..Default::default() });
        let declare = connection.channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        declare.await.with_context(|| format!("cannot declare the queue {queue}"))?;
        connection.close().await?;
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
        let connection = AmqpConnection::open(&self.place).await?;
        // On the channel that publishes the requests, as direct reply-to demands.
        let no_ack = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consume = connection.channel.basic_consume(
            DIRECT_REPLY_TO.into(),
            "".into(),
            no_ack,
            FieldTable::default(),
        );
        let replies = consume.await.context("cannot consume replies")?;
        let pending = Replies::default();
        let reader = tokio::spawn(read_replies(replies, pending.clone(), self.place.clone()));
        let returns = tokio::spawn(fail_returned(Channel::clone(&connection.channel), pending.clone()));
        Ok(QueueRequester { connection, requests: self.place.name(), pending, tasks: [reader, returns] })
    }

    async fn responder(&self) -> Result<QueueResponder> {
        let connection = AmqpConnection::open(&self.place).await?;
        let (queue, no_ack) = (self.place.name(), BasicConsumeOptions { no_ack: true, ..Default::default() });
        let consume =
            connection.channel.basic_consume(queue.as_str().into(), "".into(), no_ack, FieldTable::default());
        let requests = consume.await.with_context(|| format!("cannot consume from {queue}"))?;
        Ok(QueueResponder { requests, connection, in_flight: amqp::window() })
    }
}

/// Asks with a correlation identifier of its own for every request.
pub struct QueueRequester {
    connection: AmqpConnection,
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
        let publish = self.connection.channel.basic_publish("".into(), queue, options, &request, properties);
        publish.await.context("cannot publish the request")?;
        Ok(Document(ticket.reply().await??))
    }
}

impl Drop for QueueRequester {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Answers requests from the shared queue, and publishes each reply to the request's `reply-to`.
pub struct QueueResponder {
    requests: Consumer,
    connection: AmqpConnection,
    /// Replies in flight.
    in_flight: Window,
}

impl Responder for QueueResponder {
    type ReplyTo = ReturnAddress<ShortString, Option<ShortString>>;

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        loop {
            let request = amqp::next(&mut self.requests).await?;
            if let Some(address) = request.properties.reply_to().clone() {
                let id = request.properties.correlation_id().clone();
                return Ok(Some((request.data.into(), ReturnAddress { address, id })));
            }
            self.connection.place.message_skipped("a request without `reply-to` cannot be answered");
        }
    }

    /// Handed to the client's own thread, which writes it without being asked.
    async fn reply(&mut self, to: Self::ReplyTo, reply: Document) -> Result<()> {
        let mut properties = BasicProperties::default();
        if let Some(id) = to.id {
            properties = properties.with_correlation_id(id);
        }
        self.in_flight.room().await?;
        let (channel, body) = (self.connection.channel.clone(), reply.0);
        self.in_flight.put(body.len(), async move {
            // To the default exchange, as the return address demands. Not mandatory: a requester
            // that has gone is not an error.
            let (exchange, options) = (ShortString::default(), BasicPublishOptions::default());
            let published = channel.basic_publish(exchange, to.address, options, &body, properties).await;
            // The reply is written. Without publisher confirms there is nothing more to wait for.
            published.map(drop).context("cannot publish")
        })
    }
}

/// Hands every reply to the ask that waits for it.
async fn read_replies(mut replies: Consumer, pending: Replies, place: Place) {
    while let Ok(reply) = amqp::next(&mut replies).await {
        let id = reply.properties.correlation_id().as_ref();
        let id = id.and_then(|id| id.as_str().parse().ok());
        pending.hand_out_or_skip(id, Ok(reply.data.into()), &place);
    }
    pending.close();
}

/// Fails every request that came back, by its own correlation identifier. The client library
/// keeps returned messages until somebody asks for them. This task asks, so that requests that
/// are routed cost nothing more.
async fn fail_returned(channel: Channel, pending: Replies) {
    loop {
        tokio::time::sleep(LOOK).await;
        // Despite its name it does not wait here, because this channel has no confirms: it only
        // returns the messages that came back.
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
