//! One-way over the simulated transport.

use anyhow::Result;
use bytes::Bytes;
use labs::oneway::{OneWay, Receiver, Sender};

use super::SimulatedLab;
use crate::validate::selftest::transport::{Entrance, Exit};

impl OneWay for SimulatedLab {
    type Sender = Entrance;
    type Receiver = Exit;

    async fn sender(&self) -> Result<Entrance> {
        Entrance::to(self.transport()?, vec![self.wire("")])
    }

    async fn receiver(&self) -> Result<Exit> {
        Exit::of(self.transport()?, self.wire(""), 0)
    }
}

impl Sender for Entrance {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.put(body, None).await.map(drop)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Exit {
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(self.take().await?.body))
    }
}
