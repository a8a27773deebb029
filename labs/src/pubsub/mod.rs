//! Publish/subscribe: a publisher does not know its subscribers, and every subscriber whose
//! filter matches gets its own copy of an event.
//!
//! Shape: any number of publishers over a broker, at least one peer to peer; M subscribers.
//! Peer to peer, the publisher binds.
//!
//! What the constants of [`Lab`] mean here:
//!
//! - `GUARANTEE` is at most once in every lab: a subscriber gets an event once or not at all.
//!   It cannot ask for events that it missed; a durable subscriber ([`crate::durable`]) can.
//! - `OVERLOAD`: when a subscriber is too slow, the publisher waits (and with it all other
//!   subscribers), events are dropped, the subscriber is disconnected, or the broker stores
//!   its events.
//! - `JOIN`: *confirmed* means that `subscriber` returns when the subscription is live, so that
//!   no event published afterwards is missed. *Probed* means that nothing confirms the
//!   subscription: publish probes until the subscriber receives one.
//!
//! An error is *transient* if a new connection may mend it: the connection is gone, or the broker is
//! starting. [`crate::recovery`] does that. All others are *final*. Each operation says which it has.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::Lab;
pub use crate::message::Event;
use crate::topic::{Filter, FilterKind, Topic};

pub mod inproc;
#[cfg(feature = "nats")]
pub mod jetstream;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "redis")]
pub mod redis_stream;
#[cfg(feature = "stomp")]
pub mod stomp;
pub mod tcp;
pub mod unix;
#[cfg(feature = "websocket")]
pub mod websocket;
#[cfg(feature = "zeromq")]
pub mod zeromq;

/// The publishing end.
pub trait Publisher {
    /// Returns when the message is accepted; waits when the buffer is full,
    /// unless the lab drops, as its `OVERLOAD` says. Transient: the connection was lost, and the event
    /// may have been written or not. Final: the event is too long, or not permitted.
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()>;
    /// Returns when everything accepted is written, as far as the client can tell. Transient: the
    /// connection was lost, and with it what was not written or not confirmed. Final: the broker
    /// refused something.
    async fn flush(&mut self) -> Result<()>;
    /// Sends what is left in this process and disconnects. An error is never tried again.
    async fn close(self) -> Result<()>;
}

/// Receives the events that match its filter and are published after it joined.
pub trait Subscriber {
    /// The next event. Cancel-safe. `None` only when the publisher has left. A message that no lab
    /// wrote, with an odd topic or without a body, is skipped and counted at the place. Transient:
    /// the connection was lost, or the broker has disconnected this subscriber. Final: what came is
    /// not of this protocol.
    async fn next(&mut self) -> Result<Option<Event>>;
}

/// The publish/subscribe contract.
pub trait PubSub: Lab {
    /// The filters that this transport can express. Any other filter is an error that names it.
    const FILTERS: &'static [FilterKind];
    /// The maximum number of publishers; `None`: any number.
    const PUBLISHERS: Option<usize> = None;
    /// The publishing end.
    type Publisher: Publisher + 'static;
    /// The subscribing end.
    type Subscriber: Subscriber + 'static;
    /// Joins as a publisher.
    async fn publisher(&self) -> Result<Self::Publisher>;
    /// Joins as a subscriber of all events that match `filter`.
    async fn subscriber(&self, filter: &Filter) -> Result<Self::Subscriber>;
}
