//! Publish/subscribe over RabbitMQ: a topic exchange, and a queue for every subscriber.
//!
//! Wire: the publisher publishes to the exchange `PLACE` (`basic.publish`, the topic is the routing
//! key). Each subscriber declares a queue of its own, binds it to the exchange with its filter
//! (`queue.bind`), and consumes without acks (`no_ack`). The exchange compares the topic with every
//! binding, word by word, and puts a copy into each queue that matches, in order for each
//! publisher.
//!
//! Confirms: a subscription: `subscriber` returns when RabbitMQ has confirmed the binding. Events
//! are not confirmed: `publish` returns when the client has accepted the event, and waits while
//! 1,024 of them, or 4 MiB, are not written; `flush` returns when RabbitMQ has routed all events.
//!
//! Survives: the death of a publisher or a subscriber: the others go on. A slow subscriber: its
//! queue grows in RabbitMQ and, because nothing is acked, in its own memory. After a cut connection
//! or a restart of RabbitMQ, the recovery layer (`labs/src/recovery/`) connects and joins again;
//! for the events, see Loses.
//!
//! Loses: what is published while a subscriber is away, also while it joins again; its queue, which
//! is deleted with its connection; what is on its way when a connection is cut or a side dies;
//! everything when RabbitMQ stops.
//!
//! Run it: `just lab pubsub-rabbitmq`. Watch it: `rabbitmqctl list_bindings`.

use anyhow::{Context, Result};
use bytes::Bytes;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Consumer, ExchangeKind};

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::amqp::{self, AmqpConnection};
use crate::wire::window::Window;

/// A topic exchange, and a queue for every subscriber.
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
        // The first role to declare the exchange creates it. Not durable: it goes with the broker.
        let (exchange, kind, options) =
            (place.name(), ExchangeKind::Topic, ExchangeDeclareOptions::default());
        let declare = connection.channel.exchange_declare(
            exchange.as_str().into(),
            kind,
            options,
            FieldTable::default(),
        );
        declare.await.with_context(|| format!("cannot declare the exchange {exchange}"))?;
        connection.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_exchange(place).await
    }
}

impl PubSub for RabbitMq {
    const FILTERS: &'static [FilterKind] = &[FilterKind::All, FilterKind::Exact, FilterKind::Words];
    type Publisher = TopicPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<TopicPublisher> {
        let connection = AmqpConnection::open(&self.place).await?;
        Ok(TopicPublisher { connection, exchange: self.place.name(), in_flight: amqp::window() })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        TopicSubscriber::join(&self.place, filter).await
    }
}

/// Publishes with the topic as routing key, with many events in flight.
pub struct TopicPublisher {
    connection: AmqpConnection,
    exchange: String,
    in_flight: Window,
}

impl Publisher for TopicPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.in_flight.room().await?;
        let (channel, bytes) = (self.connection.channel.clone(), body.len());
        let (exchange, key) = (ShortString::from(self.exchange.as_str()), ShortString::from(topic.as_str()));
        self.in_flight.put(bytes, async move {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let published = channel.basic_publish(exchange, key, options, &body, properties).await;
            // The event is written. Without publisher confirms there is nothing more to wait for.
            published.map(drop).context("cannot publish")
        })
    }

    /// More than written: RabbitMQ has routed every event. It has confirmed nothing.
    async fn flush(&mut self) -> Result<()> {
        self.in_flight.drain().await?;
        self.connection.barrier().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.connection.close().await
    }
}

/// Consumes from a queue of its own, without acks.
pub struct TopicSubscriber {
    consumer: Consumer,
    topics: TopicReader,
    _connection: AmqpConnection,
}

impl TopicSubscriber {
    /// Also the plain subscriber of `durable/rabbitmq.rs`.
    pub(crate) async fn join(place: &Place, filter: &Filter) -> Result<Self> {
        let connection = AmqpConnection::open(place).await?;
        let channel = &connection.channel;
        // RabbitMQ makes up a name for a queue that is declared without one.
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let declare = channel.queue_declare("".into(), options, FieldTable::default()).await;
        let queue = declare.context("cannot declare a queue of our own")?.name().clone();
        // In a binding of a topic exchange, `*` is any one word, and `#` any number of words.
        let binding = match filter {
            Filter::Exact(topic) => topic.as_str(),
            Filter::Words(pattern) => pattern,
            _ => "#",
        };
        let (exchange, options) = (place.name(), QueueBindOptions::default());
        let bind = channel.queue_bind(
            queue.as_str().into(),
            exchange.as_str().into(),
            binding.into(),
            options,
            FieldTable::default(),
        );
        bind.await.with_context(|| format!("cannot bind {filter}"))?;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
        let consume = channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default());
        let consumer = consume.await.with_context(|| format!("cannot consume from {queue}"))?;
        Ok(Self { consumer, topics: TopicReader::new(place), _connection: connection })
    }
}

impl Subscriber for TopicSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let delivery = amqp::next(&mut self.consumer).await?;
            // A routing key of another program need not be a topic: such a message is skipped.
            if let Some(topic) = self.topics.read(delivery.routing_key.as_str().as_bytes()) {
                return Ok(Some(Event { topic, body: delivery.data.into() }));
            }
        }
    }
}
