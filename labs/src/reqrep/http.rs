//! Request/reply over HTTP/1.1: the body of a POST is the request, the body of
//! its answer the reply, and any web client can ask.
//!
//! A connection stays open and carries one request at a time: the next answer
//! on it is the answer. So as many requests are in flight as there are
//! connections, and others wait for their turn. A requester that gives up
//! closes its connection, for the answer could still come on it. A status other
//! than 200 is an error. With several responders each gets a request in turn.
//!
//! Run it with `just lab reqrep-http`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use hyper::StatusCode;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::wire::http::{self, Line};

const CONNECTIONS: Knob =
    Knob::new("connections", 32, "Connections of one requester: as many requests are in flight.");
/// Requests that wait at a responder. Beyond it they wait in their connections.
const WAITING: usize = 256;

/// `reqrep-http`.
pub struct Http {
    place: Place,
    connections: usize,
}

impl Lab for Http {
    const TRANSPORT: &'static str = "http";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[CONNECTIONS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), connections: place.knob(CONNECTIONS).max(1) })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl RequestReply for Http {
    const MATCHING: Matching = Matching::Lockstep;
    type Requester = HttpRequester;
    type Responder = HttpResponder;

    async fn requester(&self) -> Result<HttpRequester> {
        let addresses = self.place.peers().await?;
        let mut idle = VecDeque::new();
        for address in &addresses {
            idle.push_back(Line::connect(address).await?);
        }
        let turns = Semaphore::new(self.connections.max(addresses.len()));
        Ok(HttpRequester { addresses, turns, idle: Mutex::new(idle), dialled: AtomicUsize::new(0) })
    }

    async fn responder(&self) -> Result<HttpResponder> {
        let bound = http::bind(&self.place).await?;
        let (door, requests) = mpsc::channel(WAITING);
        let mut server = JoinSet::new();
        server.spawn(http::serve(bound, move |body| {
            let door = door.clone();
            async move {
                let (to, reply) = oneshot::channel();
                // When the client leaves, this future goes, and with it the way back.
                let _ = door.send((Command(body), to)).await;
                reply.await.map(|reply: Document| reply.0).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
            }
        }));
        Ok(HttpResponder { requests, _server: server })
    }
}

/// The asking end. Connections are made when they are needed.
pub struct HttpRequester {
    addresses: Vec<String>,
    turns: Semaphore,
    idle: Mutex<VecDeque<Line>>,
    dialled: AtomicUsize,
}

impl HttpRequester {
    fn idle(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn line(&self) -> Result<Line> {
        let idle = self.idle().pop_front();
        if let Some(mut line) = idle
            && line.is_good().await
        {
            return Ok(line);
        }
        let next = self.dialled.fetch_add(1, Ordering::Relaxed);
        Line::connect(&self.addresses[next % self.addresses.len()]).await
    }
}

impl Requester for HttpRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let _turn = self.turns.acquire().await.context("this requester has left")?;
        let mut line = self.line().await?;
        // Whoever gives up here drops the connection with the answer to come.
        let reply = line.post(request.0).await?;
        self.idle().push_back(line);
        Ok(Document(reply))
    }
}

/// The answering end: a web server, and what it was asked.
pub struct HttpResponder {
    requests: mpsc::Receiver<(Command, oneshot::Sender<Document>)>,
    _server: JoinSet<()>,
}

impl Responder for HttpResponder {
    type ReplyTo = oneshot::Sender<Document>;

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        Ok(self.requests.recv().await)
    }

    async fn reply(&mut self, to: Self::ReplyTo, reply: Document) -> Result<()> {
        // A requester that has gone misses it.
        let _ = to.send(reply);
        Ok(())
    }
}
