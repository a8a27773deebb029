//! A queue on RabbitMQ: a durable queue, persistent messages, publisher confirms on one side and
//! acks on the other. All four are needed: take one away, kill the broker, and count.
//!
//! Wire: the producer publishes to the queue `PLACE` through the default exchange
//! (`basic.publish`), and the consumer consumes from it (`basic.consume`) and acks each delivery
//! (`basic.ack`). RabbitMQ delivers at most `prefetch` unacked messages to a consumer. One that has
//! failed is published again, behind the others, with a count of its own (`rabbitmq/retry.rs`); after
//! `max-attempts` failures it goes to the queue `PLACE.dead` instead.
//!
//! Confirms: a message when it is on disk, unless `delivery-mode` is 1. A message whose queue is
//! gone comes back (`mandatory`), which is an error of its `send`; the recovery layer declares the
//! queue again and repeats the message. Acks are batched, up to 128, until a `flush` or until
//! `next` has handed out all that has come.
//!
//! Survives: kill -9 of a consumer: its unacked messages go to another at once, when its connection
//! is gone. Kill -9 of RabbitMQ: confirmed messages are on disk. A power cut, if the disk really
//! stores what it says it has stored. A cut connection loses nothing: the recovery layer
//! (`labs/src/recovery/`) connects and joins again, and what was not confirmed or not acked is sent
//! again, and may come twice. After a restart of RabbitMQ the roles join again, too.
//!
//! Loses: messages that were not confirmed when the producer died. After a kill -9, RabbitMQ flags
//! all that it had as redelivered: it comes behind what is sent then, and counts as failed once.
//!
//! Run it: `just lab queue-rabbitmq`. Watch it:
//! `rabbitmqctl list_queues name messages_unacknowledged`.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::FutureExt as _;
use lapin::BasicProperties;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::{Consumer, Delivery, Depth, MAX_ATTEMPTS, Producer, Queue};
use crate::wire::amqp::{self, Acks, AmqpConnection};
use crate::wire::window::Window;
pub use dead::DeadQueue;
pub use retry::{RetryConsumer, UnsettledMessage};

pub(crate) mod dead;
mod retry;

const DURABLE_QUEUE: Knob =
    Knob::new("durable-queue", 1, "1: the queue survives a restart of RabbitMQ; 0: it does not.")
        .weaker_at(0, Guarantee::AtLeastOnce);
const DELIVERY_MODE: Knob = Knob::new(
    "delivery-mode",
    2,
    "2: a message is written to disk; 1: it may stay in memory, and be lost with it.",
)
.weaker_at(1, Guarantee::AtLeastOnce);

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
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[DELIVERY_MODE, DURABLE_QUEUE, MAX_ATTEMPTS];

    async fn open(place: &Place) -> Result<Self> {
        let connection = AmqpConnection::open(place).await?;
        // The first role to declare a queue creates it. A durable queue survives a restart of the
        // broker, and so do its persistent messages.
        let durable = place.knob(DURABLE_QUEUE) != 0;
        for (queue, durable) in [(place.name(), durable), (dead::dead(place), true)] {
            let options = QueueDeclareOptions { durable, ..Default::default() };
            let declare =
                connection.channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
            declare.await.with_context(|| format!("cannot declare the queue {queue}"))?;
        }
        connection.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_queue(place, &place.name()).await?;
        amqp::delete_queue(place, &dead::dead(place)).await
    }
}

impl Queue for RabbitMq {
    type Producer = QueueProducer;
    type Consumer = RetryConsumer;
    type DeadLetters = DeadQueue;

    async fn producer(&self) -> Result<QueueProducer> {
        // Delivery mode 2: persistent.
        let mode = amqp::delivery_mode(self.place.knob(DELIVERY_MODE))?;
        QueueProducer::join(&self.place, BasicProperties::default().with_delivery_mode(mode)).await
    }

    async fn consumer(&self, prefetch: u16) -> Result<RetryConsumer> {
        RetryConsumer::join(&self.place, prefetch).await
    }

    async fn dead_letters(&self) -> Result<DeadQueue> {
        DeadQueue::open(&self.place, 0).await
    }

    async fn depth(&self) -> Result<Option<Depth>> {
        amqp::depth(&self.place).await.map(Some)
    }
}

/// Publishes to the queue, and waits for the confirmation of each message.
pub struct QueueProducer {
    connection: AmqpConnection,
    queue: String,
    properties: BasicProperties,
}

