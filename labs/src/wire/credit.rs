//! Credit-based flow control: a worker says how many more messages it will
//! take, as a frame of four bytes, big-endian; it is sent no more than that, and
//! gives credit back as it finishes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use futures_util::FutureExt;

use super::hub::{Guest, Hub};
use super::link::Link;
use super::socket::Bound;
use crate::oneway::Sender;
use crate::queue::{Consumer, Delivery};

/// Hands tasks to workers that have credit, each in turn.
pub struct Ventilator {
    hub: Hub,
    credits: BTreeMap<Guest, u32>,
    last: Guest,
    write: usize,
}

impl Ventilator {
    /// What is handed out is written when `write` bytes have been collected
    /// for a worker, or at the next flush.
    pub fn new(bound: Bound, write: usize) -> Self {
        Self { hub: Hub::new(bound), credits: BTreeMap::new(), last: 0, write }
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
}

impl Sender for Ventilator {
    /// Gives the task to a worker that has credit; waits until one has.
    async fn send(&mut self, task: Bytes) -> Result<()> {
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

    async fn flush(&mut self) -> Result<()> {
        self.hub.flush().await;
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        // Credit that nobody has read would make the kernel break the
        // connections instead of ending them.
        while let Some(Ok(Some(_))) = self.hub.next().now_or_never() {}
        Ok(())
    }
}

/// A credit as it is written: at least one task, or nothing would ever come.
pub(crate) fn credit(tasks: usize) -> u32 {
    u32::try_from(tasks).unwrap_or(u32::MAX).max(1)
}

/// The worker's side of a [`Ventilator`].
pub struct Worker {
    link: Link,
    /// Tasks finished since credit was last given back.
    finished: u32,
    /// When to give it back.
    half: u32,
    /// The ventilator has left; what it wrote may still be there to be read.
    gone: bool,
}

impl Worker {
    /// Connects, and gives its first credit.
    pub async fn connect(address: &str, credit: u32) -> Result<Self> {
        let mut link = Link::connect(address).await?;
        link.put(&[&credit.to_be_bytes()])?;
        link.flush().await?;
        Ok(Self { link, finished: 0, half: (credit / 2).max(1), gone: false })
    }
}

impl Consumer for Worker {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        let task = match self.link.next().await {
            Err(_) if self.gone => None,
            task => task?,
        };
        Ok(task.map(|item| Delivery { item, attempt: 1, receipt: () }))
    }

    /// Half of all credit is given back at once.
    async fn ack(&mut self, (): ()) -> Result<()> {
        self.finished += 1;
        if self.finished >= self.half { self.flush().await } else { Ok(()) }
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        bail!("a stream does not take a task back")
    }

    /// Gives back the credit of what is finished.
    async fn flush(&mut self) -> Result<()> {
        if self.finished > 0 && !self.gone {
            self.link.put(&[&self.finished.to_be_bytes()])?;
            self.finished = 0;
            self.gone = self.link.flush().await.is_err();
        }
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}
