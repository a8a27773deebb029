//! The receiving end of the lab in memory.

use std::sync::Arc;

use anyhow::{Result, bail};
use bytes::Bytes;
use labs::lab::Place;
use labs::oneway::Receiver;
use labs::queue::{AttemptLimit, Consumer, Delivery, NACKED, UNSETTLED};

use super::fault::*;
use super::foreign::{FOREIGN, skips};
use super::tank::{self, Tank, pause};

/// Takes out of the tank; what is not acked goes back when it goes.
pub(in super::super) struct Hand {
    tank: Arc<Tank>,
    place: Place,
    pub(super) fault: usize,
    number: u64,
    most: usize,
    pub(super) held: Vec<tank::Item>,
    acked: Vec<tank::Item>,
    pub(super) limit: AttemptLimit,
}

impl Hand {
    pub(super) fn of(tank: Arc<Tank>, place: &Place, most: usize, fault: usize) -> Self {
        let number = tank.lock().another_receiver();
        let (place, limit) = (place.clone(), AttemptLimit::NEVER);
        Self { tank, place, fault, number, most, held: Vec::new(), acked: Vec::new(), limit }
    }

    async fn take(&mut self) -> tank::Item {
        loop {
            let room = self.held.len() < self.most || matches!(self.fault, IGNORES_PREFETCH | UNFAIR);
            let own = (self.fault == UNFAIR).then_some(self.number);
            let item = room.then(|| self.tank.lock().take(own)).flatten();
            if let Some(item) = item {
                if self.fault == DROPS_TAKEN {
                    // Given up here, the item is gone.
                    tokio::task::yield_now().await;
                }
                return item;
            }
            pause().await;
        }
    }

    fn give_back(&mut self) {
        let mut tank = self.tank.lock();
        if self.fault == ACKED_AGAIN {
            self.held.append(&mut self.acked);
        }
        if self.fault == NEVER_AGAIN {
            self.held.clear();
        }
        for item in self.held.drain(..).rev() {
            if let Some(item) = tank.failed(item, self.limit, UNSETTLED, self.fault) {
                tank.ready.push_front(item);
            }
        }
    }
}

impl Receiver for Hand {
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        loop {
            let item = self.take().await;
            if !skips(&item.body, &self.place, self.fault)? {
                return Ok(Some(item.body));
            }
        }
    }
}

impl Consumer for Hand {
    type Item = Bytes;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, u64>>> {
        loop {
            let item = self.take().await;
            let foreign = item.body.ends_with(FOREIGN);
            if !foreign || self.fault == FOREIGN_AGAIN {
                self.held.push(item.clone());
            }
            if !foreign || !skips(FOREIGN, &self.place, self.fault)? {
                return Ok(Some(Delivery { item: item.body, attempt: item.attempt, receipt: item.number }));
            }
        }
    }

    async fn ack(&mut self, receipt: u64) -> Result<()> {
        let Some(at) = self.held.iter().position(|item| item.number == receipt) else {
            bail!("no delivery {receipt} is open");
        };
        let item = self.held.remove(at);
        self.acked.push(item);
        Ok(())
    }

    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.ack(receipt).await?;
        if self.fault == NEVER_AGAIN {
            return Ok(());
        }
        if let Some(item) = self.acked.pop() {
            let mut tank = self.tank.lock();
            if let Some(item) = tank.failed(item, self.limit, NACKED, self.fault) {
                tank.ready.push_back(item);
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        if self.fault == KEEPS {
            self.held.clear();
        }
        Ok(())
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.give_back();
    }
}
