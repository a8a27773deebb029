//! One-way messages with recovery.
//!
//! `send` and `flush` wait while the connection is opened again. A message whose `send` fails is
//! given up: it may have been written, and sending it again could duplicate it. What was accepted
//! and not written is lost with the connection. `close` with a lost connection is `Ok`.
//!
//! `recv` joins again; what was sent meanwhile is missed, unless the broker has stored it.

use anyhow::Result;
use bytes::Bytes;

use super::Recovering;
use super::link::{Joins, Link, Role};
use super::outgoing::{Outgoing, SenderOutlet};
use crate::lab::Place;
use crate::oneway::{OneWay, Receiver, Sender};

/// As a sender.
#[derive(Clone)]
pub struct AsSender;

impl<L: OneWay> Joins for Role<L, AsSender> {
    type Lab = L;
    type End = SenderOutlet<L::Sender>;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<Self::End> {
        Ok(SenderOutlet(L::open(&self.place).await?.sender().await?))
    }
}

/// As the receiver.
#[derive(Clone)]
pub struct AsReceiver;

impl<L: OneWay> Joins for Role<L, AsReceiver> {
    type Lab = L;
    type End = L::Receiver;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<L::Receiver> {
        L::open(&self.place).await?.receiver().await
    }
}

impl<L: OneWay> OneWay for Recovering<L> {
    type Sender = RecoveringSender<L>;
    type Receiver = RecoveringReceiver<L>;

    async fn sender(&self) -> Result<RecoveringSender<L>> {
        let end = SenderOutlet(self.lab.sender().await?);
        Ok(RecoveringSender(Outgoing::new(Role::new(&self.place, AsSender), end)))
    }

    async fn receiver(&self) -> Result<RecoveringReceiver<L>> {
        let end = self.lab.receiver().await?;
        Ok(RecoveringReceiver(Link::new(Role::new(&self.place, AsReceiver), end)))
    }
}

/// A sender whose connection is opened again.
pub struct RecoveringSender<L: OneWay>(pub(super) Outgoing<Role<L, AsSender>>);

impl<L: OneWay> Sender for RecoveringSender<L> {
    async fn send(&mut self, body: Bytes) -> Result<()> {
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

/// A receiver whose connection is opened again.
pub struct RecoveringReceiver<L: OneWay>(pub(super) Link<Role<L, AsReceiver>>);

impl<L: OneWay> Receiver for RecoveringReceiver<L> {
    /// `None` as the lab's: it listens, or asks a broker, so that the next call waits for others.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.0.end().await?.recv().await {
                Ok(body) => {
                    self.0.succeeded();
                    return Ok(body);
                }
                Err(error) => self.0.failed(error)?,
            }
        }
    }
}
