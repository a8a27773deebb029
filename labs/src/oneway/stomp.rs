//! One-way over STOMP: a RabbitMQ queue, in frames of text that `nc` and a keyboard can write, too.
//!
//! Wire: the sender writes SEND frames with the destination `/queue/PLACE`, which RabbitMQ's STOMP
//! plugin maps to an AMQP queue of that name. The receiver subscribes to it (SUBSCRIBE with
//! `ack:auto`, which means without acks) and reads MESSAGE frames, in order for each sender.
//! (`remove` deletes the queue over AMQP, because STOMP cannot.)
//!
//! Confirms: only that RabbitMQ has a message. The last SEND before a `flush` asks for a RECEIPT
//! frame; RabbitMQ serves a connection in order, so this frame says that the queue has all
//! messages, in memory. `send` returns when the frame is in a buffer, and waits while 256 KiB are
//! not written.
//!
//! Survives: a receiver that is late, is slow or dies: what was not written to it waits in
//! RabbitMQ. After a cut connection or a restart of RabbitMQ, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the messages, see Loses.
//!
//! Loses: what is on its way when a connection is cut or a side dies, because RabbitMQ forgets a
//! message when it has written it; everything in the queue when RabbitMQ stops, because the
//! messages are not persistent.
//!
//! Run it: `just lab oneway-stomp`. Watch it: `rabbitmqctl list_queues`.

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::amqp;
use crate::wire::stomp::{self, Command, ConsumerConnection, ProducerConnection};

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
    const RECOVERY: Recovery = Recovery::Ours;

    /// STOMP cannot declare a queue: RabbitMQ creates it for the first who sends or subscribes.
    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// Over AMQP: STOMP cannot delete a queue.
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
        let (queue, prefetch) = (stomp::queue(&self.place), 0);
        let mut connection = ConsumerConnection::open(&self.place, prefetch).await?;
        let subscribe = [("destination", queue.as_str()), ("ack", "auto"), ("id", "0")];
        connection.request(Command::Subscribe, &subscribe).await.context("cannot subscribe")?;
        Ok(QueueReceiver { connection })
    }
}

/// Sends to the queue of a place. Also the sending end of `pipeline/stomp.rs`.
pub struct QueueSender {
    connection: ProducerConnection,
    queue: String,
    /// The message that was accepted last. It is kept back, because a flush asks for its
    /// RECEIPT frame.
    last: Option<Bytes>,
}

impl QueueSender {
    pub(crate) async fn to(place: &Place) -> Result<Self> {
        let connection = ProducerConnection::open(place).await?;
        Ok(Self { connection, queue: stomp::queue(place), last: None })
    }
}

impl Sender for QueueSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.connection.room().await?;
        match self.last.replace(body) {
            Some(before) => self.connection.put(Command::Send, &[("destination", &self.queue)], &before),
            None => Ok(()),
        }
    }

    /// More than written: the RECEIPT frame of the last message says that the queue has all of them,
    /// in memory.
    async fn flush(&mut self) -> Result<()> {
        if let Some(last) = self.last.take() {
            self.connection.put_in_flight(Command::Send, &[("destination", &self.queue)], &last)?;
        }
        self.connection.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.connection.close().await
    }
}

/// Subscribed to the queue.
pub struct QueueReceiver {
    connection: ConsumerConnection,
}

impl Receiver for QueueReceiver {
    /// Never `None`: a queue does not know who may still send.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(self.connection.next().await?.body))
    }
}
