//! Request/reply over HTTP/1.1: any web client can ask.
//!
//! Wire: responders are servers. The body of `POST /` is the request, the body of the answer the
//! reply. A connection stays open and carries one request at a time, so the next answer on it is
//! the answer; as many requests are in flight as there are connections, and others wait for their
//! turn. With several responders, a request goes to the one whose connection has been idle longest.
//!
//! Confirms: a request by its answer, and by nothing before; a status other than 200 is an error of
//! `ask`. The requester has no timeout. A responder gives a request's head five seconds to come,
//! and its body one more for each MiB.
//!
//! Survives: a requester that gives up: it closes its connection, because the late answer would be
//! taken for the answer to the next request. A responder that closes an idle connection (after five
//! seconds; a requester does not use one that has been idle for half of that). After a cut
//! connection or a restart of a responder, the requester itself (`HttpRequester` below) connects
//! again; for the requests, see Loses.
//!
//! Loses: requests that a responder had when it died or their connection was cut. Each `ask` ends
//! with `ConnectionLost` at once, and cannot know whether the work was done. While a responder is
//! away, the others get the requests; without any, `ask` waits for up to 30 s, and then fails.
//!
//! Run it: `just lab reqrep-http`. Watch it: `curl -v -d body URL`.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::{sleep, timeout};

use super::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::printable::causes;
use crate::recovery::{ConnectionLost, Delays, Retry, is_transient};
use crate::wire::frames::MAX_FRAME;
use crate::wire::sockets::{Bound, PATIENCE, Socket, serve_each};

const CONNECTIONS: Knob =
    Knob::new("connections", 32, "Connections of one requester: as many requests are in flight.");
/// Requests that wait at a responder. Beyond it they wait in their connections.
const WAITING: usize = 256;
/// Bodies that have not been answered, of all connections, bytes; others wait.
const BODIES: usize = 48 << 20;
/// A body has five seconds, and one more for each so many bytes.
const BYTES_A_SECOND: u64 = 1 << 20;
/// Longest body, bytes: as long as a frame over TCP.
const MAX_BODY: usize = MAX_FRAME;
/// What the addresses of this lab begin with.
const SCHEME: &str = "http://";

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
    const RECOVERY: Recovery = Recovery::Ours;
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
            idle.push_back(HttpConnection::connect(address, idle.len()).await?);
        }
        let turns = Semaphore::new(self.connections.max(addresses.len()));
        let servers = addresses.into_iter().map(|address| Server { address, lost: Mutex::default() });
        Ok(HttpRequester {
            servers: servers.collect(),
            turns,
            idle: Mutex::new(idle),
            dialled: AtomicUsize::new(0),
            place: self.place.clone(),
        })
    }

    async fn responder(&self) -> Result<HttpResponder> {
        let bound = Bound::tcp_for(SCHEME, &self.place).await?;
        let (incoming, requests) = mpsc::channel(WAITING);
        let mut server = JoinSet::new();
        server.spawn(serve(bound, move |body| {
            let incoming = incoming.clone();
            async move {
                let (to, reply) = oneshot::channel();
                // When the client leaves, this future is dropped, and so is the channel for the reply.
                let _ = incoming.send((Command(body), to)).await;
                reply.await.map(|reply: Document| reply.0).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
            }
        }));
        Ok(HttpResponder { requests, _server: server })
    }
}

/// The asking end. Connections are made when they are needed.
pub struct HttpRequester {
    servers: Vec<Server>,
    turns: Semaphore,
    /// Connections without a request.
    idle: Mutex<VecDeque<HttpConnection>>,
    dialled: AtomicUsize,
    place: Place,
}

/// A responder, as its requester sees it.
struct Server {
    address: String,
    /// How its loss was noticed, while it is away.
    lost: Mutex<Option<String>>,
}

impl HttpRequester {
    fn idle(&self) -> MutexGuard<'_, VecDeque<HttpConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection without a request: an idle one that is still open, or a new one.
    async fn connection(&self) -> Result<HttpConnection> {
        while let Some(mut connection) = { self.idle().pop_front() } {
            if connection.is_open().await {
                return Ok(connection);
            }
        }
        let limit = Delays::default().limit;
        let (mut retry, until) = (Retry::new(Delays::default()), Instant::now() + limit);
        loop {
            sleep(retry.delay()).await;
            // The next server that is here. One that was killed refuses at once.
            let mut latest = anyhow!("this requester has no responder");
            for _ in 0..self.servers.len() {
                let at = self.dialled.fetch_add(1, Ordering::Relaxed) % self.servers.len();
                match HttpConnection::connect(&self.servers[at].address, at).await {
                    Ok(connection) => {
                        if let Some(why) = self.servers[at].lost().take() {
                            self.place.reconnected(retry.reopened(&why));
                        }
                        return Ok(connection);
                    }
                    Err(error) => {
                        self.notice(at, &error);
                        latest = error;
                    }
                }
            }
            if Instant::now() > until {
                bail!("no responder has answered for {limit:?}: {latest:#}");
            }
        }
    }

    /// Notes that a server is away; it is told once.
    fn notice(&self, server: usize, error: &Error) {
        let mut lost = self.servers[server].lost();
        if lost.is_none() {
            let why = causes(error);
            self.place.connection_lost(&why);
            *lost = Some(why);
        }
    }
}

