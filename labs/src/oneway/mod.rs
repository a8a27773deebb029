//! One-way messages: a message goes from a sender to the receiver, and nothing comes back.
//!
//! Shape: N senders, 1 receiver. Peer to peer, the receiver binds.
//!
//! What the constants of [`Lab`] mean here:
//!
//! - `GUARANTEE` is at most once in every lab: the sender never learns that a message was
//!   received, so it cannot send a lost one again.
//! - `OVERLOAD`: when the receiver is too slow, `send` waits, messages are dropped, or the
//!   broker stores them.
//! - `JOIN` is confirmed in every lab: when `receiver` returns, the receiver gets what is sent
//!   from then on.
//!
//! An error is *transient* if a new connection may mend it: the connection is gone, or the broker is
//! starting. [`crate::recovery`] does that. All others are *final*. Each operation says which it has.

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

/// The sending end.
pub trait Sender {
    /// Returns when the message is accepted: it may still sit in a buffer of
    /// this process. Waits when the buffer is full. Transient: the connection was lost, and the
    /// message may have been written or not. Final: it is too long, or not permitted.
    async fn send(&mut self, body: Bytes) -> Result<()>;
    /// Returns when everything accepted is written: nothing is left in this
    /// process, as far as the client can tell. Transient: the connection was lost, and with it what
    /// was accepted and not written. Final: the broker refused something.
    async fn flush(&mut self) -> Result<()>;
    /// Sends what is left in this process and disconnects. An error says how much could not be sent;
    /// it is never tried again.
    async fn close(self) -> Result<()>;
}

/// The receiving end.
pub trait Receiver {
    /// The next message. Cancel-safe. `None` only after every sender has
    /// closed, on transports that report this; the next call waits for others. Transient: the
    /// connection was lost, or the broker has ended the subscription. Final: what came is not of this
    /// protocol.
    async fn recv(&mut self) -> Result<Option<Bytes>>;
}

/// The one-way contract.
pub trait OneWay: Lab {
    /// The sending end.
    type Sender: Sender + 'static;
    /// The receiving end.
    type Receiver: Receiver + 'static;
    /// Joins as a sender.
    async fn sender(&self) -> Result<Self::Sender>;
    /// Joins as the receiver.
    async fn receiver(&self) -> Result<Self::Receiver>;
}
