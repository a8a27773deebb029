//! One-way over plain TCP: a stream of bytes, cut into frames.
//!
//! Wire: the receiver listens, and each sender connects to it. A frame is one body (four bytes of
//! length, big-endian, then the body), and nothing goes back.
//!
//! Confirms: nothing. `send` returns when the frame is in a buffer. When the buffer holds
//! `write-bytes`, and at a `flush` or a `close`, it is written to the kernel, which makes a sender
//! wait while the receiver is slow: TCP closes the receiver's window.
//!
//! Survives: the death of a sender, and a sender that breaks the protocol and is disconnected: the
//! receiver reads on from the others. After a cut connection or a restart of the receiver, the
//! recovery layer (`labs/src/recovery/`) connects and joins again; for the messages, see Loses.
//!
//! Loses: when a connection is cut or the receiver dies, the messages in the buffers between the
//! two processes, and neither side can say how many these were; when a sender dies, what it had not
//! written.
//!
//! Run it: `just lab oneway-tcp`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use anyhow::Result;
use bytes::Bytes;

use super::{OneWay, Receiver, Sender};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::wire::frames::{FrameConnection, FrameListener};
use crate::wire::sockets::Bound;

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
    const RECOVERY: Recovery = Recovery::Ours;
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
        FrameSender::connect(&self.place.peer().await?, self.write).await
    }

    async fn receiver(&self) -> Result<FrameReceiver> {
        Ok(FrameReceiver(FrameListener::new(Bound::tcp(&self.place).await?)))
    }
}

/// The sending end: one connection.
pub struct FrameSender {
    connection: FrameConnection,
    write: usize,
}

impl FrameSender {
    /// `write` bytes are collected before they are written without a flush.
    pub(crate) async fn connect(address: &str, write: usize) -> Result<Self> {
        Ok(Self { connection: FrameConnection::connect(address).await?, write })
    }
}

impl Sender for FrameSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.connection.put(&[&body])?;
        if self.connection.unwritten() >= self.write {
            self.connection.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.connection.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.connection.flush().await
    }
}

/// The receiving end: a connection from each sender.
pub struct FrameReceiver(pub(crate) FrameListener);

impl Receiver for FrameReceiver {
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.next().await.map(|(_, body)| body))
    }
}
