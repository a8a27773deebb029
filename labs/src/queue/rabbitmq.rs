//! A queue on RabbitMQ: a durable queue, persistent messages, publisher
//! confirms on one side and acks on the other. All four are needed: take one
//! away, kill the broker, and count.
//!
//! RabbitMQ confirms a message when it is on disk. It keeps at most `prefetch`
//! deliveries unacked at a consumer, and gives them to another when the
//! consumer's connection is gone; such a message, and one that was nacked, is
//! flagged as redelivered: its attempt is 2.
//!
//! Survives: kill -9 of a consumer, at once; of the broker; a power cut, as far
//! as the disk keeps its word. Some messages may come twice.
//!
//! Run it: `just lab queue-rabbitmq`. Watch it: `rabbitmqctl list_queues name messages_unacknowledged`.

use anyhow::Result;
use bytes::Bytes;
use lapin::BasicProperties;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::queue::{Consumer, Delivery, Producer, Queue};
use crate::wire::amqp::{self, Inbox, Link};

const DELIVERY_MODE: Knob = Knob::new(
    "delivery-mode",
    2,
    "2: a message is written to disk; 1: it may stay in memory, and be lost with it.",
);

/// A durable queue behind the default exchange.
pub struct RabbitMq {
    place: Place,
}

impl Lab for RabbitMq {
    const TRANSPORT: &'static str = "rabbitmq";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[DELIVERY_MODE];

    async fn open(place: &Place) -> Result<Self> {
        let link = Link::to(place).await?;
        link.declare(&place.name(), true).await?;
        link.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_queue(place, &place.name()).await
    }
}

impl Queue for RabbitMq {
    type Producer = QueueProducer;
    type Consumer = QueueConsumer;

    async fn producer(&self) -> Result<QueueProducer> {
        let mode = u8::try_from(self.place.knob(DELIVERY_MODE))?;
        QueueProducer::join(&self.place, BasicProperties::default().with_delivery_mode(mode)).await
    }

    async fn consumer(&self, prefetch: u16) -> Result<QueueConsumer> {
        QueueConsumer::join(&self.place, prefetch).await
    }
}

/// Publishes to the queue, and waits for the confirmation of each message.
pub struct QueueProducer {
    link: Link,
    queue: String,
    properties: BasicProperties,
}

impl QueueProducer {
    pub(crate) async fn join(place: &Place, properties: BasicProperties) -> Result<Self> {
        let link = Link::to(place).await?;
        amqp::confirm(&link.channel).await?;
        Ok(Self { link, queue: place.name(), properties })
    }
}

impl Producer for QueueProducer {
    async fn send(&self, body: Bytes) -> Result<()> {
        let (channel, queue) = (&self.link.channel, self.queue.as_str().into());
        amqp::publish_confirmed(channel, "".into(), queue, &body, self.properties.clone()).await
    }

    async fn close(self) -> Result<()> {
        self.link.close().await
    }
}

/// Consumes from the queue; a receipt is the delivery's tag.
pub struct QueueConsumer {
    inbox: Inbox,
}

impl QueueConsumer {
    pub(crate) async fn join(place: &Place, prefetch: u16) -> Result<Self> {
        Ok(Self { inbox: Inbox::new(Link::to(place).await?, &place.name(), prefetch).await? })
    }
}

impl Consumer for QueueConsumer {
    type Item = Bytes;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, u64>>> {
        let delivery = self.inbox.next().await?;
        let (attempt, receipt) = (amqp::attempt(&delivery), delivery.delivery_tag);
        Ok(Some(Delivery { item: delivery.data.into(), attempt, receipt }))
    }

    async fn ack(&mut self, receipt: u64) -> Result<()> {
        self.inbox.ack(receipt).await
    }

    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.inbox.nack(receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.inbox.flush().await
    }

    async fn close(self) -> Result<()> {
        self.inbox.close().await
    }
}
