//! A request that goes on when its caller is cancelled.

use std::pin::Pin;

use anyhow::{Context, Result};
use redis::RedisResult;

/// A request to Redis that outlives the future that waits for it.
///
/// Dropping a future does not take back the command: the items of a `BLMPOP` whose caller was
/// cancelled in a `select!` would be answered to nobody, and lost. Here the request stays open,
/// and the next caller gets its answer.
pub(crate) struct ResumableRequest<T>(Option<Pin<Box<dyn Future<Output = RedisResult<T>>>>>);

impl<T> ResumableRequest<T> {
    /// No request is open.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Whether a request waits for its answer.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// The answer to the open request, or else to the one that `start` makes. Cancel-safe.
    pub(crate) async fn resume_or<F>(&mut self, start: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = RedisResult<T>> + 'static,
    {
        let answer = self.0.get_or_insert_with(|| Box::pin(start())).await;
        self.0 = None;
        answer.context("Redis did not answer")
    }
}
