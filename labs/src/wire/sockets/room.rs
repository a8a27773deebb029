//! Room for long messages that are not complete yet: a bound on what a listener buffers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::{Error, anyhow};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::PATIENCE;

/// What there is room for over all connections of a listener, bytes.
const LONG_MESSAGES: usize = 32 << 20;
/// The unit in which room is given, bytes.
const UNIT: usize = 1 << 10;
/// Less than this within [`PATIENCE`] is not progress, bytes.
const PROGRESS: usize = 64 << 10;

/// The room that a listener has for the long messages of all its peers. A peer whose message is
/// long waits until there is room for all of it, and its connection is not read meanwhile. So those
/// that are read can always be read to their end.
#[derive(Debug)]
pub struct Room {
    units: Arc<Semaphore>,
    waiting: AtomicUsize,
    patience: Duration,
}

impl Room {
    /// Room for 32 MiB.
    pub fn new() -> Arc<Self> {
        Self::with_patience(PATIENCE)
    }

    /// As [`Room::new`], with another patience for one that keeps others waiting.
    pub(crate) fn with_patience(patience: Duration) -> Arc<Self> {
        let units = Arc::new(Semaphore::new(LONG_MESSAGES / UNIT));
        Arc::new(Self { units, waiting: AtomicUsize::new(0), patience })
    }

    /// Bytes that are given to connections.
    #[cfg(test)]
    pub(crate) fn given(&self) -> usize {
        LONG_MESSAGES - self.units.available_permits() * UNIT
    }
}

type Waiting = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send + Sync>>;

/// What one connection has of the [`Room`].
pub struct Share {
    room: Arc<Room>,
    held: Option<OwnedSemaphorePermit>,
    waiting: Option<Waiting>,
    /// While a long message comes: when to look again, and how much has come until then.
    pace: Option<Pin<Box<Sleep>>>,
    came: usize,
}

impl Share {
    /// Nothing yet.
    pub fn of(room: &Arc<Room>) -> Self {
        Self { room: Arc::clone(room), held: None, waiting: None, pace: None, came: 0 }
    }

    /// Waits for room for a message of `len` bytes; at once where it has it already.
    pub fn poll_room(&mut self, len: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.held.is_some() {
            return Poll::Ready(());
        }
        let waiting = self.waiting.get_or_insert_with(|| {
            let units = u32::try_from(len.min(LONG_MESSAGES).div_ceil(UNIT)).unwrap_or(u32::MAX);
            let all = Arc::clone(&self.room.units);
            self.room.waiting.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { all.acquire_many_owned(units).await.ok() })
        });
        let held = ready!(waiting.as_mut().poll(cx));
        self.stop_waiting();
        self.held = held;
        Poll::Ready(())
    }

    /// Whether it has room for a long message.
    #[cfg(feature = "zeromq")]
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// So many bytes of the message have come.
    pub fn came(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes);
    }

    /// The message is complete: its room is free for others.
    pub fn release(&mut self) {
        (self.held, self.pace, self.came) = (None, None, 0);
    }

    /// For a connection that has room and nothing to read: ready if hardly anything has come for
    /// long, and others wait.
    pub fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let patience = self.room.patience;
        loop {
            let pace = self.pace.get_or_insert_with(|| Box::pin(sleep(patience)));
            ready!(pace.as_mut().poll(cx));
            if self.came < PROGRESS && self.room.waiting.load(Ordering::Relaxed) > 0 {
                let came = self.came;
                return Poll::Ready(anyhow!(
                    "only {came} bytes of its long message came within {patience:?}, and others wait for room"
                ));
            }
            (self.pace, self.came) = (None, 0);
        }
    }

    fn stop_waiting(&mut self) {
        if self.waiting.take().is_some() {
            self.room.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}
