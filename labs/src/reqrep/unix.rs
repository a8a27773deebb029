//! Request/reply over a Unix stream socket, multiplexed: the frames, the
//! correlation identifiers and both ends of `tcp.rs`, and no network in between.
//!
//! This is how a client talks to a daemon on its own machine: the service's
//! address is a file, and the permissions of the folder around it say who may
//! ask. With several responders each gets a request in turn.
//!
//! A reply is the only confirmation. A requester that gave up leaves no trace.
//! Requests that a responder had when it died are lost, and their requesters get
//! an error at once.
//!
//! Run it with `just lab reqrep-unix`. Watch it: `ss -xp`, columns Recv-Q and Send-Q.

use anyhow::Result;

use super::tcp::{DEPTH, FrameRequester, FrameResponder};
use super::{Matching, RequestReply};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
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
