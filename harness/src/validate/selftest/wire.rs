//! The wire of the simulated transport: parcels, each with the time before which it may
//! not leave.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::event_log::State;
use super::fault::Id;
use crate::measure::clock::{self, Pacer};

/// A message on its way.
pub(super) struct Parcel {
    pub(super) body: Bytes,
    /// `None` for probes and markers, of which nothing is noted.
    pub(super) id: Option<Id>,
    pub(super) attempt: u32,
    pub(super) state: State,
    pub(super) shift: i64,
    /// Where the reply to a request goes.
    pub(super) answer: Option<oneshot::Sender<(Bytes, State)>>,
}

impl Parcel {
    pub(super) fn new(body: Bytes, id: Option<Id>) -> Self {
        Self { body, id, attempt: 1, state: State::Whole, shift: 0, answer: None }
    }
}

/// Parcels by the time at which they may leave; those of one time in the order
/// in which they came. One that may leave earlier overtakes.
#[derive(Default)]
pub(super) struct Wire {
    inside: Mutex<Inside>,
    more: Notify,
}

#[derive(Default)]
struct Inside {
    parcels: BTreeMap<(u64, u64), Parcel>,
    /// Parcels so far.
    order: u64,
    /// The latest time at which one may leave.
    latest: u64,
}

impl Wire {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a parcel on the wire. It may leave at `release`; `gap` ns after the one
    /// before it, where the receiver is slow.
    pub(super) fn push(&self, parcel: Parcel, release: u64, gap: Option<u64>) {
        let mut inside = self.inside();
        let release = gap.map_or(release, |gap| release.max(inside.latest + gap));
        inside.latest = inside.latest.max(release);
        inside.order += 1;
        let key = (release, inside.order);
        inside.parcels.insert(key, parcel);
        drop(inside);
        self.more.notify_one();
    }

    /// Puts a parcel behind all the others.
    pub(super) fn push_last(&self, parcel: Parcel) {
        let latest = self.inside().latest;
        self.push(parcel, latest, None);
    }

    /// The next parcel and when it was handed over, ns. Cancel-safe.
    pub(super) async fn take(&self, pacer: &Pacer) -> Result<(Parcel, u64)> {
        // Where there is always a parcel, others must still have their turn.
        tokio::task::coop::consume_budget().await;
        loop {
            let more = self.more.notified();
            match self.first() {
                First::Now(parcel) => return Ok((parcel, clock::now())),
                First::At(time) => tokio::select! {
                    slept = pacer.sleep_until(time) => { slept?; }
                    () = more => {}
                },
                First::None => more.await,
            }
        }
    }

    fn first(&self) -> First {
        let mut inside = self.inside();
        let Some(entry) = inside.parcels.first_entry() else { return First::None };
        match entry.key().0 {
            release if release <= clock::now() => First::Now(entry.remove()),
            release => First::At(release),
        }
    }
}

enum First {
    Now(Parcel),
    At(u64),
    None,
}
