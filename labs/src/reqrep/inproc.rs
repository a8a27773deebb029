//! Request/reply inside one process: each request brings along the channel its reply goes to.
//!
//! Wire: none. Requests go through a bounded channel that all responders share; one that is free
//! takes the next. The reply goes through a one-shot channel, the return address in its simplest
//! form: it belongs to one request, works once, and is gone when the requester gives up.
//!
//! Confirms: a request by its reply, and by nothing before. `ask` waits for the reply without a
//! limit, and before that while `depth` requests wait for a responder.
//!
//! Survives: a requester that gives up: its reply reaches nobody. A responder that ends: requests
//! that it had not taken go to the others, or wait for one. There is no connection that could be
//! cut.
//!
//! Loses: a request whose responder drops it; its `ask` ends with an error at once. With the
//! process, everything.
//!
//! Run it: `just lab reqrep-inproc`.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_channel as mpmc;
use tokio::sync::oneshot;

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};

const DEPTH: Knob =
    Knob::new("depth", 1024, "Requests that wait for a responder before the next requester has to wait.");

/// `reqrep-inproc`.
pub struct Inproc(Arc<Requests>);

type Request = (Command, oneshot::Sender<Document>);

struct Requests {
    enter: mpmc::Sender<Request>,
    leave: mpmc::Receiver<Request>,
}

impl Lab for Inproc {
    const TRANSPORT: &'static str = "inproc";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Nobody;
    const KNOBS: &'static [Knob] = &[DEPTH];

    async fn open(place: &Place) -> Result<Self> {
        let depth = place.knob(DEPTH).max(1);
        Ok(Self(place.registered(|| {
            let (enter, leave) = mpmc::bounded(depth);
            Requests { enter, leave }
        })))
    }

    async fn remove(place: &Place) -> Result<()> {
        place.unregister();
        Ok(())
    }
}

impl RequestReply for Inproc {
    const MATCHING: Matching = Matching::ReplyAddress;
    type Requester = InprocRequester;
    type Responder = InprocResponder;

    async fn requester(&self) -> Result<InprocRequester> {
        Ok(InprocRequester(self.0.enter.clone()))
    }

    async fn responder(&self) -> Result<InprocResponder> {
        Ok(InprocResponder(self.0.leave.clone()))
    }
}

/// The asking end.
pub struct InprocRequester(mpmc::Sender<Request>);

impl Requester for InprocRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let (address, reply) = oneshot::channel();
        self.0.send((request, address)).await.context("this place was removed")?;
        reply.await.context("the responder dropped the request without a reply")
    }
}

/// The answering end.
pub struct InprocResponder(mpmc::Receiver<Request>);

impl Responder for InprocResponder {
    type ReplyTo = oneshot::Sender<Document>;

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        Ok(self.0.recv().await.ok())
    }

    async fn reply(&mut self, to: Self::ReplyTo, reply: Document) -> Result<()> {
        // Nobody waits any more: the reply is late, and this is where it ends.
        let _ = to.send(reply);
        Ok(())
    }
}
