//! Request/reply over ØMQ's DEALER and ROUTER sockets, which are REQ and REP without the
//! turn-taking: many requests are in flight.
//!
//! Wire: responders bind a ROUTER, and a requester connects a DEALER to all of them; each gets a
//! request in turn. A request is a correlation identifier of eight bytes, an empty frame and the
//! body; a plain REP socket would leave the identifier in place and send it back. ROUTER puts the
//! requester's identity in front of each message it receives and takes it off each one it sends:
//! that is the return address.
//!
//! Confirms: a request by its reply, and by nothing before; `ask` waits for it without a limit.
//!
//! Survives: a requester that gives up: a reply that comes late is dropped. A requester that reads
//! no replies: when its queue is full for five seconds, it is disconnected, and the others are
//! answered. After a cut connection or a restart of a responder, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the requests, see Loses. (The crate's
//! DEALER does not reconnect.) The new socket connects to every responder that is there; one that
//! comes back later gets requests only after the next loss.
//!
//! Loses: requests and replies that are queued in a socket, or on their way, when a connection is
//! cut or a process dies. DEALER does not say which responder a request went to: when it loses one,
//! every open `ask` ends with `ConnectionLost`.
//!
//! Run it: `just lab reqrep-zeromq-dealer`. Watch it: `ss -tnp`.

use std::pin::pin;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::task::{JoinSet, unconstrained};
use tokio::time::timeout;
use zeromq::{DealerRecvHalf, DealerSendHalf, DealerSocket, RouterSocket, Socket, SocketSend, ZmqMessage};

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::reqrep::correlation::Pending;
use crate::wire::sockets::PATIENCE;
use crate::wire::zmq::{self, Accepting, PeerLoss};

/// `reqrep-zeromq-dealer`.
pub struct ZeroMqDealer(Place);

impl Lab for ZeroMqDealer {
    const TRANSPORT: &'static str = "zeromq";
    const VARIANT: Option<&'static str> = Some("dealer");
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self(place.clone()))
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl RequestReply for ZeroMqDealer {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = DealerRequester;
    type Responder = RouterResponder;

    async fn requester(&self) -> Result<DealerRequester> {
        let mut socket = DealerSocket::new();
        let loss = zmq::connect(&mut socket, &self.0).await?;
        let (send, recv) = socket.split();
        let (pending, mut reader) = (Pending::default(), JoinSet::new());
        reader.spawn(hand_out(recv, loss, pending.clone(), self.0.clone()));
        Ok(DealerRequester { send: tokio::sync::Mutex::new(send), pending, _reader: reader })
    }

    async fn responder(&self) -> Result<RouterResponder> {
        let mut socket = RouterSocket::new();
        let accepting = zmq::bind(&mut socket, &self.0).await?;
        Ok(RouterResponder { socket, place: self.0.clone(), _accepting: accepting })
    }
}

/// The asking end: a DEALER socket, one half for asking, one for replies.
pub struct DealerRequester {
    send: tokio::sync::Mutex<DealerSendHalf>,
    pending: Pending,
    _reader: JoinSet<()>,
}

impl Requester for DealerRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        let id = Bytes::copy_from_slice(&ticket.id().to_be_bytes());
        let envelope = message(vec![id, Bytes::new(), zmq::check(request.0)?])?;
        self.send.lock().await.send(envelope).await.context("the responder has left")?;
        Ok(Document(ticket.reply().await?))
    }
}

/// Gives each reply to the one who waits for it; a late one to nobody.
async fn hand_out(mut replies: DealerRecvHalf, mut loss: PeerLoss, pending: Pending, place: Place) {
    let why = loop {
        let reply = match loss.receive(&mut replies).await {
            Ok(reply) => reply,
            Err(error) => break error,
        };
        let (id, body) = match &reply.into_vec()[..] {
            [id, _, body] => (<[u8; 8]>::try_from(&id[..]).ok(), body.clone()),
            _ => (None, Bytes::new()),
        };
        pending.hand_out_or_skip(id.map(u64::from_be_bytes), body, &place);
    };
    pending.close_because(&format!("{why:#}"));
}

/// The answering end: a ROUTER socket.
pub struct RouterResponder {
    socket: RouterSocket,
    place: Place,
    _accepting: Accepting,
}

impl Responder for RouterResponder {
    /// All frames before the body: the requester's identity, and what it put
    /// in front of the empty frame.
    type ReplyTo = Vec<Bytes>;

    async fn next(&mut self) -> Result<Option<(Command, Vec<Bytes>)>> {
        loop {
            let mut frames = zmq::receive(&mut self.socket).await?.into_vec();
            let body = frames.pop().unwrap_or_default();
            // The identity, what the requester put before the empty frame, and that frame.
            if frames.len() >= 2 && frames.last().is_some_and(Bytes::is_empty) {
                return Ok(Some((Command(body), frames)));
            }
            self.place.message_skipped("a request without an empty frame before its body");
        }
    }

    async fn reply(&mut self, mut to: Vec<Bytes>, reply: Document) -> Result<()> {
        to.push(zmq::check(reply.0)?);
        let requester = to[0].clone();
        // A requester that has left is no longer known by its identity. One that reads nothing is
        // not waited for: the crate has queued 100,000 replies for it.
        let gives_up = {
            let mut sent = pin!(self.socket.send(message(to)?));
            let waits = unconstrained(&mut sent).now_or_never().is_none();
            waits && timeout(PATIENCE, sent).await.is_err()
        };
        if gives_up {
            let why = "a requester that does not read its replies";
            zmq::disconnect(&self.socket, &self.place, &requester, why);
        }
        Ok(())
    }
}

fn message(frames: Vec<Bytes>) -> Result<ZmqMessage> {
    ZmqMessage::try_from(frames).map_err(|_| anyhow!("a ØMQ message needs a frame"))
}
