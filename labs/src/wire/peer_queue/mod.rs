//! A queue without a broker: what the queues over TCP and ØMQ share.
//!
//! The queue lives with its producer. Consumers connect to every producer, take deliveries from
//! all of them, and settle each with the producer it came from. Here is everything of it that does
//! not depend on how bytes are carried or where messages are kept:
//!
//! - [`QueueFrame`] is the protocol: what a consumer and a producer tell each other.
//! - [`QueueState`] is the producer's account: which messages are waiting, which consumer has
//!   which of the others, and how often each was delivered. No I/O.
//! - `ProducerTask` hands sends to a task of the producer, which keeps the queue and confirms.
//! - [`MultiConsumer`] is the consumer: a task for each producer keeps the connection to it, and
//!   makes it again when it breaks. `ConnectionEnd` is what such a task holds.
//! - [`PeerLetters`] asks producers for their dead letters.
//! - [`UnackedDeliveries`] is the consumer's account: deliveries that wait, those that are being
//!   worked on, and settlements that a producer may not know yet. No I/O.
//!
//! Together they promise that no message is forgotten, that no consumer holds more than its limit
//! (nor more than [`MAX_HELD`]), and that a consumer never gets again what it acked itself. Another
//! consumer may. What survives which crash, and when a message is confirmed, is for each lab to say.

mod consumer;
mod dead;
mod frame;
mod producer_task;
mod state;
mod unacked;

use std::time::Duration;

pub(crate) use consumer::ConnectionEnd;
pub use consumer::MultiConsumer;
pub use dead::PeerLetters;
#[cfg(feature = "outbox")]
pub(crate) use dead::{id_of, log_and_number};
pub use frame::{PeerLetter, QueueFrame};
pub(crate) use producer_task::{PendingSend, PendingSends, ProducerTask};
pub use state::{Failure, Offer, QueueState};
use tokio::time::Interval;
pub use unacked::{Receipt, UnackedDeliveries};

/// What a consumer holds at most, whatever it asks for: one that sends heartbeats and never settles
/// anything keeps so many messages from the others. It cannot be told from one that works for long.
pub const MAX_HELD: u32 = 4096;

/// The heartbeats in a lease: four in the time after which a silent peer is given up. Without a
/// lease, the first one is the only one.
pub(crate) fn heartbeat(lease: Option<Duration>) -> Interval {
    const NEVER: Duration = Duration::from_secs(1 << 30);
    tokio::time::interval(lease.map_or(NEVER, |lease| lease / 4))
}