impl QueueProducer {
    pub(crate) async fn join(place: &Place, properties: BasicProperties) -> Result<Self> {
        let connection = AmqpConnection::open(place).await?;
        // From now on, RabbitMQ confirms what is published on this channel.
        let select = connection.channel.confirm_select(ConfirmSelectOptions::default());
        select.await.context("RabbitMQ will not confirm")?;
        Ok(Self { connection, queue: place.name(), properties })
    }
}

impl Producer for QueueProducer {
    async fn send(&self, body: Bytes) -> Result<()> {
        // The default exchange, whose name is empty, knows queues by their names. Mandatory:
        // a message that has no queue to go to comes back, instead of being dropped.
        let (exchange, key) = ("".into(), self.queue.as_str().into());
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let publish =
            self.connection.channel.basic_publish(exchange, key, options, &body, self.properties.clone());
        let confirmation = publish.await.context("cannot publish")?;
        amqp::stored(confirmation.await.context("the message is not confirmed")?)
    }

    async fn close(self) -> Result<()> {
        self.connection.close().await
    }
}

/// Consumes from a queue; a receipt is the delivery's tag. Of attempts it knows what RabbitMQ says: their
/// number in a quorum queue, a flag in a classic one. `retry.rs` counts those of a classic queue.
pub struct QueueConsumer {
    connection: AmqpConnection,
    consumer: lapin::Consumer,
    acks: Acks,
    in_flight: Window,
}

impl QueueConsumer {
    pub(crate) async fn join(connection: AmqpConnection, queue: &str, prefetch: u16) -> Result<Self> {
        let prefetch = prefetch.max(1);
        // Before consuming, or the first deliveries would come without a limit.
        let limit = connection.channel.basic_qos(prefetch, BasicQosOptions::default());
        limit.await.context("cannot set the prefetch")?;
        // Without `no_ack`: RabbitMQ keeps each delivery until it is acked.
        let options = BasicConsumeOptions::default();
        let consume =
            connection.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let consumer = consume.await.with_context(|| format!("cannot consume from {queue}"))?;
        Ok(Self { connection, consumer, acks: Acks::of(prefetch), in_flight: amqp::window() })
    }

    /// The next delivery, as the client has it, and which attempt it is; acks that wait are
    /// written before this waits. Cancel-safe.
    pub(crate) async fn delivery(&mut self) -> Result<(lapin::message::Delivery, u32)> {
        loop {
            let delivery = match amqp::next(&mut self.consumer).now_or_never() {
                Some(delivery) => delivery?,
                None => {
                    self.write_acks().await?;
                    amqp::next(&mut self.consumer).await?
                }
            };
            if let Some(attempt) = amqp::attempt(&delivery) {
                return Ok((delivery, attempt));
            }
            // Nobody can say which attempt it is: it is skipped, and acked, or it would come again.
            self.connection.place.message_skipped("the header `x-delivery-count` is not a count");
            self.ack(delivery.delivery_tag).await?;
        }
    }

    /// Writes the acks that wait. `multiple` acks this delivery and all before it.
    async fn write_acks(&mut self) -> Result<()> {
        self.in_flight.room().await?;
        for (tag, multiple) in self.acks.due() {
            let channel = self.connection.channel.clone();
            self.in_flight.put(0, async move {
                channel.basic_ack(tag, BasicAckOptions { multiple }).await.context("cannot ack")
            })?;
        }
        Ok(())
    }
}

impl Consumer for QueueConsumer {
    type Item = Bytes;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, u64>>> {
        let (delivery, attempt) = self.delivery().await?;
        Ok(Some(Delivery { item: delivery.data.into(), attempt, receipt: delivery.delivery_tag }))
    }

    async fn ack(&mut self, receipt: u64) -> Result<()> {
        if self.acks.ack(receipt) { self.write_acks().await } else { Ok(()) }
    }

    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.in_flight.room().await?;
        self.acks.nacked(receipt);
        let channel = self.connection.channel.clone();
        self.in_flight.put(0, async move {
            let options = BasicNackOptions { requeue: true, ..Default::default() };
            channel.basic_nack(receipt, options).await.context("cannot nack")
        })
    }

    async fn flush(&mut self) -> Result<()> {
        self.write_acks().await?;
        self.in_flight.drain().await?;
        self.connection.barrier().await
    }

    /// What was delivered here and not acked goes back to the queue.
    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        let cancel = self.connection.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        cancel.await.context("cannot cancel")?;
        self.connection.close().await
    }
}
