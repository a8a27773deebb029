//! A bounded in-flight window: writes that were handed to a client library, in
//! order, and that the library has not finished.
//!
//! A lab that awaits each write before the next one measures how fast two tasks
//! wake each other. With a window, it hands over the next write at once and
//! waits only when the window is full. The window bounds both the number of
//! writes and their bytes, so a slow broker makes the sender wait.
//!
//! What "finished" means is up to the write: with publisher confirms, a publish
//! is finished when it is confirmed; without, when it is written. An error of a
//! write comes out of the next call that waits.
//!
//! Used over NATS, RabbitMQ, Redis and STOMP.

use std::collections::VecDeque;
use std::pin::Pin;

use anyhow::Result;
use futures_util::FutureExt;
use tokio::task::unconstrained;

type Write = Pin<Box<dyn Future<Output = Result<()>>>>;

/// Writes in flight, each with its size in bytes.
pub(crate) struct Window {
    writes: VecDeque<(usize, Write)>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Window {
    /// A window of at most `most` writes, and of about `most_bytes` bytes.
    pub(crate) const fn new(most: usize, most_bytes: usize) -> Self {
        Self { writes: VecDeque::new(), bytes: 0, most, most_bytes }
    }

    /// Waits until another write may follow. Cancel-safe.
    pub(crate) async fn room(&mut self) -> Result<()> {
        if self.writes.len() >= self.most || self.bytes >= self.most_bytes {
            // Until it is half empty, or every later write would wait for a wake-up of its own.
            while self.writes.len() > self.most / 2 || self.bytes > self.most_bytes / 2 {
                self.oldest().await?;
            }
        }
        Ok(())
    }

    /// Starts a write. Call [`Window::room`] before.
    pub(crate) fn put(
        &mut self,
        bytes: usize,
        write: impl Future<Output = Result<()>> + 'static,
    ) -> Result<()> {
        let mut write = write.boxed_local();
        // A future does nothing until it is polled: the first poll hands the write over. It must
        // happen now, even if this task has used up its turn.
        match unconstrained(&mut write).now_or_never() {
            Some(done) => done?,
            None => {
                self.bytes += bytes;
                self.writes.push_back((bytes, write));
            }
        }
        Ok(())
    }

    /// Waits until every write is finished. Cancel-safe.
    pub(crate) async fn drain(&mut self) -> Result<()> {
        while !self.writes.is_empty() {
            self.oldest().await?;
        }
        Ok(())
    }

    /// Waits until the oldest write is finished.
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
