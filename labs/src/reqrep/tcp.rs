//! Request/reply over plain TCP, multiplexed: many requests share a connection.
//!
//! Wire: responders listen, and a requester connects to all of them; each gets a request in turn. A
//! frame (four bytes of length, big-endian, then as many bytes) holds eight bytes of correlation
//! identifier, big-endian, and the body. The reply brings the identifier back, so replies may come
//! in any order.
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
//! Run it: `just lab reqrep-tcp`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use anyhow::{Result, ensure};
use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::reqrep::correlation::Pending;
use crate::wire::frames::{ConnectionEvent, FrameConnection, FrameListener, MAX_FRAME};
use crate::wire::responders::{Exchange, Responders, responder_has_closed};
use crate::wire::sockets::{Bound, ConnectionId};

pub(crate) const DEPTH: Knob =
    Knob::new("depth", 256, "Requests accepted and not yet written before the next one has to wait.");

/// `reqrep-tcp`.
pub struct Tcp {
    place: Place,
    depth: usize,
}

impl Lab for Tcp {
    const TRANSPORT: &'static str = "tcp";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[DEPTH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), depth: place.knob(DEPTH).max(1) })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl RequestReply for Tcp {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = FrameRequester;
    type Responder = FrameResponder;

    async fn requester(&self) -> Result<FrameRequester> {
        FrameRequester::connect(&self.place, self.depth).await
    }

    async fn responder(&self) -> Result<FrameResponder> {
        Ok(FrameResponder(FrameListener::new(Bound::tcp(&self.place).await?)))
    }
}

/// The asking end.
pub struct FrameRequester(Responders);

impl FrameRequester {
    pub(crate) async fn connect(place: &Place, depth: usize) -> Result<Self> {
        Responders::connect::<FrameConnection>(place, depth).await.map(Self)
    }
}

impl Requester for FrameRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let len = request.len() + 8;
        ensure!(len <= MAX_FRAME, "a request of {len} bytes is too long; at most {MAX_FRAME} are possible");
        self.0.ask(request.0).await.map(Document)
    }
}

impl Exchange for FrameConnection {
    async fn connect(address: &str) -> Result<Self> {
        Self::connect(address).await
    }

    async fn exchange(
        &mut self,
        requests: &mut mpsc::Receiver<(u64, Bytes)>,
        pending: &Pending,
        place: &Place,
    ) -> Result<()> {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                taken = requests.recv_many(&mut batch, DEPTH.default), if self.unwritten() == 0 => {
                    if taken == 0 {
                        return Ok(());
                    }
                    for (id, body) in batch.drain(..) {
                        self.put(&[&id.to_be_bytes(), &body])?;
                    }
                }
                // Waiting for an event writes what was put.
                event = self.event() => match event? {
                    ConnectionEvent::Written => {}
                    ConnectionEvent::Frame(mut body) => {
                        pending.hand_out_or_skip(body.try_get_u64().ok(), body, place);
                    }
                    ConnectionEvent::Closed => return Err(responder_has_closed()),
                },
            }
        }
    }
}

/// The answering end.
pub struct FrameResponder(pub(crate) FrameListener);

impl Responder for FrameResponder {
    /// The connection that the request came over, and its identifier.
    type ReplyTo = (ConnectionId, u64);

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        while let Some((connection, mut body)) = self.0.next().await {
            match body.try_get_u64() {
                Ok(id) => return Ok(Some((Command(body), (connection, id)))),
                Err(_) => self.0.disconnect(connection, "a request without an identifier"),
            }
        }
        Ok(None)
    }

    async fn reply(&mut self, (connection, id): Self::ReplyTo, reply: Document) -> Result<()> {
        // Written while `next` waits. A requester that has gone misses it.
        self.0.put(connection, &[&id.to_be_bytes(), &reply]).map(|_| ())
    }
}
