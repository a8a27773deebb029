//! How long a peer may take nothing of what is written to it, where others wait meanwhile.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Error;
use tokio::time::{Sleep, sleep};

use crate::knob::Knob;
use crate::place::Place;

/// For publishers that wait for their slowest subscriber.
pub(crate) const STALLED: Knob = Knob::new(
    "stalled-ms",
    10_000,
    "A subscriber that takes nothing for so long is disconnected, ms; 0: never.",
);

/// Measures how long a peer takes nothing. It costs nothing while the peer keeps up.
pub struct StallLimit {
    limit: Duration,
    /// Since when nothing was taken, as a timer that ends at the limit, and what was taken until
    /// then, bytes.
    waiting: Option<(Pin<Box<Sleep>>, u64)>,
}

impl StallLimit {
    /// As the knob says.
    pub(crate) fn at(place: &Place) -> Self {
        Self::new(Duration::from_millis(place.knob(STALLED) as u64))
    }

    /// Zero: a peer may take nothing for ever.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, waiting: None }
    }

    /// Something else is written: nothing has been waited for yet.
    pub(crate) fn begin(&mut self) {
        self.waiting = None;
    }

    /// For one that waits: ready where the peer, which has taken `taken` bytes in all, has taken
    /// none of them for too long.
    pub(crate) fn poll_stalled(&mut self, taken: u64, cx: &mut Context<'_>) -> Poll<Error> {
        if self.limit.is_zero() {
            return Poll::Pending;
        }
        if self.waiting.as_ref().is_none_or(|(_, before)| *before != taken) {
            self.waiting = Some((Box::pin(sleep(self.limit)), taken));
        }
        match &mut self.waiting {
            Some((timer, _)) => timer.as_mut().poll(cx).map(|()| Error::new(Stalled(self.limit))),
            None => Poll::Pending,
        }
    }
}

/// A peer has taken nothing for so long.
#[derive(Debug)]
pub(crate) struct Stalled(Duration);

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it took nothing of what was written to it for {:?}", self.0)
    }
}

impl std::error::Error for Stalled {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    const LIMIT: Duration = Duration::from_secs(10);

    fn stalled(stall: &mut StallLimit, taken: u64) -> bool {
        stall.poll_stalled(taken, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_subscriber_is_waited_for() {
        let mut stall = StallLimit::new(LIMIT);
        for taken in 0..5 {
            assert!(!stalled(&mut stall, taken));
            tokio::time::advance(LIMIT * 9 / 10).await;
        }
        assert!(!stalled(&mut stall, 4));
        tokio::time::advance(LIMIT / 5).await;
        assert!(stalled(&mut stall, 4), "nothing was taken for 11 s");
        stall.begin();
        assert!(!stalled(&mut stall, 4), "it waits for something else");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_stalls() {
        let mut stall = StallLimit::new(Duration::ZERO);
        for _ in 0..3 {
            assert!(!stalled(&mut stall, 0));
            tokio::time::advance(LIMIT * 1_000).await;
        }
    }
}
