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
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Consumer, ExchangeKind};

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic};
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
        let (options, arguments) = (ExchangeDeclareOptions::default(), FieldTable::default());
        let declare =
            link.channel.exchange_declare(place.name().into(), ExchangeKind::Topic, options, arguments);
        declare.await.context("cannot declare the exchange")?;
        link.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        let link = Link::to(place).await?;
        let delete = link.channel.exchange_delete(place.name().into(), ExchangeDeleteOptions::default());
        delete.await.context("cannot delete the exchange")?;
        link.close().await
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
        let binding = match filter {
            Filter::Exact(topic) => topic.as_str(),
            Filter::Words(pattern) => pattern,
            _ => "#",
        };
        let link = Link::to(&self.place).await?;
        let ours = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        // RabbitMQ makes up a name for a queue that has none.
        let queue = link.channel.queue_declare("".into(), ours, FieldTable::default()).await;
        let queue = queue.context("cannot declare a queue of our own")?.name().clone();
        let exchange = self.place.name().into();
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bind = link.channel.queue_bind(queue.clone(), exchange, binding.into(), options, arguments);
        bind.await.with_context(|| format!("cannot bind {filter}"))?;
        let no_ack = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
        let consumer = link.consume(queue.as_str(), no_ack).await?;
        Ok(TopicSubscriber { consumer, latest: Topic::new("none")?, _link: link })
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
    /// Events on one topic come in runs: its text is checked once a run.
    latest: Topic,
    _link: Link,
}

impl Subscriber for TopicSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        let delivery = amqp::next(&mut self.consumer).await?;
        if delivery.routing_key.as_str() != self.latest.as_str() {
            self.latest = Topic::new(delivery.routing_key.as_str())?;
        }
        Ok(Some(Event { topic: self.latest.clone(), body: delivery.data.into() }))
    }
}
