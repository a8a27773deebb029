//! How many messages are queued inside a socket.
//!
//! A message given to a socket waits in a queue of up to 100,000 that nothing
//! outside can see. Its memory, however, is released when it has been encoded
//! for the connection; a [`Gauge`] counts what is not released yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

/// Counts the messages that a socket has accepted and not yet encoded.
#[derive(Clone, Default)]
pub struct Gauge(Arc<Level>);

#[derive(Default)]
struct Level {
    queued: AtomicUsize,
    empty: Notify,
}

impl Gauge {
    /// Hands `body` on, counted until the socket lets go of it.
    pub fn count(&self, body: Bytes) -> Bytes {
        self.0.queued.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Counted(body, Arc::clone(&self.0)))
    }

    /// Messages the socket still holds.
    pub fn queued(&self) -> usize {
        self.0.queued.load(Ordering::Relaxed)
    }

    /// Returns when the socket holds none. What was encoded last may still sit
    /// in one write of at most 128 messages.
    pub async fn drained(&self) {
        while self.queued() > 0 {
            self.0.empty.notified().await;
        }
    }

    /// As [`Gauge::drained`], for at most `limit`: how many are left behind.
    pub async fn drained_within(&self, limit: Duration) -> usize {
        let _ = tokio::time::timeout(limit, self.drained()).await;
        self.queued()
    }
}

struct Counted(Bytes, Arc<Level>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.1.queued.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.1.empty.notify_one();
        }
    }
}
