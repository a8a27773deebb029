//! Request/reply over a Unix stream socket, multiplexed: the code of `reqrep/tcp.rs`, without a
//! network. This is how a client talks to a daemon on its own machine.
//!
//! Wire: each responder listens at a file, in a folder that the lab makes for its own user only
//! (mode 0700), so only this user can ask; a requester connects to all, and each gets a request in
//! turn. A frame (four bytes of length, big-endian, then as many bytes) holds eight bytes of
//! correlation identifier, big-endian, and the body; the reply brings the identifier back.
//!
//! Confirms: a request by its reply, and by nothing before; `ask` waits for it without a limit, and
//! before that while `depth` requests wait to be written to the same responder. A responder's
//! `reply` returns when the reply is in its buffer for this connection, which is written while the
//! responder's `next` waits.
//!
//! Survives: a requester that gives up: its identifier is forgotten, and the late reply is dropped.
//! A requester that dies, breaks the protocol, or reads no replies and keeps the responder's memory
//! full: it is disconnected, and the others notice nothing. After a cut connection or a restart of
//! a responder, the requester itself (`wire/responders.rs`) connects again, and meanwhile the
//! others get the requests; for those that this responder had, see Loses.
//!
//! Loses: when a connection is cut or a responder dies, the requests that this responder had, of
//! which it may have done some. Each `ask` that waited for it ends with `ConnectionLost` at once;
//! those that wait for others do not. While all responders are away, `ask` waits for up to 30 s,
//! and then fails.
//!
//! Run it: `just lab reqrep-unix`. Watch it: `ss -xp`, columns Recv-Q and Send-Q.

use anyhow::Result;

use super::tcp::{DEPTH, FrameRequester, FrameResponder};
use super::{Matching, RequestReply};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::wire::frames::FrameListener;
use crate::wire::sockets::Bound;

/// `reqrep-unix`.
pub struct Unix {
    place: Place,
    depth: usize,
}

impl Lab for Unix {
    const TRANSPORT: &'static str = "unix";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[DEPTH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), depth: place.knob(DEPTH).max(1) })
    }

    /// A socket's file outlives a process that was killed.
    async fn remove(place: &Place) -> Result<()> {
        Bound::remove_unix(place)
    }
}

impl RequestReply for Unix {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = FrameRequester;
    type Responder = FrameResponder;

    async fn requester(&self) -> Result<FrameRequester> {
        FrameRequester::connect(&self.place, self.depth).await
    }

    /// Each responder has a file of its own in the place's folder.
    async fn responder(&self) -> Result<FrameResponder> {
        Ok(FrameResponder(FrameListener::new(Bound::unix(&self.place).await?)))
    }
}
