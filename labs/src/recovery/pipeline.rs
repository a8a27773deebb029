//! Pipelines with recovery.
//!
//! `push` of an at-most-once lab is as a sender: a task whose `send` fails is given up. At least
//! once, what was accepted since the last `flush` is kept, and sent again when the connection is
//! open again. With 1024 messages, or 4 MiB, it is flushed without being asked. `pull` is a
//! consumer as in [`queue`](super::queue).

use anyhow::Result;
use bytes::Bytes;

use super::Recovering;
use super::link::{Joins, Role, keeps};
use super::outgoing::{Outgoing, SenderOutlet};
use super::queue::RecoveringConsumer;
use crate::lab::Place;
use crate::oneway::Sender;
use crate::pipeline::{Pipeline, Sharing, Stage};

/// As the sending end of a stage.
#[derive(Clone)]
pub struct AsPush(Stage);

impl<L: Pipeline> Joins for Role<L, AsPush> {
    type Lab = L;
    type End = SenderOutlet<L::Push>;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<Self::End> {
        Ok(SenderOutlet(L::open(&self.place).await?.push(self.kind.0).await?))
    }
}

/// As the receiving end of a stage.
#[derive(Clone)]
pub struct AsPull(Stage);

impl<L: Pipeline> Joins for Role<L, AsPull> {
    type Lab = L;
    type End = L::Pull;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<L::Pull> {
        L::open(&self.place).await?.pull(self.kind.0).await
    }
    /// The sink listens, peer to peer.
    fn connects(&self) -> bool {
        self.kind.0 == Stage::Tasks || L::BROKER.is_some()
    }
}

impl<L: Pipeline> Pipeline for Recovering<L> {
    const SHARING: Sharing = L::SHARING;
    type Push = RecoveringPush<L>;
    type Pull = RecoveringConsumer<Role<L, AsPull>>;
    type Control = Recovering<L::Control>;

    async fn push(&self, stage: Stage) -> Result<RecoveringPush<L>> {
        let end = SenderOutlet(self.lab.push(stage).await?);
        Ok(RecoveringPush(Outgoing::new(Role::new(&self.place, AsPush(stage)), end)))
    }

    async fn pull(&self, stage: Stage) -> Result<Self::Pull> {
        let end = self.lab.pull(stage).await?;
        Ok(RecoveringConsumer::new(Role::new(&self.place, AsPull(stage)), end))
    }
}

/// The sending end of a stage, whose connection is opened again.
pub struct RecoveringPush<L: Pipeline>(pub(super) Outgoing<Role<L, AsPush>>);

impl<L: Pipeline> Sender for RecoveringPush<L> {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        if keeps::<Role<L, AsPush>>() {
            let bytes = body.len();
            return self.0.keep(body, bytes).await;
        }
        match self.0.link.end().await?.0.send(body).await {
            Ok(()) => Ok(()),
            Err(error) => self.0.give_up(error).await,
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}
