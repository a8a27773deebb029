//! The operations that a role has started and not finished: sends that wait for
//! confirmation, requests that wait for a reply.

use std::collections::VecDeque;
use std::future::poll_fn;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};

/// Many messages on their way at once. Each is started in the order in which
/// it is added: a plain `FuturesUnordered` starts them in any order, and the
/// disorder would be the harness's own.
pub(super) struct InFlight<'a, T> {
    waiting: FuturesUnordered<LocalBoxFuture<'a, T>>,
    /// Those that were through at once.
    done: VecDeque<T>,
    waited: bool,
}

impl<'a, T> InFlight<'a, T> {
    pub(super) fn new() -> Self {
        Self { waiting: FuturesUnordered::new(), done: VecDeque::new(), waited: false }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.done.len()
    }

    /// Starts one. It is woken like the others, so what it found out while it
    /// was started is not lost.
    pub(super) fn add(&mut self, work: impl Future<Output = T> + 'a) {
        let mut work = work.boxed_local();
        // The start must not be put off because this task has used up its turn.
        match tokio::task::unconstrained(&mut work).now_or_never() {
            Some(done) => self.done.push_back(done),
            None => self.waiting.push(work),
        }
    }

    /// The next that is through; `None` when there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<T> {
        match self.done.pop_front() {
            Some(done) => Some(done),
            None => {
                poll_fn(|context| {
                    let next = self.waiting.poll_next_unpin(context);
                    self.waited |= next.is_pending();
                    next
                })
                .await
            }
        }
    }

    /// Whether there was nothing to take for a while, since this was last asked.
    pub(super) fn has_waited(&mut self) -> bool {
        std::mem::take(&mut self.waited)
    }
}
