//! The event log of the simulated transport: a full record of every message, without any
//! histogram, bitmap or counter of the harness.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fault::{Harm, Id};

/// A message came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entered {
    pub(super) id: Id,
    /// When, ns.
    pub(super) at: u64,
    /// When it was due, as its header says, ns.
    pub(super) due: u64,
    /// It was not accepted.
    pub(super) refused: bool,
}

/// In what state something was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    Damaged,
    /// It is not what belongs here: of another run, or another request's reply.
    Stray,
}

/// Something was handed over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) id: Id,
    /// Which receiver got it.
    pub(super) to: usize,
    /// When, ns.
    pub(super) at: u64,
    /// 1; above it, it was marked as a redelivery.
    pub(super) attempt: u32,
    pub(super) state: State,
    /// The error of the clock that wrote its header, ns.
    pub(super) shift: i64,
}

/// The message was confirmed to its sender.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confirmed {
    pub(super) id: Id,
    /// When, ns.
    pub(super) at: u64,
}

/// The notes, in the order in which things happened at each end.
#[derive(Default)]
pub(super) struct EventLog {
    entered: Mutex<Vec<Entered>>,
    left: Mutex<Vec<Left>>,
    confirmed: Mutex<Vec<Confirmed>>,
    harms: Mutex<BTreeMap<Harm, u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventLog {
    pub(super) fn enter(&self, entered: Entered) {
        lock(&self.entered).push(entered);
    }

    pub(super) fn leave(&self, left: Left) {
        lock(&self.left).push(left);
    }

    pub(super) fn confirm(&self, confirmed: Confirmed) {
        lock(&self.confirmed).push(confirmed);
    }

    /// Noted where the harm is done, not where it shows.
    pub(super) fn harm(&self, harm: Harm) {
        *lock(&self.harms).entry(harm).or_default() += 1;
    }

    /// Everything noted so far.
    pub(super) fn pages(&self) -> Pages {
        Pages {
            entered: lock(&self.entered).clone(),
            left: lock(&self.left).clone(),
            confirmed: lock(&self.confirmed).clone(),
            harms: lock(&self.harms).clone(),
        }
    }
}

/// An event log that is closed.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    pub(super) entered: Vec<Entered>,
    pub(super) left: Vec<Left>,
    pub(super) confirmed: Vec<Confirmed>,
    pub(super) harms: BTreeMap<Harm, u64>,
}
