//! One-way over plain TCP: length-prefixed frames, nothing else.
//!
//! The receiver listens, senders connect. TCP keeps order and loses nothing
//! while the connection lives; when the receiver is slow, its window closes
//! and the sender waits. A broken connection loses what was on its way, and
//! neither side can say how much that was.
//!
//! Run it with `just lab oneway-tcp`.

use anyhow::Result;
use bytes::Bytes;

use super::{OneWay, Receiver, Sender};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::wire::hub::Hub;
use crate::wire::link::Link;
use crate::wire::socket::Bound;

/// One system call costs as much as hundreds of small messages.
const WRITE: Knob =
    Knob::new("write-bytes", 64 << 10, "Bytes collected before they are written without a flush.");

/// `oneway-tcp`.
pub struct Tcp {
    place: Place,
    write: usize,
}

impl Lab for Tcp {
    const TRANSPORT: &'static str = "tcp";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[WRITE];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), write: place.knob(WRITE) })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl OneWay for Tcp {
    type Sender = FrameSender;
    type Receiver = FrameReceiver;

    async fn sender(&self) -> Result<FrameSender> {
        let link = Link::connect(&self.place.peer().await?).await?;
        Ok(FrameSender { link, write: self.write })
    }

    async fn receiver(&self) -> Result<FrameReceiver> {
        Ok(FrameReceiver(Hub::new(Bound::tcp(&self.place).await?)))
    }
}

/// The sending end: one connection.
pub struct FrameSender {
    pub(crate) link: Link,
    pub(crate) write: usize,
}

impl Sender for FrameSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.link.put(&[&body])?;
        if self.link.unwritten() >= self.write {
            self.link.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.link.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.link.flush().await
    }
}

/// The receiving end: a connection from each sender.
pub struct FrameReceiver(pub(crate) Hub);

impl Receiver for FrameReceiver {
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.next().await?.map(|(_, body)| body))
    }
}
