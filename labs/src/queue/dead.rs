//! Dead letters: messages that the queue has given up delivering, because their handling has
//! failed too often. Hohpe and Woolf call the place where they are kept a *Dead Letter Channel*.
//!
//! Without one, a message that no consumer can handle comes again for ever. With one, it is put
//! aside after [`MAX_ATTEMPTS`] failed attempts, once, with the number of attempts and the reason.
//! It waits there until somebody returns or discards it.
//!
//! An attempt has failed when the consumer nacks the delivery, or when the consumer is gone (killed,
//! disconnected, its lease over, or closed) and has not settled it. Deliveries that the consumer had
//! only prefetched count as well: no transport can tell them from those that were worked on.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::{Knob, Place};

/// The failed attempts that make a message a dead letter.
pub const MAX_ATTEMPTS: Knob =
    Knob::new("max-attempts", 5, "Failed attempts after which a message is a dead letter; 0: never.");

/// The reason of a dead letter whose last delivery was nacked.
pub const NACKED: &str = "nacked";
/// The reason of a dead letter whose last consumer has gone without settling it.
pub const UNSETTLED: &str = "left unsettled";

/// The value of [`MAX_ATTEMPTS`] at a place.
#[derive(Debug, Clone, Copy)]
pub struct AttemptLimit(Option<u32>);

impl AttemptLimit {
    /// No message becomes a dead letter.
    pub const NEVER: Self = Self(None);

    /// The limit of a place. Reads the knob.
    pub fn of(place: &Place) -> Self {
        let most = u32::try_from(place.knob(MAX_ATTEMPTS)).unwrap_or(u32::MAX);
        Self((most > 0).then_some(most))
    }

    /// The limit, if there is one.
    pub fn get(self) -> Option<u32> {
        self.0
    }

    /// Whether a message is dead when so many attempts have failed.
    pub fn is_reached(self, failed: u32) -> bool {
        self.0.is_some_and(|most| failed >= most)
    }
}

/// A message that the queue has put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it among the dead letters of its queue: one printable word. Where the transport has no
    /// identifier of its own it is a hash of the body, and two messages alike have the same.
    pub id: String,
    /// The message.
    pub body: Bytes,
    /// How many attempts have failed.
    pub attempts: u32,
    /// Why the last attempt failed, as the broker or the lab says it.
    pub reason: String,
}

/// The dead letters of one queue. A lost connection is an error of every call: open them again.
pub trait DeadLetters {
    /// Up to `most` dead letters, the oldest first, except over MQTT, whose retained messages have no
    /// order. Reading removes nothing; while it goes on, some brokers show others fewer of them.
    async fn list(&mut self, most: usize) -> Result<Vec<DeadLetter>>;
    /// Returns a dead letter to the tail of the queue, where its first attempt begins again. It is
    /// never lost in between; a crash in between doubles it. `false`: there is none of this id.
    async fn give_back(&mut self, id: &str) -> Result<bool>;
    /// Removes a dead letter for good. `false`: there is none of this id.
    async fn discard(&mut self, id: &str) -> Result<bool>;
}
