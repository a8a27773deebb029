//! Durable subscribers on RabbitMQ: the topic exchange of `pubsub/rabbitmq.rs`,
//! and for every identifier a durable queue of its own, which is bound and
//! filled whether anybody consumes from it or not.
//!
//! Exchange, queue and binding are durable, messages persistent, and the
//! publisher waits for confirms, of which many are on their way. What was not
//! acked when a subscriber went comes again, flagged: its attempt is 2. Every
//! subscriber has a copy of its own, so one that stays away costs disk; forget it.
//!
//! Survives: kill -9 of a subscriber, at once; of the broker; a power cut, as
//! far as the disk keeps its word. Some events may come twice.
//!
//! Run it: `just lab durable-rabbitmq`. Watch it: `rabbitmqctl list_queues name messages`.

use anyhow::Result;
use bytes::Bytes;
use lapin::BasicProperties;

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::rabbitmq::TopicSubscriber;
use crate::pubsub::{self, Event, PubSub, Publisher};
use crate::queue::rabbitmq::QueueConsumer;
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::amqp::{self, Link, Outbox};

const PREFETCH: Knob = Knob::new("prefetch", 256, "Deliveries a subscriber may hold unsettled.");
const DELIVERY_MODE: Knob = Knob::new(
    "delivery-mode",
    2,
    "2: an event is written to disk; 1: it may stay in memory, and be lost with it.",
);

/// A durable topic exchange, and a durable queue for every durable subscriber.
pub struct RabbitMq {
    place: Place,
}

impl Lab for RabbitMq {
    const TRANSPORT: &'static str = "rabbitmq";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[PREFETCH, DELIVERY_MODE];

    async fn open(place: &Place) -> Result<Self> {
        let link = Link::to(place).await?;
        link.declare_topics(&place.name(), true).await?;
        link.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_exchange(place).await
    }
}

impl PubSub for RabbitMq {
    const FILTERS: &'static [FilterKind] = pubsub::rabbitmq::RabbitMq::FILTERS;
    type Publisher = ConfirmingPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<ConfirmingPublisher> {
        let mode = u8::try_from(self.place.knob(DELIVERY_MODE))?;
        let outbox = Outbox::confirming(Link::to(&self.place).await?, self.place.name()).await?;
        Ok(ConfirmingPublisher { outbox, properties: BasicProperties::default().with_delivery_mode(mode) })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        TopicSubscriber::join(&self.place, filter).await
    }
}

impl DurablePubSub for RabbitMq {
    type Durable = DurableSubscriber;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<DurableSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let (link, queue) = (Link::to(&self.place).await?, self.queue_of(id));
        link.declare(&queue, true).await?;
        link.bind(&queue, &self.place.name(), filter).await?;
        let prefetch = u16::try_from(self.place.knob(PREFETCH)).unwrap_or(u16::MAX);
        Ok(DurableSubscriber {
            queue: QueueConsumer::join(link, &queue, prefetch).await?,
            topics: TopicReader::default(),
        })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        amqp::delete_queue(&self.place, &self.queue_of(id)).await
    }
}

impl RabbitMq {
    fn queue_of(&self, id: &str) -> String {
        format!("{}.{id}", self.place.name())
    }
}

/// Publishes with the topic as routing key, and waits for confirms.
pub struct ConfirmingPublisher {
    outbox: Outbox,
    properties: BasicProperties,
}

impl Publisher for ConfirmingPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.outbox.publish(topic.as_str(), body, self.properties.clone()).await
    }

    /// Confirmed: every queue that wants it has it, on disk if the queue is durable.
    async fn flush(&mut self) -> Result<()> {
        self.outbox.flush().await
    }

    async fn close(self) -> Result<()> {
        self.outbox.close().await
    }
}

/// Consumes from the queue that bears its identifier, as consumers of `queue/rabbitmq.rs` do.
pub struct DurableSubscriber {
    queue: QueueConsumer,
    topics: TopicReader,
}

impl Consumer for DurableSubscriber {
    type Item = Event;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Event, u64>>> {
        let delivery = self.queue.delivery().await?;
        let topic = self.topics.read(delivery.routing_key.as_str().as_bytes())?;
        let (attempt, receipt) = (amqp::attempt(&delivery), delivery.delivery_tag);
        Ok(Some(Delivery { item: Event { topic, body: delivery.data.into() }, attempt, receipt }))
    }

    async fn ack(&mut self, receipt: u64) -> Result<()> {
        self.queue.ack(receipt).await
    }

    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.queue.nack(receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.queue.flush().await
    }

    async fn close(self) -> Result<()> {
        self.queue.close().await
    }
}
