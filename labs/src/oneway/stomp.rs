//! One-way over STOMP: the sender's SEND frames go to `/queue/NAME`, which
//! RabbitMQ's plugin makes an AMQP queue; the receiver subscribes to it with
//! `ack:auto`, which means without acks.
//!
//! Text all the way: `nc` and a keyboard can stand on either end. Promises:
//! order per sender, and that a message waits for a receiver who is late or
//! slow, in RabbitMQ. Loses: what was on its way when a side dies, for it is
//! forgotten when it has been written; all that waits when RabbitMQ dies.
//!
//! Run it: `just lab oneway-stomp`. Watch it: `rabbitmqctl list_queues`.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::amqp;
use crate::wire::stomp::inbox::Inbox;
use crate::wire::stomp::link;
use crate::wire::stomp::outbox::Outbox;

/// A queue of messages that are not persistent.
pub struct Stomp {
    place: Place,
}

impl Lab for Stomp {
    const TRANSPORT: &'static str = "stomp";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;

    /// Nothing to declare: the first to send or subscribe makes the queue.
    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// Over AMQP: STOMP has no word for deleting a queue.
    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_queue(place, &place.name()).await
    }
}

impl OneWay for Stomp {
    type Sender = QueueSender;
    type Receiver = QueueReceiver;

    async fn sender(&self) -> Result<QueueSender> {
        QueueSender::to(&self.place).await
    }

    async fn receiver(&self) -> Result<QueueReceiver> {
        Ok(QueueReceiver { inbox: Inbox::subscribe(&self.place, &link::queue(&self.place)).await? })
    }
}

/// Sends to the queue of a place.
pub struct QueueSender {
    outbox: Outbox,
    queue: String,
}

impl QueueSender {
    pub(crate) async fn to(place: &Place) -> Result<Self> {
        Ok(Self { outbox: Outbox::to(place).await?, queue: link::queue(place) })
    }
}

impl Sender for QueueSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.outbox.send(self.queue.clone(), body).await
    }

    /// More than written: the receipt of the last message says that the queue
    /// has all of them, in memory.
    async fn flush(&mut self) -> Result<()> {
        self.outbox.flush().await
    }

    async fn close(self) -> Result<()> {
        self.outbox.close().await
    }
}

/// Subscribed to the queue.
pub struct QueueReceiver {
    inbox: Inbox,
}

impl Receiver for QueueReceiver {
    /// Never `None`: a queue does not know who may still send.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(self.inbox.next().await?.body))
    }
}
