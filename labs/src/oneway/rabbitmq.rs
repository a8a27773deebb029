//! One-way over RabbitMQ: a queue of transient messages, without confirms and without acks.
//!
//! Wire: the sender publishes to the default exchange (`basic.publish`), which routes each message
//! to the queue named by its routing key, `PLACE`. The queue is durable, because some brokers allow
//! no transient queue that several connections use. The receiver consumes from it (`basic.consume`
//! with `no_ack`), in order for each sender.
//!
//! Confirms: nothing. `send` returns when the client has accepted the message, and waits while
//! 1,024 of them, or 4 MiB, are not written. `flush` returns when RabbitMQ has routed all messages:
//! it has answered a request that came after them.
//!
//! Survives: a receiver that is late or dies: what was not delivered waits in the queue. After a
//! cut connection or a restart of RabbitMQ, the recovery layer (`labs/src/recovery/`) connects and
//! joins again; for the messages, see Loses.
//!
//! Loses: what is on its way when a connection is cut or a side dies, because RabbitMQ forgets a
//! message when it has written it; everything in the queue when RabbitMQ stops. Under overload
//! nothing is dropped, but without acks there is no back-pressure: what a slow receiver has not
//! handled waits in its own memory, without a limit, and is lost with its connection.
//!
//! Run it: `just lab oneway-rabbitmq`. Watch it: `rabbitmqctl list_queues`.

use anyhow::{Context, Result};
use bytes::Bytes;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Consumer};

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::amqp::{self, AmqpConnection};
use crate::wire::window::Window;

/// A queue behind the default exchange.
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

impl OneWay for RabbitMq {
    type Sender = QueueSender;
    type Receiver = QueueReceiver;

    async fn sender(&self) -> Result<QueueSender> {
        let connection = AmqpConnection::open(&self.place).await?;
        Ok(QueueSender { connection, queue: self.place.name(), in_flight: amqp::window() })
    }

    async fn receiver(&self) -> Result<QueueReceiver> {
        let connection = AmqpConnection::open(&self.place).await?;
        let (queue, no_ack) = (self.place.name(), BasicConsumeOptions { no_ack: true, ..Default::default() });
        let consume =
            connection.channel.basic_consume(queue.as_str().into(), "".into(), no_ack, FieldTable::default());
        let consumer = consume.await.with_context(|| format!("cannot consume from {queue}"))?;
        Ok(QueueReceiver { consumer, _connection: connection })
    }
}

/// Publishes to the queue, with many messages in flight.
pub struct QueueSender {
    connection: AmqpConnection,
    queue: String,
    in_flight: Window,
}

impl Sender for QueueSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.in_flight.room().await?;
        let (channel, bytes) = (self.connection.channel.clone(), body.len());
        // The default exchange, whose name is empty, knows queues by their names.
        let (exchange, key) = (ShortString::default(), ShortString::from(self.queue.as_str()));
        self.in_flight.put(bytes, async move {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let published = channel.basic_publish(exchange, key, options, &body, properties).await;
            // The message is written. Without publisher confirms there is nothing more to wait for.
            published.map(drop).context("cannot publish")
        })
    }

    /// More than written: RabbitMQ has routed every message. It has confirmed nothing.
    async fn flush(&mut self) -> Result<()> {
        self.in_flight.drain().await?;
        self.connection.barrier().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.connection.close().await
    }
}

/// Consumes from the queue, without acks.
pub struct QueueReceiver {
    consumer: Consumer,
    _connection: AmqpConnection,
}

impl Receiver for QueueReceiver {
    /// Never `None`: a queue does not know who may still publish.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(amqp::next(&mut self.consumer).await?.data.into()))
    }
}
