//! Request/reply over ØMQ's REQ and REP sockets: strictly in turn.
//!
//! Wire: responders bind, and a requester connects to all of them; each gets a request in turn. REQ
//! puts an empty frame before the body, sends one request, and then refuses everything but its
//! reply; REP must answer one request before it sees the next. No identifier is needed, because
//! only one request is open at a time.
//!
//! Confirms: a request by its reply, and by nothing before. Calls of `ask` at the same time take
//! turns, and each waits without a limit.
//!
//! Survives: a caller that gives up: a missing reply would block the socket for good, so the next
//! request opens a new one. (The ØMQ guide's "Lazy Pirate" does that, and sends the request again;
//! here the caller decides.) After a cut connection or a restart of a responder, the requester
//! itself (`connected` below) connects again, for the next request; for the open one, see Loses.
//!
//! Loses: requests and replies that are on their way, or wait in a socket, when a connection is cut
//! or a process dies. If it was that of the responder, `ask` ends with `ConnectionLost`. The next
//! one connects again to every responder that is there; one that comes back later gets requests
//! only after the next loss.
//!
//! Run it: `just lab reqrep-zeromq`, and compare `reqrep-zeromq-dealer`. Watch it: `ss -tnp`.

use anyhow::{Context, Error, Result, ensure};
use tokio::sync::Mutex;
use zeromq::{RepSocket, ReqSocket, Socket, SocketRecv, SocketSend};

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::recovery::ConnectionLost;
use crate::wire::zmq::{self, Accepting};

/// `reqrep-zeromq`.
pub struct ZeroMq(Place);

impl Lab for ZeroMq {
    const TRANSPORT: &'static str = "zeromq";
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

impl RequestReply for ZeroMq {
    const MATCHING: Matching = Matching::Lockstep;
    type Requester = ZeroMqRequester;
    type Responder = ZeroMqResponder;

    async fn requester(&self) -> Result<ZeroMqRequester> {
        let turn = Turn { socket: connected(&self.0).await?, unanswered: false, lost: None };
        Ok(ZeroMqRequester { place: self.0.clone(), turn: Mutex::new(turn) })
    }

    async fn responder(&self) -> Result<ZeroMqResponder> {
        let mut socket = RepSocket::new();
        let accepting = zmq::bind(&mut socket, &self.0).await?;
        Ok(ZeroMqResponder {
            socket,
            requests: 0,
            owes_reply: false,
            place: self.0.clone(),
            _accepting: accepting,
        })
    }
}

async fn connected(place: &Place) -> Result<ReqSocket> {
    let mut socket = ReqSocket::new();
    // Without its events: REQ tells a loss when it waits for the reply.
    zmq::connect(&mut socket, place).await.map(|_| socket)
}

/// The asking end. Those who ask at once take turns at the mutex.
pub struct ZeroMqRequester {
    place: Place,
    turn: Mutex<Turn>,
}

struct Turn {
    socket: ReqSocket,
    /// A request went out whose reply nobody has taken.
    unanswered: bool,
    /// How the loss of the connection was noticed, until there is a new one.
    lost: Option<String>,
}

impl Requester for ZeroMqRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let mut turn = self.turn.lock().await;
        if turn.unanswered {
            // The caller before gave up. Closing the old socket also discards the late reply.
            turn.socket = connected(&self.place).await?;
            if let Some(why) = turn.lost.take() {
                self.place.reconnected(format_args!("the connection was lost ({why}); a new socket is open"));
            }
        }
        turn.unanswered = true;
        turn.socket.send(zmq::check(request.0)?.into()).await.context("the request could not be sent")?;
        // REQ has chosen one responder, and its loss is an error. The next request connects anew.
        let reply = match turn.socket.recv().await {
            Ok(reply) => reply,
            Err(error) => {
                self.place.connection_lost(&error);
                turn.lost = Some(error.to_string());
                return Err(Error::new(error).context(ConnectionLost));
            }
        };
        turn.unanswered = false;
        zmq::single(reply, &self.place).map(Document).context("the reply is not one frame")
    }
}

/// The answering end. REP knows whom to answer: the one who asked last.
pub struct ZeroMqResponder {
    socket: RepSocket,
    place: Place,
    requests: u64,
    owes_reply: bool,
    _accepting: Accepting,
}

impl Responder for ZeroMqResponder {
    /// The number of the request; REP can answer none but the last.
    type ReplyTo = u64;

    async fn next(&mut self) -> Result<Option<(Command, u64)>> {
        loop {
            match self.socket.recv().await {
                Ok(request) => {
                    if let Some(body) = zmq::single(request, &self.place) {
                        self.requests += 1;
                        self.owes_reply = true;
                        return Ok(Some((Command(body), self.requests)));
                    }
                }
                // The socket outlives a requester whose connection broke.
                Err(zeromq::ZmqError::Codec(_)) => {}
                // A request without a delimiter, which REQ puts before each, cannot be answered.
                Err(zeromq::ZmqError::Other(why)) => self.place.message_skipped(why),
                Err(error) => return Err(error).context("the REP socket broke"),
            }
        }
    }

    async fn reply(&mut self, to: u64, reply: Document) -> Result<()> {
        ensure!(
            to == self.requests && self.owes_reply,
            "REP answers in turn: request {to} is not the one that waits for its reply"
        );
        self.owes_reply = false;
        match self.socket.send(zmq::check(reply.0)?.into()).await {
            // The requester has gone; nobody is there to hear it.
            Ok(()) | Err(zeromq::ZmqError::ReturnToSender { .. } | zeromq::ZmqError::Codec(_)) => Ok(()),
            Err(error) => Err(error).context("the reply could not be sent"),
        }
    }
}
