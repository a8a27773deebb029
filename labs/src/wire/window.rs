//! What is on its way: a bounded number of writes that were handed to a
//! client, in order, and that it has not yet finished.

use std::collections::VecDeque;
use std::pin::Pin;

use anyhow::Result;
use futures_util::FutureExt;
use tokio::task::unconstrained;

type Write = Pin<Box<dyn Future<Output = Result<()>>>>;

/// Writes on their way, with the size of each.
pub(crate) struct Window {
    writes: VecDeque<(usize, Write)>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Window {
    /// A window of `most` writes and about `most_bytes`.
    pub(crate) const fn new(most: usize, most_bytes: usize) -> Self {
        Self { writes: VecDeque::new(), bytes: 0, most, most_bytes }
    }

    /// Waits until another write may follow. Cancel-safe.
    pub(crate) async fn room(&mut self) -> Result<()> {
        if self.writes.len() >= self.most || self.bytes >= self.most_bytes {
            // Half at once, or every write would wait for a wake-up of its own.
            while self.writes.len() > self.most / 2 || self.bytes > self.most_bytes / 2 {
                self.oldest().await?;
            }
        }
        Ok(())
    }

    /// Hands a write over; there is [`Window::room`] for it.
    pub(crate) fn put(
        &mut self,
        bytes: usize,
        write: impl Future<Output = Result<()>> + 'static,
    ) -> Result<()> {
        let mut write = write.boxed_local();
        // A future does nothing until it is polled: the first poll hands over.
        // It must not be put off because this task has used up its turn.
        match unconstrained(&mut write).now_or_never() {
            Some(done) => done?,
            None => {
                self.bytes += bytes;
                self.writes.push_back((bytes, write));
            }
        }
        Ok(())
    }

    /// Waits until nothing is on its way. Cancel-safe.
    pub(crate) async fn drain(&mut self) -> Result<()> {
        while !self.writes.is_empty() {
            self.oldest().await?;
        }
        Ok(())
    }

    async fn oldest(&mut self) -> Result<()> {
        if let Some((bytes, write)) = self.writes.front_mut() {
            let done = write.await;
            self.bytes -= *bytes;
            self.writes.pop_front();
            done?;
        }
        Ok(())
    }
}
