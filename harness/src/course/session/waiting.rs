//! Waiting for what a program does, with patience that grows on a busy machine.

use std::time::Duration;

use anyhow::Result;

use super::waits::Patience;
use super::{LOOK, PATIENCE, Session};
use crate::command::nonce;
use crate::course::history::{History, What, ms};
use crate::course::plan::LONGEST;
use crate::course::redis::Redis;
use crate::course::trouble::Trouble;

/// How often the broker is asked for what is waited for.
const AGAIN: Duration = Duration::from_millis(10);

impl Session {
    /// Waits until `so` is true of the record; returns whether that was in time.
    ///
    /// # Errors
    /// [`Trouble`] when a program breaks the protocol or a limit, or ends unasked.
    pub(crate) async fn until(&mut self, patience: Duration, so: impl Fn(&History) -> bool) -> Result<bool> {
        let patience = self.patience(patience);
        let mut hopeless = None;
        let mut look_again = Duration::ZERO;
        loop {
            while let Ok(heard) = self.arriving.try_recv() {
                self.heard(heard)?;
            }
            if self.broken || self.trouble.is_some() && self.programs.iter().all(|slot| slot.ended) {
                // Nobody is left who could make it true, or is heard.
                hopeless.get_or_insert_with(|| self.began.elapsed() + LOOK);
            }
            // A program that asks the broker without a pause makes a long record, and looking through it
            // takes time: at most a quarter of all time goes there.
            let now = self.began.elapsed();
            if now >= look_again {
                if so(&self.history) {
                    return Ok(true);
                }
                let looked = self.began.elapsed();
                look_again = looked + (looked - now) * 3;
            }
            if self.began.elapsed() > LONGEST + self.waits.total().min(LONGEST) {
                return Err(Trouble::new(
                    format!("the check took longer than {} s{}", LONGEST.as_secs(), self.log(0)),
                    "look for waits that come one after the other",
                )
                .into());
            }
            if self.looked.elapsed() > LOOK {
                self.look()?;
            }
            let end = patience.end(self.waits.total());
            let end = hopeless.map_or(end, |hopeless| end.min(hopeless));
            let now = self.began.elapsed();
            if now >= end {
                return Ok(so(&self.history));
            }
            let next = end.min(now + LOOK).min(if look_again > now { look_again } else { end });
            if let Ok(Some(heard)) = tokio::time::timeout_at(self.began + next, self.arriving.recv()).await {
                self.heard(heard)?;
            }
        }
    }

    /// Waits until `so` is true of the broker, which is asked again and again.
    ///
    /// # Errors
    /// As [`Self::until`], and when it cannot be asked.
    pub(crate) async fn ask_until(
        &mut self,
        patience: Duration,
        mut so: impl AsyncFnMut() -> Result<bool>,
    ) -> Result<bool> {
        let patience = self.patience(patience);
        loop {
            if so().await? {
                return Ok(true);
            }
            if self.over(patience) {
                return Ok(false);
            }
            self.listen(AGAIN).await?;
        }
    }

    /// Patience that begins now.
    pub(crate) fn patience(&self, most: Duration) -> Patience {
        Patience { since: self.began.elapsed(), waited: self.waits.total(), most }
    }

    /// Whether it has come to its end.
    pub(crate) fn over(&self, patience: Patience) -> bool {
        self.began.elapsed() >= patience.end(self.waits.total())
    }

    /// Listens for a while.
    pub(crate) async fn listen(&mut self, time: Duration) -> Result<()> {
        self.until(time, |_| false).await.map(drop)
    }

    /// Waits until the spy has seen everything that Redis was given before.
    pub(crate) async fn caught_up(&mut self, redis: &mut Redis) -> Result<()> {
        let marker = format!("marker-{}", nonce());
        redis.call(&["ECHO", &marker]).await?;
        let seen = |history: &History| {
            history.0.iter().rev().any(
                |event| matches!(&event.what, What::Command { words, .. } if words.last() == Some(&marker)),
            )
        };
        self.until(PATIENCE, seen).await.map(drop)
    }

    /// Whether something took longer than it may. Where it did so only because the run waited for a
    /// processor, nothing can be said.
    pub(crate) fn late(&mut self, from: Duration, to: Duration, most: Duration) -> bool {
        let took = to.saturating_sub(from);
        if took <= most {
            return false;
        }
        let waited = self.waits.between(from, to);
        let late = took.saturating_sub(waited) > most;
        if !late {
            self.cannot_tell(&format!(
                "this machine is too busy to judge what must happen within {}: it took {}, and the run waited {} for a \
                 processor; check again when less runs beside it",
                ms(most),
                ms(took),
                ms(waited)
            ));
        }
        late
    }
}
