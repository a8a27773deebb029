//! When a lost connection is tried again, and when it is given up.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;

/// How long to wait between attempts, and for how long to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// Before the second attempt; the first is made at once.
    pub first: Duration,
    /// The longest: each is twice the one before, up to this.
    pub most: Duration,
    /// Given up when nothing has succeeded for so long.
    pub limit: Duration,
    /// A connection that has held for so long was a success, even if nothing went over it. One
    /// that is lost sooner, again and again, is given up at the limit.
    pub steady: Duration,
    /// One attempt may take so long.
    pub attempt: Duration,
}

impl Delays {
    /// The delay before the attempt that follows so many, without jitter.
    fn before(&self, attempts: u32) -> Duration {
        match attempts.checked_sub(1) {
            None => Duration::ZERO,
            Some(doubled) => self.first.saturating_mul(1 << doubled.min(20)).min(self.most),
        }
    }
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(10),
            most: Duration::from_secs(1),
            limit: Duration::from_secs(30),
            steady: Duration::from_secs(5),
            attempt: Duration::from_secs(10),
        }
    }
}

/// The delays of one reopening that has no limit, and how many attempts it took.
#[derive(Debug)]
pub struct Retry {
    delays: Delays,
    attempts: u32,
}

impl Retry {
    /// Nothing was tried yet.
    pub fn new(delays: Delays) -> Self {
        Self { delays, attempts: 0 }
    }

    /// After a loss that is noticed late, or by many at once: there is a wait before the first attempt,
    /// too.
    pub fn after_a_loss() -> Self {
        Self { delays: Delays::default(), attempts: 1 }
    }

    /// How long to wait before the next attempt, which this counts: not at all before the first.
    pub fn delay(&mut self) -> Duration {
        let delay = self.delays.before(self.attempts);
        self.attempts += 1;
        with_jitter(delay)
    }

    /// What to say when it has succeeded.
    pub fn reopened(&self, why: &str) -> String {
        let plural = if self.attempts == 1 { "" } else { "s" };
        format!("the connection was lost ({why}); reopened after {} attempt{plural}", self.attempts)
    }
}

/// How an end has fared since its last success.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    delays: Delays,
    /// When the first loss since the last success was noticed.
    failing_since: Option<Instant>,
    /// Attempts since then.
    attempts: u32,
    /// When the connection was opened the last time.
    opened: Instant,
    /// The limit was reached.
    given_up: bool,
}

impl Backoff {
    pub(super) fn new(delays: Delays) -> Self {
        Self { delays, failing_since: None, attempts: 0, opened: Instant::now(), given_up: false }
    }

    /// An operation has succeeded. Costs a comparison in steady state.
    #[inline]
    pub(super) fn succeeded(&mut self) {
        if self.failing_since.is_some() {
            (self.failing_since, self.attempts, self.given_up) = (None, 0, false);
        }
    }

    /// The connection was lost.
    pub(super) fn lost(&mut self) {
        let now = Instant::now();
        if now >= self.opened + self.delays.steady {
            self.succeeded();
        }
        self.failing_since.get_or_insert(now);
    }

    /// The connection is open again.
    pub(super) fn opened(&mut self) {
        self.opened = Instant::now();
    }

    /// Waits until the next attempt may be made, and says how long it may take; `None` when the
    /// limit is reached.
    pub(super) async fn next_attempt(&mut self) -> Option<Duration> {
        let until = *self.failing_since.get_or_insert_with(Instant::now) + self.delays.limit;
        let delay = with_jitter(self.delays.before(self.attempts));
        if self.given_up || Instant::now() + delay >= until {
            self.given_up = true;
            return None;
        }
        // Not even a yield before the first: the connection may be there.
        if !delay.is_zero() {
            sleep(delay).await;
        }
        self.attempts += 1;
        Some(self.delays.attempt)
    }

    /// What to say when the limit is reached.
    pub(super) fn why_given_up(&self) -> String {
        let plural = if self.attempts == 1 { "" } else { "s" };
        format!(
            "no success for {} s, after {} attempt{plural}",
            self.delays.limit.as_secs_f32(),
            self.attempts
        )
    }
}

/// 50 to 100 % of `delay`, at random: those who lost a broker together do not return together.
pub(crate) fn with_jitter(delay: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) as u32;
    delay.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_attempt_is_made_at_once_and_later_ones_ever_later() {
        let mut backoff = Backoff::new(Delays::default());
        backoff.lost();
        let (begin, mut before) = (Instant::now(), Instant::now());
        let expected = [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000];
        for millis in expected {
            assert_eq!(backoff.next_attempt().await, Some(Duration::from_secs(10)));
            let (waited, most) = (Instant::now() - before, Duration::from_millis(millis));
            // The timer counts whole milliseconds.
            assert!(
                waited >= most / 2 && waited <= most + Duration::from_millis(1),
                "{waited:?} of {most:?}"
            );
            before = Instant::now();
        }
        while backoff.next_attempt().await.is_some() {}
        let took = Instant::now() - begin;
        assert!(took > Duration::from_secs(28) && took <= Duration::from_secs(30), "{took:?}");
        assert!(
            backoff.why_given_up().starts_with("no success for 30 s, after "),
            "{}",
            backoff.why_given_up()
        );
        assert_eq!(backoff.next_attempt().await, None, "it stays given up");
        backoff.succeeded();
        assert!(backoff.next_attempt().await.is_some(), "a success begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_flaps_is_given_up_and_a_steady_connection_is_a_success() {
        for (holds, ends) in [(1, true), (4, true), (6, false)] {
            let mut backoff = Backoff::new(Delays::default());
            let mut ended = false;
            for _ in 0..100 {
                sleep(Duration::from_secs(holds)).await;
                backoff.lost();
                ended |= backoff.next_attempt().await.is_none();
                backoff.opened();
            }
            assert_eq!(ended, ends, "a connection that holds for {holds} s");
        }
    }

    #[test]
    fn jitter_keeps_within_its_bounds() {
        let delay = Duration::from_secs(1);
        let some: Vec<Duration> = (0..1000).map(|_| with_jitter(delay)).collect();
        assert!(some.iter().all(|one| *one >= delay / 2 && *one <= delay));
        let (least, most) = (some.iter().min().expect("some"), some.iter().max().expect("some"));
        assert!(*most - *least > delay / 4, "{least:?} to {most:?}");
    }
}
