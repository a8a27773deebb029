//! One-way: a message goes from sender to receiver, and nothing comes back.
//!
//! Shape: N senders, 1 receiver. Peer to peer, the receiver binds.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::Lab;

pub mod inproc;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "stomp")]
pub mod stomp;
pub mod tcp;
pub mod unix;
#[cfg(feature = "websocket")]
pub mod websocket;
#[cfg(feature = "zeromq")]
pub mod zeromq;

/// Sends messages to whoever receives at this place.
pub trait Sender {
    /// Returns when the message is accepted: it may still sit in a buffer of
    /// this process. Waits when the buffer is full.
    async fn send(&mut self, body: Bytes) -> Result<()>;
    /// Returns when everything accepted is written: nothing is left in this
    /// process, as far as the client can tell.
    async fn flush(&mut self) -> Result<()>;
    /// Drains what is left and leaves; an error says how much was left behind.
    async fn close(self) -> Result<()>;
}

/// Receives what the senders send.
pub trait Receiver {
    /// The next message. Cancel-safe. `None` only after every sender has
    /// closed, on transports that can tell.
    async fn recv(&mut self) -> Result<Option<Bytes>>;
}

/// The one-way contract.
pub trait OneWay: Lab {
    /// The sending end.
    type Sender: Sender;
    /// The receiving end.
    type Receiver: Receiver;
    /// Joins as a sender.
    async fn sender(&self) -> Result<Self::Sender>;
    /// Joins as the receiver.
    async fn receiver(&self) -> Result<Self::Receiver>;
}
