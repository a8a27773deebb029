//! One-way over RabbitMQ: the sender publishes to the default exchange, which
//! routes to the queue of that name; the receiver consumes from the queue.
//!
//! No confirms and no acks: each side forgets a message when it has passed it
//! on. Promises: order per sender, and that a message waits in the queue for a
//! receiver who is late. Loses: what was on its way when a side dies. Without
//! acks RabbitMQ pushes as fast as the socket takes it: what a slow receiver
//! has not handled waits in its own memory.
//!
//! Run it: `just lab oneway-rabbitmq`. Watch it: `rabbitmqctl list_queues`.

use anyhow::Result;
use bytes::Bytes;
use lapin::options::BasicConsumeOptions;
use lapin::{BasicProperties, Consumer};

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::amqp::{self, Link, Outbox};

/// A transient queue behind the default exchange.
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

impl OneWay for RabbitMq {
    type Sender = QueueSender;
    type Receiver = QueueReceiver;

    async fn sender(&self) -> Result<QueueSender> {
        let default_exchange = String::new();
        let outbox = Outbox::new(Link::to(&self.place).await?, default_exchange);
        Ok(QueueSender { outbox, queue: self.place.name() })
    }

    async fn receiver(&self) -> Result<QueueReceiver> {
        let link = Link::to(&self.place).await?;
        let no_ack = BasicConsumeOptions { no_ack: true, ..Default::default() };
        Ok(QueueReceiver { consumer: link.consume(&self.place.name(), no_ack).await?, _link: link })
    }
}

/// Publishes to the queue.
pub struct QueueSender {
    outbox: Outbox,
    queue: String,
}

impl Sender for QueueSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.outbox.publish(&self.queue, body, BasicProperties::default()).await
    }

    /// More than written: RabbitMQ has routed it. It has confirmed nothing.
    async fn flush(&mut self) -> Result<()> {
        self.outbox.flush().await
    }

    async fn close(self) -> Result<()> {
        self.outbox.close().await
    }
}

/// Consumes from the queue.
pub struct QueueReceiver {
    consumer: Consumer,
    _link: Link,
}

impl Receiver for QueueReceiver {
    /// Never `None`: a queue does not know who may still publish.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(amqp::next(&mut self.consumer).await?.data.into()))
    }
}
