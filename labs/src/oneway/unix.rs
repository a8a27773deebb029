//! One-way over a Unix stream socket: the code of `oneway/tcp.rs` and its frames, without a
//! network.
//!
//! Wire: the receiver listens at a file, and each sender connects to it. A process that can enter
//! the folder of this file can connect; the lab makes the folder for its own user only (mode 0700). A
//! frame is four bytes of length, big-endian, then the body. The kernel copies what is written
//! straight into the receiver's queue: no packets, no acknowledgements, no window.
//!
//! Confirms: nothing. `send` returns when the frame is in a buffer. When the buffer holds
//! `write-bytes`, and at a `flush` or a `close`, it is written into the receiver's queue, and the
//! sender waits while too many of its bytes are unread (limit: `net.core.wmem_default`): a slow
//! receiver slows it down.
//!
//! Survives: the death of a sender, and a sender that breaks the protocol and is disconnected: the
//! receiver reads on from the others. After a cut connection or a restart of the receiver, the
//! recovery layer (`labs/src/recovery/`) connects and joins again; for the messages, see Loses.
//!
//! Loses: when a connection is cut or the receiver dies, the messages that the receiver had not
//! read; when a sender dies, what it had not written.
//!
//! Run it: `just lab oneway-unix`. Watch it: `ss -xp`, columns Recv-Q and Send-Q.

use anyhow::Result;

use super::OneWay;
use super::tcp::{FrameReceiver, FrameSender};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::wire::frames::FrameListener;
use crate::wire::sockets::Bound;

/// A larger write than `net.core.wmem_default` (about 200 KiB) is split by the kernel anyway, so more
/// brings nothing.
const WRITE: Knob =
    Knob::new("write-bytes", 64 << 10, "Bytes collected before they are written without a flush.");

/// `oneway-unix`.
pub struct Unix {
    place: Place,
    write: usize,
}

impl Lab for Unix {
    const TRANSPORT: &'static str = "unix";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[WRITE];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), write: place.knob(WRITE) })
    }

    /// A socket's file outlives a process that was killed.
    async fn remove(place: &Place) -> Result<()> {
        Bound::remove_unix(place)
    }
}

impl OneWay for Unix {
    type Sender = FrameSender;
    type Receiver = FrameReceiver;

    async fn sender(&self) -> Result<FrameSender> {
        // The address says which kind of socket it is: `unix:/a/path`.
        FrameSender::connect(&self.place.peer().await?, self.write).await
    }

    async fn receiver(&self) -> Result<FrameReceiver> {
        Ok(FrameReceiver(FrameListener::new(Bound::unix(&self.place).await?)))
    }
}
