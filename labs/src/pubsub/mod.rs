//! Publish/subscribe: the publisher does not know who listens; every
//! subscriber whose filter matches gets its own copy.
//!
//! Shape: any number of publishers over a broker, at least one peer to peer; M subscribers.
//! Peer to peer, the publisher binds.

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

/// Publishes.
pub trait Publisher {
    /// Returns when the message is accepted; waits when the buffer is full,
    /// unless the lab drops, as its `OVERLOAD` says.
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()>;
    /// Returns when everything accepted is written, as far as the client can tell.
    async fn flush(&mut self) -> Result<()>;
    /// Drains what is left and leaves.
    async fn close(self) -> Result<()>;
}

/// Hears what matches its filter, from now on.
pub trait Subscriber {
    /// The next event. Cancel-safe. `None` only when no publisher can come any
    /// more; an error where the broker has cut this subscriber off.
    async fn next(&mut self) -> Result<Option<Event>>;
}

/// The publish/subscribe contract.
pub trait PubSub: Lab {
    /// The filters this transport can express; any other filter is an error that names it.
    const FILTERS: &'static [FilterKind];
    /// How many publishers the lab can have; `None`: any number.
    const PUBLISHERS: Option<usize> = None;
    /// The publishing end.
    type Publisher: Publisher;
    /// The listening end.
    type Subscriber: Subscriber;
    /// Joins as a publisher.
    async fn publisher(&self) -> Result<Self::Publisher>;
    /// Joins as a subscriber of everything that matches `filter`.
    async fn subscriber(&self, filter: &Filter) -> Result<Self::Subscriber>;
}
