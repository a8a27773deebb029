//! The producer's end of a queue that lives with it: sends that wait for their
//! confirmation, and the task that keeps the queue while the producer does other things.

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Messages that wait for the task to take note of them; then senders wait,
/// and which of those comes first is for the runtime to say. So it is more
/// than a producer has reason to keep in flight.
const WAITING: usize = 16 * 1024;

/// A message that waits to be confirmed.
pub(crate) struct PendingSend {
    pub(crate) body: Bytes,
    /// Nobody may be waiting for it any more.
    pub(crate) confirm: oneshot::Sender<Result<()>>,
}

/// Messages on their way into the queue.
pub(crate) type PendingSends = mpsc::Receiver<PendingSend>;

/// Hands messages to the task that keeps the queue.
pub(crate) struct ProducerTask {
    sends: mpsc::Sender<PendingSend>,
    task: JoinSet<Result<()>>,
}

impl ProducerTask {
    /// Starts the task. It ends when no more sends can come; dropping this ends it at
    /// once, wherever it is.
    pub(crate) fn start<F>(run: impl FnOnce(PendingSends) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (sends, pending) = mpsc::channel(WAITING);
        let mut task = JoinSet::new();
        task.spawn(run(pending));
        Self { sends, task }
    }

    /// Returns when the task confirms the message.
    pub(crate) async fn send(&self, body: Bytes) -> Result<()> {
        let (confirm, confirmed) = oneshot::channel();
        let broken = "the queue has broken; closing the producer says why";
        self.sends.send(PendingSend { body, confirm }).await.ok().context(broken)?;
        confirmed.await.context(broken)?
    }

    /// No more sends: returns when the task is done.
    pub(crate) async fn close(mut self) -> Result<()> {
        drop(self.sends);
        match self.task.join_next().await {
            Some(ended) => ended.context("the task that keeps the queue has panicked")?,
            None => Ok(()),
        }
    }
}
