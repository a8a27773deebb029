//! Queue and pipeline over the simulated transport. A delivered message is removed,
//! because the measured loops never give a message back.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use bytes::Bytes;
use labs::oneway::Sender;
use labs::pipeline::{Pipeline, Sharing, Stage};
use labs::queue::{Consumer, DeadLetter, DeadLetters, Delivery, Producer, Queue};

use super::SimulatedLab;
use crate::validate::selftest::transport::{Entrance, Exit};

impl Queue for SimulatedLab {
    type Producer = Entrance;
    type Consumer = Taking;
    type DeadLetters = NoDeadLetters;

    async fn producer(&self) -> Result<Entrance> {
        Entrance::to(self.transport()?, vec![self.wire("")])
    }

    async fn consumer(&self, _: u16) -> Result<Taking> {
        let number = self.place.registered(AtomicUsize::default).fetch_add(1, Ordering::Relaxed);
        Ok(Taking { exit: Exit::of(self.transport()?, self.wire(""), number)?, noted: true })
    }

    async fn dead_letters(&self) -> Result<NoDeadLetters> {
        Ok(NoDeadLetters)
    }
}

/// Nothing is given back, so nothing is put aside.
pub(in crate::validate::selftest) struct NoDeadLetters;

impl DeadLetters for NoDeadLetters {
    async fn list(&mut self, _: usize) -> Result<Vec<DeadLetter>> {
        Ok(Vec::new())
    }

    async fn give_back(&mut self, _: &str) -> Result<bool> {
        Ok(false)
    }

    async fn discard(&mut self, _: &str) -> Result<bool> {
        Ok(false)
    }
}

impl Producer for Entrance {
    async fn send(&self, body: Bytes) -> Result<()> {
        match self.put(body, None).await? {
            Some(accepted) if accepted.swallowed => pending().await,
            Some(accepted) => self.confirm(&accepted).await,
            None => Ok(()),
        }
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

impl Pipeline for SimulatedLab {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = Pushing;
    type Pull = Taking;
    type Control = Self;

    async fn push(&self, stage: Stage) -> Result<Pushing> {
        let entrance = Entrance::to(self.transport()?, vec![self.wire(stage.namespace())])?;
        Ok(Pushing { entrance, stage })
    }

    async fn pull(&self, stage: Stage) -> Result<Taking> {
        let exit = Exit::of(self.transport()?, self.wire(stage.namespace()), 0)?;
        Ok(Taking { exit, noted: stage == Stage::Results })
    }
}

/// The sending end of a stage: tasks are harmed, and results are passed on.
pub(in crate::validate::selftest) struct Pushing {
    entrance: Entrance,
    stage: Stage,
}

impl Sender for Pushing {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        match self.stage {
            Stage::Tasks => self.entrance.put(body, None).await.map(drop),
            Stage::Results => {
                self.entrance.relay(&body);
                Ok(())
            }
        }
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// The taking end.
pub(in crate::validate::selftest) struct Taking {
    exit: Exit,
    /// It is where messages end.
    noted: bool,
}

impl Consumer for Taking {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        let parcel = if self.noted { self.exit.take().await? } else { self.exit.pass().await? };
        Ok(Some(Delivery { item: parcel.body, attempt: parcel.attempt, receipt: () }))
    }

    async fn ack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
