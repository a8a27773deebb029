//! Queued delivery: a queue takes responsibility for a message until a
//! consumer has said that it is done with it.
//!
//! Shape: N producers, M competing consumers. Peer to peer, producers bind, and
//! the queue lives with each of them: consumers take from all.

use std::fmt;

use anyhow::Result;
use bytes::Bytes;

use crate::lab::Lab;

#[cfg(feature = "nats")]
pub mod jetstream;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "mqtt")]
pub mod mqtt_qos2;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq_quorum;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "redis")]
pub mod redis_stream;
#[cfg(feature = "stomp")]
pub mod stomp;
#[cfg(feature = "outbox")]
pub mod tcp;
#[cfg(feature = "zeromq")]
pub mod zeromq;

/// Who answers for a message once its producer has been told that it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// The queue, which stores it: nobody needs to have seen it yet.
    Stored,
    /// The consumer that acked it: until then its producer answered for it.
    Acked,
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stored => "when stored",
            Self::Acked => "when acked",
        })
    }
}

/// Hands messages over to the queue.
pub trait Producer {
    /// Resolves when the message is confirmed: responsibility has moved to the
    /// queue. Takes `&self`, so that many can be in flight: whoever waits for each
    /// before the next mostly measures the switching between tasks.
    async fn send(&self, body: Bytes) -> Result<()>;
    /// Leaves. Whatever was not confirmed before is not promised. Where the
    /// queue lives with the producer, consumers that are connected get what
    /// they can first, within a limit.
    async fn close(self) -> Result<()>;
}

/// One delivery of one message.
#[derive(Debug)]
pub struct Delivery<Item, Receipt> {
    /// The message.
    pub item: Item,
    /// 1 for the first delivery. Above 1 the transport has marked it as a
    /// redelivery; where it only says "again", 2 stands for two or more.
    pub attempt: u32,
    /// Settles the delivery, once.
    pub receipt: Receipt,
}

/// Takes messages from the queue and settles them.
pub trait Consumer {
    /// What is delivered: a body, or an event with its topic.
    type Item;
    /// What settles a delivery; `()` where nothing is acknowledged.
    type Receipt;
    /// The next delivery. Cancel-safe. At most the agreed number is unsettled.
    async fn next(&mut self) -> Result<Option<Delivery<Self::Item, Self::Receipt>>>;
    /// Done with it: accepted, may be batched until [`Consumer::flush`].
    async fn ack(&mut self, receipt: Self::Receipt) -> Result<()>;
    /// Not done with it: deliver it again. Accepted, may be batched.
    async fn nack(&mut self, receipt: Self::Receipt) -> Result<()>;
    /// All that was settled is known to the other side.
    async fn flush(&mut self) -> Result<()>;
    /// Leaves; what is unsettled goes back.
    async fn close(self) -> Result<()>;
}

/// The queued-delivery contract.
pub trait Queue: Lab {
    /// What a confirmation says.
    const CONFIRMED: Confirmed = Confirmed::Stored;
    /// The handing-over end.
    type Producer: Producer;
    /// The taking end.
    type Consumer: Consumer<Item = Bytes>;
    /// Joins as a producer.
    async fn producer(&self) -> Result<Self::Producer>;
    /// Joins as a consumer with at most `prefetch` unsettled deliveries. Call
    /// it twice, and the two compete.
    async fn consumer(&self, prefetch: u16) -> Result<Self::Consumer>;
}
