//! A queue over STOMP: a durable queue of RabbitMQ, in frames of text.
//!
//! Wire: the producer writes SEND frames to `/queue/PLACE` with `persistent:true` and `receipt`. The
//! consumer subscribes with `ack:client-individual` and `prefetch-count`, which bounds its unacked
//! deliveries, and answers each MESSAGE with ACK. One that has failed is sent again, behind the
//! others, with a count of its own (`stomp/retry.rs`); after `max-attempts` failures it goes to
//! `/queue/PLACE.dead` instead. (Deleting a queue, and reading the dead letters without taking them,
//! is done over AMQP, because STOMP cannot.)
//!
//! Confirms: a message with the RECEIPT frame of its SEND, which comes when the message is on disk,
//! unless `persistent` is 0. Every SEND asks for a RECEIPT frame of its own, because of two messages
//! the later may be on disk first.
//!
//! Survives: kill -9 of a consumer: its unacked deliveries go to another at once, when its connection
//! is gone. Kill -9 of RabbitMQ: confirmed messages are on disk. A power cut, if the disk really
//! stores what it says it has stored. A cut connection loses nothing: the recovery layer
//! (`labs/src/recovery/`) connects and joins again, and what was not confirmed or not acked is sent
//! again, and may come twice. After a restart of RabbitMQ the roles join again, too.
//!
//! Loses: messages that were not confirmed when the producer died; a confirmed message whose queue
//! somebody had deleted, because STOMP has no `mandatory`, and the RECEIPT frame comes even then.
//! After a kill -9, RabbitMQ flags all that it had as redelivered: it comes behind what is sent then,
//! and counts as failed once.
//!
//! Run it: `just lab queue-stomp`. Watch it: `rabbitmqctl list_stomp_connections`.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use lapin::types::FieldTable;
use tokio::sync::{Mutex, Semaphore};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::rabbitmq::dead::{self, DeadQueue};
use crate::queue::{Consumer, Delivery, MAX_ATTEMPTS, Producer, Queue};
use crate::wire::amqp::{self, AmqpConnection};
use crate::wire::stomp::{self, Command, ConsumerConnection, Frame, ProducerConnection};
pub use retry::{RetryConsumer, UnsettledMessage};

mod retry;

/// 0 leaves the header out: `persistent:false` would ask for a queue that is not durable.
const PERSISTENT: Knob = Knob::new(
    "persistent",
    1,
    "1: a message is written to disk; 0: it may stay in memory, and be lost with it.",
)
.weaker_at(0, Guarantee::AtLeastOnce);
const IN_FLIGHT: Knob = Knob::new(
    "in-flight",
    4096,
    "Messages sent whose receipts have not come before the next one has to wait.",
);

/// A durable queue.
pub struct Stomp {
    place: Place,
}

impl Lab for Stomp {
    const TRANSPORT: &'static str = "stomp";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[PERSISTENT, IN_FLIGHT, MAX_ATTEMPTS];

    /// STOMP cannot declare a queue: RabbitMQ creates it for the first who sends or subscribes.
    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// Over AMQP: STOMP cannot delete a queue.
    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_queue(place, &place.name()).await?;
        amqp::delete_queue(place, &dead::dead(place)).await
    }
}

impl Queue for Stomp {
    type Producer = QueueProducer;
    type Consumer = RetryConsumer;
    type DeadLetters = DeadQueue;

    async fn producer(&self) -> Result<QueueProducer> {
        Ok(QueueProducer {
            connection: ProducerConnection::open(&self.place).await?,
            queue: stomp::queue(&self.place),
            persistent: self.place.knob(PERSISTENT) > 0,
            in_flight: Semaphore::new(self.place.knob(IN_FLIGHT).max(1)),
            turn: Mutex::default(),
        })
    }

    async fn consumer(&self, prefetch: u16) -> Result<RetryConsumer> {
        RetryConsumer::join(&self.place, prefetch, self.place.knob(PERSISTENT) > 0).await
    }

    /// Over AMQP, which can read a message and put it back. A message that is returned needs its queue.
    async fn dead_letters(&self) -> Result<DeadQueue> {
        let connection = AmqpConnection::open(&self.place).await?;
        amqp::declare_queue(&connection.channel, &self.place.name(), FieldTable::default()).await?;
        connection.close().await?;
        DeadQueue::open(&self.place, 0).await
    }
}

/// Sends to the queue, and waits for the RECEIPT frame of each message.
pub struct QueueProducer {
    connection: ProducerConnection,
    queue: String,
    persistent: bool,
    in_flight: Semaphore,
    /// Sends that start at once wait for room one after the other, so that they keep their order.
    turn: Mutex<()>,
}

impl Producer for QueueProducer {
    async fn send(&self, body: Bytes) -> Result<()> {
        let turn = self.turn.lock().await;
        let _permit = self.in_flight.acquire().await.context("closed")?;
        let headers = [("destination", self.queue.as_str()), ("persistent", "true")];
        let headers = if self.persistent { &headers[..] } else { &headers[..1] };
        self.connection.room().await?;
        let receipt = self.connection.put_for_receipt(Command::Send, headers, &body)?;
        self.connection.write();
        drop(turn);
        receipt.await.context("the message is not confirmed")
    }

    async fn close(self) -> Result<()> {
        self.connection.close().await
    }
}

/// Subscribed with acks; a receipt is the MESSAGE's `ack` header. Of attempts it knows only whether this
/// is the first; `retry.rs` counts them.
pub struct QueueConsumer {
    connection: ConsumerConnection,
}

impl QueueConsumer {
    /// Also the receiving end of `pipeline/stomp.rs`.
    pub(crate) async fn join(place: &Place, prefetch: u16) -> Result<Self> {
        let prefetch = prefetch.max(1);
        let (queue, count) = (stomp::queue(place), prefetch.to_string());
        let mut connection = ConsumerConnection::open(place, prefetch).await?;
        let subscribe = [
            ("destination", queue.as_str()),
            ("ack", "client-individual"),
            ("prefetch-count", &count),
            ("id", "0"),
        ];
        connection.request(Command::Subscribe, &subscribe).await.context("cannot subscribe")?;
        Ok(Self { connection })
    }
}

impl Consumer for QueueConsumer {
    type Item = Bytes;
    type Receipt = String;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, String>>> {
        let message = self.connection.next().await?;
        let (attempt, receipt) = attempt_and_receipt(&message)?;
        Ok(Some(Delivery { item: message.body, attempt, receipt }))
    }

    async fn ack(&mut self, receipt: String) -> Result<()> {
        self.connection.settle(Command::Ack, receipt).await
    }

    async fn nack(&mut self, receipt: String) -> Result<()> {
        self.connection.settle(Command::Nack, receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.connection.flush().await
    }

    async fn close(self) -> Result<()> {
        self.connection.close().await
    }
}

/// Which attempt a MESSAGE is, and the receipt that settles it: its `ack` header.
pub(crate) fn attempt_and_receipt(message: &Frame) -> Result<(u32, String)> {
    let redelivered = message.header("redelivered").is_some_and(|redelivered| redelivered == "true");
    let receipt = message.header("ack").context("a MESSAGE that cannot be acked")?;
    Ok((if redelivered { 2 } else { 1 }, receipt.into_owned()))
}
