//! Queued delivery: a queue is responsible for a message until a consumer has acknowledged it.
//!
//! Shape: N producers, M competing consumers. Peer to peer, producers bind, and
//! the queue lives with each of them: consumers take from all.
//!
//! What the constants of [`Lab`] mean here:
//!
//! - `GUARANTEE` holds for a message when `send` has returned: it is *confirmed*. At least
//!   once: it is delivered again until a consumer acknowledges it, as long as the process that
//!   holds it (the broker, or the producer) lives. Durable: it also survives kill -9 of that
//!   process. `CONFIRMED` says who is responsible from then on.
//! - `OVERLOAD`: when consumers are too slow, the queue stores messages, or `send` waits.
//! - `JOIN` is confirmed in every lab: when `consumer` returns, the consumer can receive
//!   deliveries.
//!
//! A message whose handling fails again and again becomes a *dead letter* ([`DeadLetters`]) after
//! [`MAX_ATTEMPTS`] failed attempts.
//!
//! An error is *transient* if a new connection may mend it: the connection is gone, or the broker is
//! starting. [`crate::recovery`] does that. All others are *final*. Each operation says which it has.

use std::fmt;

use anyhow::Result;
use bytes::Bytes;

use crate::lab::Lab;

mod dead;
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

pub use dead::{AttemptLimit, DeadLetter, DeadLetters, MAX_ATTEMPTS, NACKED, UNSETTLED};

/// The meaning of a confirmation: who is responsible for the message afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// The queue has stored the message and is responsible for it. No consumer need have it yet.
    Stored,
    /// A consumer has acknowledged the message. Until then its producer was responsible for it.
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

/// The producing end.
pub trait Producer {
    /// Returns when the message is confirmed, as [`Queue::CONFIRMED`] says. Takes `&self`,
    /// so that many messages can be in flight: a producer that waits for each confirmation
    /// before the next send mostly measures task switches. Transient: the connection was lost, or
    /// the broker could not take the message; it is not confirmed, and may be in the queue. Final: it
    /// is too long, or not permitted.
    async fn send(&self, body: Bytes) -> Result<()>;
    /// Disconnects. Messages that were not confirmed may be lost. If the queue lives with
    /// the producer, connected consumers get messages for a limited time first. An error is never
    /// tried again.
    async fn close(self) -> Result<()>;
}

/// One delivery of one message.
#[derive(Debug)]
pub struct Delivery<Item, Receipt> {
    /// The message.
    pub item: Item,
    /// Which attempt this is: 1 for the first delivery, and one more for each that has failed before.
    /// Every queue lab counts them, by its broker's count or by one of its own. A durable subscriber
    /// or a pipeline may only know that it is a redelivery: there, 2 means two or more.
    pub attempt: u32,
    /// Settles the delivery, once. What a second settlement does is not defined: some labs return an
    /// error, some ignore it, and some then count one delivery too few as held.
    pub receipt: Receipt,
}

/// The consuming end: receives messages and settles them.
pub trait Consumer {
    /// The delivered item: a body, or an event with its topic.
    type Item;
    /// The receipt that settles a delivery; `()` if nothing is acknowledged.
    type Receipt;
    /// The next delivery. Cancel-safe. At most `prefetch` deliveries are unsettled.
    /// A message that no lab wrote, without a body or with a broken count of attempts, is skipped,
    /// counted and acknowledged. Transient: the connection was lost; what is unsettled comes again.
    /// Final: what came is not of this protocol.
    async fn next(&mut self) -> Result<Option<Delivery<Self::Item, Self::Receipt>>>;
    /// Acknowledges the delivery: the work is done. May be batched until [`Consumer::flush`].
    /// Settle a delivery only once: see [`Delivery::receipt`]. Transient: the connection was lost; the
    /// delivery comes again.
    async fn ack(&mut self, receipt: Self::Receipt) -> Result<()>;
    /// Returns the delivery: the attempt has failed, and the message is delivered again, or becomes a
    /// dead letter. May be batched, too. Settle a delivery only once: see [`Delivery::receipt`].
    /// Transient: the connection was lost; the delivery comes again in any case. Final: the transport
    /// cannot take it back.
    async fn nack(&mut self, receipt: Self::Receipt) -> Result<()>;
    /// Returns when all acks and nacks have reached the other side. Transient: the connection was
    /// lost; what was settled since the last flush may come again. Final: the broker refused
    /// something.
    async fn flush(&mut self) -> Result<()>;
    /// Disconnects; unsettled deliveries go back to the queue.
    async fn close(self) -> Result<()>;
}

/// The queued-delivery contract.
pub trait Queue: Lab {
    /// The meaning of a confirmation.
    const CONFIRMED: Confirmed = Confirmed::Stored;
    /// The producing end.
    type Producer: Producer + 'static;
    /// The consuming end.
    type Consumer: Consumer<Item = Bytes> + 'static;
    /// The messages that were put aside.
    type DeadLetters: DeadLetters + 'static;
    /// Joins as a producer.
    async fn producer(&self) -> Result<Self::Producer>;
    /// Joins as a consumer with at most `prefetch` unsettled deliveries. Several consumers
    /// compete for the messages.
    async fn consumer(&self, prefetch: u16) -> Result<Self::Consumer>;
    /// Opens the queue's dead letters.
    async fn dead_letters(&self) -> Result<Self::DeadLetters>;
    /// How many messages the broker itself says that it holds. `None`: it cannot be asked.
    async fn depth(&self) -> Result<Option<Depth>> {
        Ok(None)
    }
}

/// A broker's own count of the messages in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Messages.
    pub count: u64,
    /// What the broker was asked, and what that counts.
    pub asked: &'static str,
}
