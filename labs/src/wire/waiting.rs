//! Who waits for which reply: the requester's half of a correlation identifier.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::oneshot;

/// What a late asker and a late reply have in common.
const GONE: &str = "the connection that brings the replies is gone";

type Askers = HashMap<u64, oneshot::Sender<Bytes>>;

/// Shared by those who ask and the task that reads the replies.
#[derive(Clone)]
pub(crate) struct Waiting {
    next: Arc<AtomicU64>,
    /// `None` when replies cannot come any more.
    askers: Arc<Mutex<Option<Askers>>>,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self { next: Arc::default(), askers: Arc::new(Mutex::new(Some(HashMap::new()))) }
    }

    /// A new identifier, and somebody who waits for its reply.
    pub(crate) fn expect(&self) -> Result<Expected> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (asker, reply) = oneshot::channel();
        self.askers(|askers| askers.insert(id, asker)).context(GONE)?;
        Ok(Expected { id, reply, waiting: self.clone() })
    }

    /// Hands a reply to whoever waits for it; a late one has nobody, and is dropped.
    pub(crate) fn resolve(&self, id: u64, reply: Bytes) {
        if let Some(asker) = self.askers(|askers| askers.remove(&id)).flatten() {
            // The asker may have given up this very moment.
            _ = asker.send(reply);
        }
    }

    /// No reply can come any more: all who wait learn it, and all who come later.
    pub(crate) fn give_up(&self) {
        *self.askers.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn askers<T>(&self, act: impl FnOnce(&mut Askers) -> T) -> Option<T> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(act)
    }
}

/// A reply that is waited for. However that ends, by the reply or by giving
/// up, nobody is on the list afterwards.
pub(crate) struct Expected {
    pub(crate) id: u64,
    reply: oneshot::Receiver<Bytes>,
    waiting: Waiting,
}

impl Expected {
    pub(crate) async fn reply(mut self) -> Result<Bytes> {
        (&mut self.reply).await.context(GONE)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.askers(|askers| askers.remove(&self.id));
    }
}
