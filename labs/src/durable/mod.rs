//! Durable subscribers: publish/subscribe in which a subscriber gets the events that were
//! published while it was away.
//!
//! Shape: N publishers, M durable subscribers, each under an identifier of its
//! own. The broker stores events for every identifier it knows, until that subscriber has
//! acknowledged them or is forgotten.
//!
//! What the constants of [`Lab`](crate::lab::Lab) mean here:
//!
//! - `GUARANTEE` holds for an event when the publisher's `flush` has returned, for every
//!   identifier that the broker knew before. At least once: the event is delivered again until
//!   the subscriber acknowledges it, as long as the broker lives. Durable: it also survives
//!   kill -9 of the broker.
//! - `OVERLOAD` is *stores* in every lab: events of a slow or absent subscriber wait in the
//!   broker.
//! - `JOIN` is confirmed in every lab: from the time when `durable` first returns, events that
//!   match are stored for the identifier.
//!
//! Errors are transient or final as in [`crate::pubsub`] and [`crate::queue`], whose ends these are.

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
/// The same publisher reaches plain subscribers, which get only events published while
/// they are connected, and durable ones. In these labs the publisher's `flush`
/// returns when all accepted events are *confirmed*, not only written.
pub trait DurablePubSub: PubSub {
    /// The subscribing end: a consumer of events, which acknowledges them. It also acknowledges
    /// a message that it skips because no lab wrote it: otherwise it would come again.
    type Durable: Consumer<Item = Event> + 'static;
    /// Joins as the durable subscriber `id`, for the first time or again. From the
    /// first time on, events that match are stored for it; after a return, missed events
    /// come first, in order. Unacknowledged events are delivered again, marked
    /// if the transport can mark them. Only one subscriber at a time may use `id`, and its
    /// filter stays that of the first time: to change it, call `forget` first.
    async fn durable(&self, id: &str, filter: &Filter) -> Result<Self::Durable>;
    /// Removes `id` and everything stored for it. An unknown `id` is not an error.
    async fn forget(&self, id: &str) -> Result<()>;
}
