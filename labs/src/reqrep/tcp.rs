//! Request/reply over plain TCP, multiplexed: many requests share a connection.
//!
//! Wire: responders listen, and a requester connects to all of them; each gets a request in turn. A
//! frame (four bytes of length, big-endian, then as many bytes) holds eight bytes of correlation
//! identifier, big-endian, and the body. The reply brings the identifier back, so replies may come
//! in any order.
//!
//! Confirms: a request by its reply, and by nothing before; `ask` waits for it without a limit. A
//! responder's `reply` returns when the reply is in a buffer, which is written while `next` waits.
//!
//! Survives: a requester that gives up: its identifier is forgotten, and the late reply is dropped.
//! A requester that dies, breaks the protocol, or reads no replies and keeps the responder's memory
//! full: it is disconnected, and the others notice nothing. No connection is made again.
//!
//! Loses: when a connection breaks, its requests, of which the responder may have done some. Every
//! open `ask` of that requester then ends with an error at once, whichever responder had it, and so
//! does each later one.
//!
//! Run it with `just lab reqrep-tcp`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::reqrep::correlation::Pending;
use crate::wire::frames::{ConnectionEvent, FrameConnection, FrameListener};
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

/// The asking end. Each connection has a task of its own that writes and reads, so
/// that a dropped `ask` can never leave half a frame on the wire.
pub struct FrameRequester {
    /// The way to each connection's task: identifier and body of a request.
    connections: Vec<mpsc::Sender<(u64, Bytes)>>,
    pending: Pending,
    _tasks: JoinSet<()>,
}

impl FrameRequester {
    pub(crate) async fn connect(place: &Place, depth: usize) -> Result<Self> {
        let (pending, mut connections, mut tasks) = (Pending::default(), Vec::new(), JoinSet::new());
        for address in place.peers().await? {
            let connection = FrameConnection::connect(&address).await?;
            let (requests, to_write) = mpsc::channel(depth);
            tasks.spawn(write_and_read(connection, to_write, pending.clone(), place.clone()));
            connections.push(requests);
        }
        Ok(Self { connections, pending, _tasks: tasks })
    }
}

impl Requester for FrameRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        let connection = &self.connections[ticket.id() as usize % self.connections.len()];
        connection.send((ticket.id(), request.0)).await.context("the responder has left")?;
        Ok(Document(ticket.reply().await?))
    }
}

/// Writes requests, as many at a time as there are, and gives each reply to the
/// `ask` that waits for its identifier. It reads while it writes: a responder whose
/// replies nobody reads stops reading requests.
async fn write_and_read(
    mut connection: FrameConnection,
    mut requests: mpsc::Receiver<(u64, Bytes)>,
    pending: Pending,
    place: Place,
) {
    let mut batch = Vec::new();
    let mut until_closed = async || -> Result<()> {
        loop {
            tokio::select! {
                taken = requests.recv_many(&mut batch, DEPTH.default), if connection.unwritten() == 0 => {
                    if taken == 0 {
                        return Ok(());
                    }
                    for (id, body) in batch.drain(..) {
                        connection.put(&[&id.to_be_bytes(), &body])?;
                    }
                }
                // Waiting for an event writes what was put.
                event = connection.event() => match event? {
                    ConnectionEvent::Written => {}
                    ConnectionEvent::Frame(mut body) => {
                        pending.hand_out_or_skip(body.try_get_u64().ok(), body, &place);
                    }
                    ConnectionEvent::Closed => bail!("the responder has closed the connection"),
                },
            }
        }
    };
    if until_closed().await.is_err() {
        pending.close();
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
