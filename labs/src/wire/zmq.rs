//! What the `zeromq` crate does not have: a high-water mark and a way to tell
//! whether anything is still queued inside the socket.
//!
//! A message given to a socket waits in a queue of up to 100,000 that nothing
//! outside can see. Its memory, however, is released when it has been encoded
//! for the connection; a [`Gauge`] counts what is not released yet.

pub(crate) mod held;
pub(crate) mod pirate;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::sync::Notify;
use zeromq::{Socket, ZmqMessage};

use crate::lab::Place;

/// Binds and announces.
pub async fn bind(socket: &mut impl Socket, place: &Place) -> Result<()> {
    let address = format!("tcp://{}", place.bind_address().trim_start_matches("tcp://"));
    let bound = socket
        .bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}; is the port in use?"))?;
    place.announce(bound);
    Ok(())
}

/// Connects to every binder that has announced itself.
pub async fn connect(socket: &mut impl Socket, place: &Place) -> Result<()> {
    for address in place.peers().await? {
        let address = format!("tcp://{}", address.trim_start_matches("tcp://"));
        socket
            .connect(&address)
            .await
            .with_context(|| format!("cannot connect to {address}; is the other side running?"))?;
    }
    Ok(())
}

/// The only frame of a message.
pub fn single(message: ZmqMessage) -> Result<Bytes> {
    message.into_vec().pop().context("a ØMQ message without a frame")
}

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
