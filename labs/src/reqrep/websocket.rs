//! Request/reply over WebSocket, multiplexed: many requests share a connection.
//!
//! WebSocket knows messages and nothing of questions and answers, so a
//! correlation identifier goes with each: a binary message is eight bytes of
//! identifier, big-endian, and the body. Replies come in any order; one that
//! nobody waits for any more finds nobody. Requests wait at a responder that is
//! slow, and are lost with it. With several responders each gets one in turn.
//!
//! Run it with `just lab reqrep-websocket`.

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::reqrep::correlation::Pending;
use crate::wire::websocket::{self, Guest, Hub, News, Ws};

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
        let (pending, mut lines, mut drivers) = (Pending::default(), Vec::new(), JoinSet::new());
        for address in self.place.peers().await? {
            let ws = Ws::connect(&address).await?;
            let (line, requests) = mpsc::channel(self.depth);
            drivers.spawn(drive(ws, requests, pending.clone()));
            lines.push(line);
        }
        Ok(WsRequester { lines, pending, _drivers: drivers })
    }

    async fn responder(&self) -> Result<WsResponder> {
        Ok(WsResponder(Hub::new(websocket::bind(&self.place).await?)))
    }
}

/// The asking end.
pub struct WsRequester {
    lines: Vec<mpsc::Sender<Message>>,
    pending: Pending,
    _drivers: JoinSet<()>,
}

impl Requester for WsRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        let line = &self.lines[ticket.id() as usize % self.lines.len()];
        line.send(message(ticket.id(), &request)).await.context("the responder has left")?;
        Ok(Document(ticket.reply().await?))
    }
}

/// Takes what is asked, when all before it is written, and hands out replies.
async fn drive(mut ws: Ws, mut requests: mpsc::Receiver<Message>, pending: Pending) {
    let mut batch = Vec::new();
    let mut converse = async || -> Result<()> {
        loop {
            tokio::select! {
                taken = requests.recv_many(&mut batch, DEPTH.default), if ws.is_flushed() => {
                    if taken == 0 {
                        return Ok(());
                    }
                    batch.drain(..).try_for_each(|request| ws.put(request))?;
                }
                // Waiting for news writes what was put.
                news = ws.news() => match news? {
                    News::Written => {}
                    News::Message(reply) => {
                        let (id, body) = split(reply)?;
                        pending.hand_out(id, body);
                    }
                    News::Left => bail!("the responder has closed the connection"),
                }
            }
        }
    };
    if converse().await.is_err() {
        pending.close();
    }
}

/// The answering end.
pub struct WsResponder(Hub);

impl Responder for WsResponder {
    type ReplyTo = (Guest, u64);

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        let Some((guest, request)) = self.0.next().await else { return Ok(None) };
        let (id, body) = split(request)?;
        Ok(Some((Command(body), (guest, id))))
    }

    async fn reply(&mut self, (guest, id): Self::ReplyTo, reply: Document) -> Result<()> {
        self.0.put(guest, message(id, &reply))
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
