//! Request/reply over WebSocket, multiplexed: many requests share a connection.
//!
//! Wire: responders are servers, and a requester connects to all of them; each gets a request in
//! turn. WebSocket knows messages and nothing of requests and replies, so a correlation identifier
//! goes with each: a binary message is eight bytes of identifier, big-endian, and the body. Replies
//! come in any order.
//!
//! Confirms: a request by its reply, and by nothing before; `ask` waits for it without a limit, and
//! before that while `depth` requests wait to be written to the same responder. A responder's
//! `reply` returns when the reply is in its buffer for this connection, which is written while the
//! responder's `next` waits.
//!
//! Survives: a requester that gives up: a reply that nobody waits for any more is dropped. A
//! requester that dies, or breaks the protocol and is disconnected; a requester that reads no
//! replies is not read either while 1 MiB of them wait. After a cut connection or a restart of a
//! responder, the requester itself (`wire/responders.rs`) connects again, and meanwhile the others
//! get the requests; for those that this responder had, see Loses.
//!
//! Loses: when a connection is cut or a responder dies, the requests that this responder had, of
//! which it may have done some. Each `ask` that waited for it ends with `ConnectionLost` at once;
//! those that wait for others do not. While all responders are away, `ask` waits for up to 30 s,
//! and then fails.
//!
//! Run it: `just lab reqrep-websocket`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::reqrep::correlation::Pending;
use crate::wire::responders::{Exchange, Responders, responder_has_closed};
use crate::wire::sockets::ConnectionId;
use crate::wire::websocket::{self, WsConnection, WsEvent, WsListener};

const DEPTH: Knob =
    Knob::new("depth", 256, "Requests accepted and not yet written before the next one has to wait.");

/// `reqrep-websocket`.
pub struct WebSocket {
    place: Place,
    depth: usize,
}

impl Lab for WebSocket {
    const TRANSPORT: &'static str = "websocket";
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

impl RequestReply for WebSocket {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = WsRequester;
    type Responder = WsResponder;

    async fn requester(&self) -> Result<WsRequester> {
        Responders::connect::<WsConnection>(&self.place, self.depth).await.map(WsRequester)
    }

    async fn responder(&self) -> Result<WsResponder> {
        Ok(WsResponder(WsListener::new(websocket::bind(&self.place).await?)))
    }
}

/// The asking end.
pub struct WsRequester(Responders);

impl Requester for WsRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        websocket::check_size(8 + request.len())?;
        self.0.ask(request.0).await.map(Document)
    }
}

impl Exchange for WsConnection {
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
                taken = requests.recv_many(&mut batch, DEPTH.default), if self.is_flushed() => {
                    if taken == 0 {
                        return Ok(());
                    }
                    batch.drain(..).try_for_each(|(id, request)| self.put(message(id, &request)))?;
                }
                // Waiting for an event writes what was put.
                event = self.event() => match event? {
                    WsEvent::Written => {}
                    WsEvent::Message(mut body) => {
                        pending.hand_out_or_skip(body.try_get_u64().ok(), body, place);
                    }
                    WsEvent::Closed => return Err(responder_has_closed()),
                }
            }
        }
    }
}

/// The answering end.
pub struct WsResponder(WsListener);

impl Responder for WsResponder {
    /// The connection that the request came over, and its identifier.
    type ReplyTo = (ConnectionId, u64);

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        while let Some((connection, request)) = self.0.next().await {
            match split(request) {
                Ok((id, body)) => return Ok(Some((Command(body), (connection, id)))),
                Err(error) => self.0.disconnect(connection, error),
            }
        }
        Ok(None)
    }

    async fn reply(&mut self, (connection, id): Self::ReplyTo, reply: Document) -> Result<()> {
        // Written while this responder's `next` waits.
        self.0.put(connection, message(id, &reply))
    }
}

fn message(id: u64, body: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(8 + body.len());
    message.put_u64(id);
    message.put_slice(body);
    Message::Binary(message.freeze())
}

fn split(mut message: Bytes) -> Result<(u64, Bytes)> {
    let id = message.try_get_u64().context("a message without an identifier")?;
    Ok((id, message))
}
