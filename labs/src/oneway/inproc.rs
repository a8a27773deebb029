//! One-way inside one process: a bounded channel. This lab measures the price of handing over, and
//! the least that the harness itself costs.
//!
//! Wire: none. A body is a counted reference to memory, and `send` moves this reference into a
//! channel that all senders share.
//!
//! Confirms: nothing. `send` returns when the channel has the message, and waits while `depth`
//! messages are in it. `flush` and `close` have nothing left to do.
//!
//! Survives: the end of a sender: its messages stay in the channel. There is no connection that
//! could be cut.
//!
//! Loses: with the receiver, the messages in the channel and those of the batch that it has taken
//! out (`batch`); no other receiver can join, and `send` returns an error from then on. With the
//! process, everything.
//!
//! Run it: `just lab oneway-inproc`.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{OneWay, Receiver, Sender};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};

const DEPTH: Knob = Knob::new("depth", 1024, "Messages the channel holds before the sender has to wait.");
const BATCH: Knob = Knob::new("batch", 128, "Messages the receiver takes from the channel at once.");

/// `oneway-inproc`.
pub struct Inproc {
    channel: Arc<Channel>,
    batch: usize,
}

struct Channel {
    sender: mpsc::Sender<Bytes>,
    receiver: Mutex<Option<mpsc::Receiver<Bytes>>>,
}

impl Lab for Inproc {
    const TRANSPORT: &'static str = "inproc";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Nobody;
    const KNOBS: &'static [Knob] = &[DEPTH, BATCH];

    async fn open(place: &Place) -> Result<Self> {
        let depth = place.knob(DEPTH).max(1);
        let channel = place.registered(|| {
            let (sender, receiver) = mpsc::channel(depth);
            Channel { sender, receiver: Mutex::new(Some(receiver)) }
        });
        Ok(Self { channel, batch: place.knob(BATCH) })
    }

    async fn remove(place: &Place) -> Result<()> {
        place.unregister();
        Ok(())
    }
}

impl OneWay for Inproc {
    type Sender = InprocSender;
    type Receiver = InprocReceiver;

    async fn sender(&self) -> Result<InprocSender> {
        Ok(InprocSender(self.channel.sender.clone()))
    }

    async fn receiver(&self) -> Result<InprocReceiver> {
        let mut slot = self.channel.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = slot.take().context("a one-way channel has one receiver, and it is here already")?;
        Ok(InprocReceiver { channel, batch: self.batch, taken: Vec::new() })
    }
}

/// The sending end.
pub struct InprocSender(mpsc::Sender<Bytes>);

impl Sender for InprocSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        // Room is the rule, and then nothing has to be waited for; but a sender
        // that never waits must still let others have their turn.
        tokio::task::coop::consume_budget().await;
        match self.0.try_send(body) {
            Err(TrySendError::Full(body)) => self.0.send(body).await.context("the receiver has left"),
            done => done.context("the receiver has left"),
        }
    }

    /// The channel is the wire: what was accepted is written.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// The receiving end.
pub struct InprocReceiver {
    channel: mpsc::Receiver<Bytes>,
    batch: usize,
    /// Taken out of the channel and not yet handed on, in reverse.
    taken: Vec<Bytes>,
}

impl Receiver for InprocReceiver {
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        if self.taken.is_empty() {
            self.channel.recv_many(&mut self.taken, self.batch).await;
            self.taken.reverse();
        }
        Ok(self.taken.pop())
    }
}
