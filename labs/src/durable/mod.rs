//! Durable subscribers: publish/subscribe in which a subscriber that was away
//! gets what it missed.
//!
//! Shape: N publishers, M durable subscribers, each under an identifier of its
//! own. Whoever hands events over keeps them for every identifier it knows,
//! until that subscriber has acknowledged them or is forgotten.

use anyhow::Result;

use crate::pubsub::{Event, PubSub};
use crate::queue::Consumer;
use crate::topic::Filter;

#[cfg(feature = "nats")]
pub mod jetstream;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis_stream;
#[cfg(feature = "stomp")]
pub mod stomp;

/// The contract of a durable subscriber.
///
/// The same publisher reaches plain subscribers, who hear what is published
/// while they listen, and durable ones. In these labs the publisher's `flush`
/// returns when all that was accepted is *confirmed*, not only written.
pub trait DurablePubSub: PubSub {
    /// The listening end: a consumer of events, which acknowledges them.
    type Durable: Consumer<Item = Event>;
    /// Joins as the durable subscriber `id`, or comes back as it. From the
    /// first time on, events that match are kept for it; what it missed comes
    /// first, in order. Events it had not acknowledged come again, marked
    /// where the transport can mark them. One at a time may be present, and its
    /// filter stays what it was the first time: for another, forget it first.
    async fn durable(&self, id: &str, filter: &Filter) -> Result<Self::Durable>;
    /// Nothing is kept for `id` any more. Forgetting a stranger is no error.
    async fn forget(&self, id: &str) -> Result<()>;
}
