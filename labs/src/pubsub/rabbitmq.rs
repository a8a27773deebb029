//! Publish/subscribe over RabbitMQ: a topic exchange compares the topic with
//! the binding of every subscriber's queue, word by word, and puts a copy into
//! each that matches.
//!
//! A subscriber's queue is its own (exclusive) and goes when it goes. Promises:
//! order per publisher, and that a subscriber is live when `subscriber`
//! returns. Loses: what is published while nobody is bound, and, for want of
//! confirms, what was on its way when a connection broke. A slow subscriber's
//! queue grows, in RabbitMQ and, since nothing is acked, in its own memory.
//!
//! Run it: `just lab pubsub-rabbitmq`. Watch it: `rabbitmqctl list_bindings`.

use anyhow::{Context, Result};
use bytes::Bytes;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Consumer};

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::amqp::{self, Link, Outbox};

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

    async fn open(place: &Place) -> Result<Self> {
        let link = Link::to(place).await?;
        link.declare_topics(&place.name(), false).await?;
        link.close().await?;
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
        Ok(TopicPublisher { outbox: Outbox::new(Link::to(&self.place).await?, self.place.name()) })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        TopicSubscriber::join(&self.place, filter).await
    }
}

/// Publishes with the topic as routing key.
pub struct TopicPublisher {
    outbox: Outbox,
}

impl Publisher for TopicPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.outbox.publish(topic.as_str(), body, BasicProperties::default()).await
    }

    /// More than written: RabbitMQ has routed it. It has confirmed nothing.
    async fn flush(&mut self) -> Result<()> {
        self.outbox.flush().await
    }

    async fn close(self) -> Result<()> {
        self.outbox.close().await
    }
}

/// Consumes from a queue of its own.
pub struct TopicSubscriber {
    consumer: Consumer,
    topics: TopicReader,
    _link: Link,
}

impl TopicSubscriber {
    pub(crate) async fn join(place: &Place, filter: &Filter) -> Result<Self> {
        let link = Link::to(place).await?;
        let ours = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        // RabbitMQ makes up a name for a queue that has none.
        let queue = link.channel.queue_declare("".into(), ours, FieldTable::default()).await;
        let queue = queue.context("cannot declare a queue of our own")?.name().clone();
        link.bind(queue.as_str(), &place.name(), filter).await?;
        let no_ack = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
        let consumer = link.consume(queue.as_str(), no_ack).await?;
        Ok(Self { consumer, topics: TopicReader::default(), _link: link })
    }
}

impl Subscriber for TopicSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        let delivery = amqp::next(&mut self.consumer).await?;
        let topic = self.topics.read(delivery.routing_key.as_str().as_bytes())?;
        Ok(Some(Event { topic, body: delivery.data.into() }))
    }
}