impl Server {
    fn lost(&self) -> MutexGuard<'_, Option<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requester for HttpRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let len = request.len();
        ensure!(len <= MAX_BODY, "a request of {len} bytes is too long; at most {MAX_BODY} are possible");
        let _turn = self.turns.acquire().await.context("this requester has left")?;
        let mut connection = self.connection().await?;
        // A caller that gives up here drops the connection with the answer to come.
        match connection.post(request.0).await {
            Ok(reply) => {
                self.idle().push_back(connection);
                Ok(Document(reply))
            }
            Err(error) if is_transient(&error) => {
                self.notice(connection.server, &error);
                Err(error.context(ConnectionLost))
            }
            Err(error) => Err(error),
        }
    }
}

/// A connection to a server. It carries one request at a time; dropping it
/// closes it, also when an answer is still to come.
struct HttpConnection {
    requests: SendRequest<Full<Bytes>>,
    host: String,
    /// Which server it is.
    server: usize,
    /// Until when its server keeps it open for certain, without a request.
    usable_until: Instant,
}

impl HttpConnection {
    /// Connects to a server that has announced itself.
    async fn connect(address: &str, server: usize) -> Result<Self> {
        let (stream, _) = Socket::connect(address).await?.into_tcp()?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends when `requests` is dropped. What breaks it breaks the request as well.
        tokio::spawn(connection);
        let host = address.trim_start_matches(SCHEME).trim_end_matches('/').to_owned();
        Ok(Self { requests, host, server, usable_until: Instant::now() + PATIENCE / 2 })
    }

    /// Whether another request can be made, once the last is answered. A server closes a
    /// connection that is idle for long; one that might be closed just now is not used.
    async fn is_open(&mut self) -> bool {
        Instant::now() < self.usable_until && self.requests.ready().await.is_ok()
    }

    /// Posts `body`; an answer with another status than 200 is an error.
    async fn post(&mut self, body: Bytes) -> Result<Bytes> {
        let request = Request::post("/").header(HOST, &self.host).body(Full::new(body))?;
        let response = self.requests.send_request(request).await.context("the responder did not answer")?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed).context("the answer did not come whole")?;
        ensure!(status == StatusCode::OK, "the responder answered {status}");
        self.usable_until = Instant::now() + PATIENCE / 2;
        Ok(body.to_bytes())
    }
}

/// The answering end: a web server, and the requests it has received.
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

/// What the server answers: a body, or the status that tells why there is none.
type Answer = Result<Bytes, StatusCode>;

/// Answers the body of every POST, several connections at once. Never returns. A connection on
/// which no request comes for a while is closed; a broken one is counted.
async fn serve<F>(bound: Bound, answer: impl Fn(Bytes) -> F + Clone + Send + Unpin + 'static)
where
    F: Future<Output = Answer> + Send + 'static,
{
    let (place, bodies) = (Arc::new(bound.place().clone()), Arc::new(Semaphore::new(BODIES)));
    serve_each(bound, move |socket| {
        let (answer, bodies, place) = (answer.clone(), Arc::clone(&bodies), Arc::clone(&place));
        let at_place = Arc::clone(&place);
        // Whether a body is awaited: a client that leaves then has broken off its request.
        let reading = Arc::new(AtomicBool::new(false));
        let also_reading = Arc::clone(&reading);
        let service = service_fn(move |request| {
            let (answer, bodies) = (answer.clone(), Arc::clone(&bodies));
            let (reading, place) = (Arc::clone(&reading), Arc::clone(&at_place));
            // Boxed, for what remains of a broken request can only be asked for then.
            Box::pin(async move {
                let mut response = Response::new(Full::default());
                reading.store(true, Ordering::Relaxed);
                let body = read(request, bodies).await;
                reading.store(false, Ordering::Relaxed);
                let answer = match body {
                    // The room for its body is free when the request is answered.
                    Ok((body, _room)) => answer(body).await,
                    Err(status) => {
                        // The rest of a request that was refused is not waited for.
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                        if status != StatusCode::METHOD_NOT_ALLOWED {
                            place.peer_disconnected(format_args!("a request that was answered {status}"));
                        }
                        Err(status)
                    }
                };
                match answer {
                    Ok(body) => *response.body_mut() = Full::new(body),
                    Err(status) => *response.status_mut() = status,
                }
                Ok::<_, Infallible>(response)
            })
        });
        async move {
            let Ok((stream, _slot)) = socket.into_tcp() else { return };
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            let mut connection = server.serve_connection(TokioIo::new(stream), service);
            let Err(error) = poll_fn(|cx| connection.poll_without_shutdown(cx)).await else { return };
            // A client that leaves between two requests has broken nothing.
            let half = !connection.into_parts().read_buf.is_empty();
            if error.is_parse() || half || also_reading.load(Ordering::Relaxed) {
                place.peer_disconnected(format_args!("a broken request: {error}"));
            }
        }
    })
    .await;
}

/// The body of a POST and the room that it takes, or the status that says why there is none.
async fn read(
    request: Request<Incoming>,
    bodies: Arc<Semaphore>,
) -> Result<(Bytes, OwnedSemaphorePermit), StatusCode> {
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    // Where the length is not known, it may be the longest.
    let length = request.body().size_hint().exact().unwrap_or(MAX_BODY as u64);
    if length > MAX_BODY as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let room = bodies.acquire_many_owned(length as u32).await;
    let room = room.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let limit = PATIENCE + Duration::from_secs(length / BYTES_A_SECOND);
    match timeout(limit, Limited::new(request.into_body(), MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok((body.to_bytes(), room)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}
