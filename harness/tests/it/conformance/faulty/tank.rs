//! Where messages are held.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use labs::queue::{AttemptLimit, DeadLetter};

use super::fault::*;

/// Holds messages between a sending end and its receiving ends.
#[derive(Default)]
pub(super) struct Tank(Mutex<Held>);

impl Tank {
    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
pub(super) struct Item {
    pub(super) number: u64,
    pub(super) attempt: u32,
    pub(super) body: Bytes,
}

#[derive(Default)]
pub(super) struct Held {
    pub(super) ready: VecDeque<Item>,
    put: u64,
    senders: usize,
    receivers: u64,
    pub(super) dead: Vec<DeadLetter>,
}

impl Held {
    /// An attempt has failed: the item as it is to be delivered again, unless it is put aside.
    pub(super) fn failed(
        &mut self,
        mut item: Item,
        limit: AttemptLimit,
        reason: &str,
        fault: usize,
    ) -> Option<Item> {
        if limit.is_reached(item.attempt) && fault != NEVER_DEAD {
            let copies = if fault == DEAD_TWICE { 2 } else { 1 };
            for copy in 0..copies {
                self.dead.push(DeadLetter {
                    id: format!("{}-{copy}", item.number),
                    body: item.body.clone(),
                    attempts: item.attempt,
                    reason: reason.to_owned(),
                });
            }
            return None;
        }
        item.attempt = match fault {
            UNMARKED => item.attempt,
            TWO_FOR_EVER => 2,
            _ => item.attempt + 1,
        };
        Some(item)
    }

    pub(super) fn put(&mut self, body: Bytes) {
        self.ready.push_back(Item { number: self.put, attempt: 1, body });
        self.put += 1;
    }

    /// The next, or the next of those dealt out in turn to this receiver.
    pub(super) fn take(&mut self, receiver: Option<u64>) -> Option<Item> {
        let receivers = self.receivers;
        let mine = |item: &Item| receiver.is_none_or(|me| item.number % receivers == me);
        let at = self.ready.iter().position(mine)?;
        self.ready.remove(at)
    }

    pub(super) fn another_sender(&mut self) -> usize {
        self.senders += 1;
        self.senders - 1
    }

    pub(super) fn another_receiver(&mut self) -> u64 {
        self.receivers += 1;
        self.receivers - 1
    }
}

/// Before looking again. Nothing measures this lab.
pub(super) async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
