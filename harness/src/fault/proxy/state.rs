//! What all connections of a proxy share: the faults in effect, and the counters.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A direction through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From those who connect to the address behind the proxy.
    Up,
    /// From there to those who connect.
    Down,
}

/// The faults in effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// How many cuts there were. A connection that has seen fewer is reset.
    pub(super) cuts: u64,
    /// How many tears there were.
    pub(super) tears: u64,
    /// New connections are reset.
    pub(super) refuse: bool,
    /// Everything is written this much later.
    pub(super) delay: Duration,
    /// Bytes a second, in each direction.
    pub(super) throttle: Option<NonZeroU64>,
    /// In this direction nothing is read.
    pub(super) hole: Option<Direction>,
    /// The proxy has ended.
    pub(super) closed: bool,
}

/// What a proxy has forwarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that are open now.
    pub open: u64,
    /// Connections that were accepted, those that were reset at once included.
    pub accepted: u64,
    /// Of these, the ones that were reset at once: refused, too many, or nobody behind the proxy.
    pub refused: u64,
    /// Bytes written to the address behind the proxy.
    pub up_bytes: u64,
    /// Bytes written to those who connect.
    pub down_bytes: u64,
}

/// The counters of [`Traffic`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) open: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    /// When the throttled link is free again, in each direction.
    free: [Mutex<Option<Instant>>; 2],
}

impl Counters {
    pub(super) fn forwarded(&self, direction: Direction, bytes: usize) {
        let counter = match direction {
            Direction::Up => &self.up_bytes,
            Direction::Down => &self.down_bytes,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            open: read(&self.open),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            up_bytes: read(&self.up_bytes),
            down_bytes: read(&self.down_bytes),
        }
    }

    /// When bytes that were just read have passed a link of this many bytes a second. All connections
    /// share it.
    pub(super) fn passed(&self, direction: Direction, bytes: usize, per_s: NonZeroU64) -> Instant {
        let mut free = self.free[direction as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let from = free.map_or(now, |free| free.max(now));
        let until = from + Duration::from_secs_f64(bytes as f64 / per_s.get() as f64);
        *free = Some(until);
        until
    }

    /// The link is not throttled any more, or at another rate.
    pub(super) fn free(&self) {
        for free in &self.free {
            *free.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}
