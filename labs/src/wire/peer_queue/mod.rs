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
//! - [`UnackedDeliveries`] is the consumer's account: deliveries that wait, those that are being
//!   worked on, and settlements that a producer may not know yet. No I/O.
//!
//! Together they promise that no message is forgotten, that no consumer holds more than its limit,
//! and that a consumer never gets again what it acked itself. Another consumer may. What survives
//! which crash, and when a message is confirmed, is for each lab to say.

mod consumer;
mod frame;
mod producer_task;
mod state;
mod unacked;

pub(crate) use consumer::ConnectionEnd;
pub use consumer::MultiConsumer;
pub use frame::QueueFrame;
pub(crate) use producer_task::{PendingSend, PendingSends, ProducerTask};
pub use state::{Offer, QueueState};
pub use unacked::{Receipt, UnackedDeliveries};
