//! A queue over STOMP: SEND with `persistent:true` and `receipt` on one side,
//! SUBSCRIBE with `ack:client-individual` and ACK or NACK on the other. In
//! RabbitMQ `/queue/NAME` is a durable queue, and the receipt of a SEND is its
//! confirm: it comes when the message is on disk.
//!
//! Every SEND asks for its own receipt, since of two messages the later may be
//! on disk first. At most `prefetch-count` deliveries are unacked at a consumer;
//! they go to another when its connection is gone. What comes again says
//! `redelivered:true`: its attempt is 2.
//!
//! Survives: kill -9 of a consumer, at once; of the broker; a power cut, as far
//! as the disk keeps its word. Some messages may come twice. A receipt also
//! comes for a message whose queue somebody has deleted: STOMP has no `mandatory`.
//!
//! Run it: `just lab queue-stomp`. Watch it: `rabbitmqctl list_stomp_connections`.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::queue::{Consumer, Delivery, Producer, Queue};
use crate::wire::amqp;
use crate::wire::stomp::inbox::Inbox;
use crate::wire::stomp::link;
use crate::wire::stomp::outbox::Outbox;
use crate::wire::stomp::{Command, Frame};

/// Never as `persistent:false`, which would ask for a queue that is not durable.
const PERSISTENT: Knob = Knob::new(
    "persistent",
    1,
    "1: a message is written to disk; 0: it may stay in memory, and be lost with it.",
);
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
    const KNOBS: &'static [Knob] = &[PERSISTENT, IN_FLIGHT];

    /// Nothing to declare: the first to send or subscribe makes the queue.
    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// Over AMQP: STOMP has no word for deleting a queue.
    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_queue(place, &place.name()).await
    }
}

impl Queue for Stomp {
    type Producer = QueueProducer;
    type Consumer = QueueConsumer;

    async fn producer(&self) -> Result<QueueProducer> {
        Ok(QueueProducer {
            outbox: Outbox::to(&self.place).await?,
            queue: link::queue(&self.place),
            persistent: self.place.knob(PERSISTENT) > 0,
            in_flight: Semaphore::new(self.place.knob(IN_FLIGHT).max(1)),
        })
    }

    async fn consumer(&self, prefetch: u16) -> Result<QueueConsumer> {
        QueueConsumer::join(&self.place, prefetch).await
    }
}

/// Sends to the queue, and waits for the receipt of each message.
pub struct QueueProducer {
    outbox: Outbox,
    queue: String,
    persistent: bool,
    in_flight: Semaphore,
}

impl Producer for QueueProducer {
    async fn send(&self, body: Bytes) -> Result<()> {
        let _one_of_them = self.in_flight.acquire().await.context("closed")?;
        let headers = [("destination", self.queue.as_str()), ("persistent", "true")];
        let headers = if self.persistent { &headers[..] } else { &headers[..1] };
        self.outbox.confirmed(headers, body).await.context("the message is not confirmed")
    }

    async fn close(self) -> Result<()> {
        self.outbox.close().await
    }
}

/// Subscribed with acks; a receipt is the MESSAGE's `ack` header.
pub struct QueueConsumer {
    inbox: Inbox,
}

impl QueueConsumer {
    pub(crate) async fn join(place: &Place, prefetch: u16) -> Result<Self> {
        let queue = link::queue(place);
        Ok(Self { inbox: Inbox::with_acks(place, &[("destination", &queue)], prefetch).await? })
    }
}

impl Consumer for QueueConsumer {
    type Item = Bytes;
    type Receipt = String;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, String>>> {
        let message = self.inbox.next().await?;
        let (attempt, receipt) = marks(&message)?;
        Ok(Some(Delivery { item: message.body, attempt, receipt }))
    }

    async fn ack(&mut self, receipt: String) -> Result<()> {
        self.inbox.settle(Command::Ack, receipt).await
    }

    async fn nack(&mut self, receipt: String) -> Result<()> {
        self.inbox.settle(Command::Nack, receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.inbox.flush().await
    }

    async fn close(self) -> Result<()> {
        self.inbox.close().await
    }
}

/// Which attempt a MESSAGE is, and what settles it.
pub(crate) fn marks(message: &Frame) -> Result<(u32, String)> {
    let redelivered = message.header("redelivered").is_some_and(|redelivered| redelivered == "true");
    let receipt = message.header("ack").context("a MESSAGE that cannot be acked")?;
    Ok((if redelivered { 2 } else { 1 }, receipt.into_owned()))
}
