//! The producer's end of a queue that lives with it: messages on their way
//! into the queue, and the task that keeps it while the producer does other things.

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Messages that wait for the task to take note of them; then senders wait,
/// and which of those comes first is for the runtime to say. So it is more
/// than a producer has reason to keep in flight.
const WAITING: usize = 16 * 1024;

/// A message that wants to be confirmed.
pub(crate) struct Letter {
    pub(crate) body: Bytes,
    /// Nobody may be waiting for it any more.
    pub(crate) confirm: oneshot::Sender<Result<()>>,
}

/// Messages on their way into the queue.
pub(crate) type Letters = mpsc::Receiver<Letter>;

/// Hands messages to the task that keeps the queue.
pub(crate) struct Keeper {
    letters: mpsc::Sender<Letter>,
    task: JoinSet<Result<()>>,
}

impl Keeper {
    /// Starts the task. It ends when no more letters can come; dropping the
    /// keeper ends it at once, wherever it is.
    pub(crate) fn start<F>(keep: impl FnOnce(Letters) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (letters, come) = mpsc::channel(WAITING);
        let mut task = JoinSet::new();
        task.spawn(keep(come));
        Self { letters, task }
    }

    /// Returns when the task confirms the message.
    pub(crate) async fn send(&self, body: Bytes) -> Result<()> {
        let (confirm, confirmed) = oneshot::channel();
        let broken = "the queue has broken; closing the producer says why";
        self.letters.send(Letter { body, confirm }).await.ok().context(broken)?;
        confirmed.await.context(broken)?
    }

    /// No more letters: returns when the task is done.
    pub(crate) async fn close(mut self) -> Result<()> {
        drop(self.letters);
        match self.task.join_next().await {
            Some(ended) => ended.context("the task that keeps the queue has panicked")?,
            None => Ok(()),
        }
    }
}
