//! Request/reply over plain TCP, multiplexed: many requests share a connection.
//!
//! Every request carries a correlation identifier, and its reply brings it
//! back, so that replies may come in any order. A frame is eight bytes of
//! identifier, big-endian, and the body. A requester that gave up leaves no
//! trace: its identifier is forgotten, and the late reply finds nobody. With
//! several responders each gets a request in turn.
//!
//! Run it with `just lab reqrep-tcp`.

use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::reqrep::correlation::Pending;
use crate::wire::hub::{Guest, Hub};
use crate::wire::link::Link;
use crate::wire::socket::Bound;

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
    const KNOBS: &'static [Knob] = &[DEPTH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), depth: place.knob(DEPTH) })
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
        FrameRequester::connect(&self.place.peers().await?, self.depth).await
    }

    async fn responder(&self) -> Result<FrameResponder> {
        Ok(FrameResponder(Hub::new(Bound::tcp(&self.place).await?)))
    }
}

/// The asking end. Its connections are driven by tasks of their own, so that a
/// dropped `ask` can never leave half a frame on the wire.
pub struct FrameRequester {
    lines: Vec<mpsc::Sender<(u64, Bytes)>>,
    pending: Pending,
    _drivers: JoinSet<()>,
}

impl FrameRequester {
    pub(crate) async fn connect(addresses: &[String], depth: usize) -> Result<Self> {
        let (pending, mut lines, mut drivers) = (Pending::default(), Vec::new(), JoinSet::new());
        for address in addresses {
            let link = Link::connect(address).await?;
            let (line, requests) = mpsc::channel(depth);
            drivers.spawn(drive(link, requests, pending.clone()));
            lines.push(line);
        }
        Ok(Self { lines, pending, _drivers: drivers })
    }
}

impl Requester for FrameRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        let line = &self.lines[ticket.id() as usize % self.lines.len()];
        line.send((ticket.id(), request.0)).await.context("the responder has left")?;
        Ok(Document(ticket.reply().await?))
    }
}

/// Writes what is asked, as much at a time as there is, and hands out replies.
async fn drive(mut link: Link, mut requests: mpsc::Receiver<(u64, Bytes)>, pending: Pending) {
    let mut batch = Vec::new();
    let mut converse = async || -> Result<()> {
        loop {
            tokio::select! {
                taken = requests.recv_many(&mut batch, DEPTH.default) => {
                    if taken == 0 {
                        return Ok(());
                    }
                    for (id, body) in batch.drain(..) {
                        link.put(&[&id.to_be_bytes(), &body])?;
                    }
                    link.flush().await?;
                }
                frame = link.next() => {
                    let mut body = frame?.context("the responder has closed the connection")?;
                    let id = body.try_get_u64().context("a reply without an identifier")?;
                    pending.hand_out(id, body);
                }
            }
        }
    };
    if converse().await.is_err() {
        pending.close();
    }
}

/// The answering end.
pub struct FrameResponder(pub(crate) Hub);

impl Responder for FrameResponder {
    type ReplyTo = (Guest, u64);

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        let Some((guest, mut body)) = self.0.next().await? else { return Ok(None) };
        let id = body.try_get_u64().context("a request without an identifier")?;
        Ok(Some((Command(body), (guest, id))))
    }

    async fn reply(&mut self, (guest, id): Self::ReplyTo, reply: Document) -> Result<()> {
        self.0.put(guest, &[&id.to_be_bytes(), &reply]).map(|_| ())
    }
}
