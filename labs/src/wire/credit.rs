//! Credit-based flow control: a worker says how many more messages it will
//! take, as a frame of four bytes, big-endian; it is sent no more than that.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use futures_util::FutureExt;

use super::hub::{Guest, Hub};
use crate::lab::Place;

/// Hands tasks to workers that have credit, each in turn.
pub struct Ventilator {
    hub: Hub,
    credits: BTreeMap<Guest, u32>,
    last: Guest,
    write: usize,
}

impl Ventilator {
    /// Binds and announces. What is handed out is written when `write` bytes
    /// have been collected for a worker, or at the next flush.
    pub async fn bind(place: &Place, write: usize) -> Result<Self> {
        Ok(Self { hub: Hub::bind(place).await?, credits: BTreeMap::new(), last: 0, write })
    }

    /// Writes all that was handed out.
    pub async fn flush(&mut self) {
        self.hub.flush().await;
    }

    /// The next worker with credit after the last one served.
    fn pick(&self) -> Option<Guest> {
        let with_credit = |(_, credit): &(&Guest, &u32)| **credit > 0;
        let after = self.credits.range(self.last + 1..).find(with_credit);
        after.or_else(|| self.credits.iter().find(with_credit)).map(|(guest, _)| *guest)
    }

    fn credit(&mut self, news: Result<Option<(Guest, Bytes)>>) -> Result<()> {
        let (guest, mut credit) = news?.context("all workers have left")?;
        *self.credits.entry(guest).or_default() +=
            credit.try_get_u32().context("a credit of the wrong length")?;
        Ok(())
    }

    /// Gives a task to a worker that has credit; waits until one has.
    pub async fn hand_out(&mut self, task: Bytes) -> Result<()> {
        loop {
            while let Some(guest) = self.pick() {
                if self.hub.put(guest, &[&task])? {
                    self.last = guest;
                    self.credits.entry(guest).and_modify(|credit| *credit -= 1);
                    if self.hub.unwritten(guest) >= self.write {
                        self.hub.flush().await;
                    }
                    return Ok(());
                }
                self.credits.remove(&guest);
            }
            let news = self.hub.next().await;
            self.credit(news)?;
            // Credit of the others that is here already counts as well.
            while let Some(news @ Ok(Some(_))) = self.hub.next().now_or_never() {
                self.credit(news)?;
            }
        }
    }
}
