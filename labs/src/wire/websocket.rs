//! A WebSocket connection that carries messages, and the two ways to hold one:
//! [`Ws`] where somebody reads all the time, [`Talker`] where nobody does.
//!
//! The crate writes when it is told to flush, which sending a message includes:
//! one system call each. So messages are put here, and flushed when a batch is
//! complete or 128 KiB have come together.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};

use super::door::{self, Door, Hall, Listener};
use super::link::MAX_FRAME;
use super::socket::{Bound, Socket};
use crate::lab::Place;
use crate::topic::Filter;

/// What the addresses of these labs begin with.
const SCHEME: &str = "ws://";
/// Longest message, bytes: the longest body with a topic or an identifier before it.
const MAX_MESSAGE: usize = MAX_FRAME + 512;
/// Messages taken from one connection before the next has its turn.
const TURN: usize = 256;

/// The crate allows 64 MiB in, and any amount out.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

/// Binds, and announces itself as a URL.
pub async fn bind(place: &Place) -> Result<Bound> {
    Bound::tcp_for(SCHEME, place).await
}

/// What can happen while one waits on a connection.
pub enum News {
    /// All that was put is written.
    Written,
    /// A message came, text or binary.
    Message(Bytes),
    /// The peer has left.
    Left,
}

/// One connection.
pub struct Ws {
    stream: WebSocketStream<TcpStream>,
    /// Something may not be written yet.
    unwritten: bool,
}

impl Ws {
    /// Connects to a peer that has announced itself: live when this returns.
    pub async fn connect(address: &str) -> Result<Self> {
        let url = if address.contains("://") { address.to_owned() } else { format!("{SCHEME}{address}") };
        let stream = Socket::connect(&url).await?.into_tcp()?;
        let upgraded = client_async_with_config(&url, stream, Some(limits())).await;
        let (stream, _) = upgraded.with_context(|| format!("{url} does not speak WebSocket"))?;
        Ok(Self { stream, unwritten: false })
    }

    /// The other side of [`Ws::connect`].
    pub async fn accept(socket: Socket) -> Result<Self> {
        let stream = accept_async_with_config(socket.into_tcp()?, Some(limits())).await?;
        Ok(Self { stream, unwritten: false })
    }

    /// Accepts a message without waiting. Flush before there are too many.
    pub fn put(&mut self, message: Message) -> Result<()> {
        check(&message)?;
        self.unwritten = true;
        self.stream.start_send_unpin(message).context("the connection broke while writing")
    }

    /// Whether everything that was put is written.
    pub fn is_flushed(&self) -> bool {
        !self.unwritten
    }

    /// Writes all that was put.
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// The next message, text or binary; `None` after the peer has left. What
    /// was put is written while this waits. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Ws::next`], and returns as well when all that was put is written.
    pub async fn news(&mut self) -> Result<News> {
        poll_fn(|cx| {
            if self.unwritten && self.poll_flush(cx)?.is_ready() {
                return Poll::Ready(Ok(News::Written));
            }
            self.poll_read(cx).map_ok(|message| message.map_or(News::Left, News::Message))
        })
        .await
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.stream.poll_flush_unpin(cx)).context("the connection broke while writing")?;
        self.unwritten = false;
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let read = self.poll_read(cx);
        if read.is_pending() && self.unwritten {
            // Whether that is done or not, there is nothing to read yet.
            let _ = self.poll_flush(cx)?;
        }
        read
    }

    /// Reads without writing anything but answers to pings and to a close.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            return Poll::Ready(match ready!(self.stream.poll_next_unpin(cx)) {
                // A message in fragments is whole here.
                Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => Ok(Some(message.into_data())),
                // The crate answers pings and closes when it is asked to read on.
                Some(Ok(_)) => continue,
                None | Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Ok(None),
                Some(Err(error)) => Err(error).context("the connection broke while reading"),
            });
        }
    }
}

/// Whether the message is short enough.
pub fn check(message: &Message) -> Result<()> {
    let size = message.len();
    ensure!(size <= MAX_MESSAGE, "a message of {size} bytes is too long; at most {MAX_MESSAGE} are possible");
    Ok(())
}

/// A connection that only talks. Beside it a task listens: pings want answers
/// even when nothing is said (a Python client leaves after 40 s without), and a
/// peer that has left is noticed.
pub struct Talker {
    ws: Arc<Mutex<Ws>>,
    _listening: JoinSet<()>,
}

impl Talker {
    /// Takes over a connection on which nothing more is expected.
    pub fn new(ws: Ws) -> Self {
        let ws = Arc::new(Mutex::new(ws));
        let (listening, mut task) = (Arc::clone(&ws), JoinSet::new());
        task.spawn(async move {
            // It must not flush: of two tasks that wait to write, the crate wakes one.
            while let Ok(Some(_)) = poll_fn(|cx| lock(&listening).poll_read(cx)).await {}
        });
        Self { ws, _listening: task }
    }

    /// Accepts a message; waits while what came before cannot be written.
    pub async fn put(&mut self, message: Message) -> Result<()> {
        poll_fn(|cx| lock(&self.ws).stream.poll_ready_unpin(cx)).await.context("the peer has left")?;
        lock(&self.ws).put(message)
    }

    /// Writes all that was put.
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| lock(&self.ws).poll_flush(cx)).await
    }

    /// Says good-bye behind all that was put. The peer reads in order, and so
    /// everything before it: its answer is not waited for.
    pub async fn close(mut self) -> Result<()> {
        let good_bye = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("") };
        self.put(Message::Close(Some(good_bye))).await?;
        self.flush().await
    }
}

/// A poisoned lock here means that the other task has panicked: the connection is as it was.
fn lock(ws: &Mutex<Ws>) -> MutexGuard<'_, Ws> {
    ws.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The doorman's side of a connection to a [`Hub`].
async fn greet(socket: Socket, hall: Hall<Ws>) -> Result<()> {
    let seat = hall.reserve_owned().await?;
    seat.send(Ws::accept(socket).await?);
    Ok(())
}

/// Joins a publisher; it has confirmed when this returns.
pub async fn knock(address: &str, filter: &Filter) -> Result<Ws> {
    let mut ws = Ws::connect(address).await?;
    ws.put(Message::text(filter.to_string()))?;
    let answer = ws.next().await?.context("the publisher closed the connection")?;
    door::admitted(&answer)?;
    Ok(ws)
}

/// The doorman's side of [`knock`].
pub async fn greet_subscriber(socket: Socket, hall: Hall<Listener<Talker>>) -> Result<()> {
    let mut ws = Ws::accept(socket).await?;
    let text = ws.next().await?.context("no filter came")?;
    let (filter, answer) = door::judge(&text);
    let seat = hall.reserve_owned().await?;
    ws.put(Message::text(answer))?;
    ws.flush().await?;
    if let Some(filter) = filter {
        seat.send(Listener { filter, link: Talker::new(ws) });
    }
    Ok(())
}

/// Which connection a message came from. Numbers are never used again.
pub type Guest = usize;

/// The binding side: everyone who came, read in turn.
pub struct Hub {
    door: Door<Ws>,
    guests: Vec<Option<Ws>>,
    /// Whose turn it is, and how much of it is used up.
    turn: (Guest, usize),
}

impl Hub {
    /// Nobody has come yet.
    pub fn new(bound: Bound) -> Self {
        Self { door: Door::open(bound, greet), guests: Vec::new(), turn: (0, 0) }
    }

    /// The next message from anyone. What was put is written while this waits.
    /// `None` when guests came and all have left. Cancel-safe.
    pub async fn next(&mut self) -> Option<(Guest, Bytes)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Accepts a message for a guest. One that has left misses it.
    pub fn put(&mut self, guest: Guest, message: Message) -> Result<()> {
        check(&message)?;
        if let Some(Some(ws)) = self.guests.get_mut(guest)
            && ws.put(message).is_err()
        {
            self.guests[guest] = None;
        }
        Ok(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Guest, Bytes)>> {
        // Stay with one guest while there is something: most calls end here.
        if self.turn.1 < TURN
            && let Poll::Ready(Some(next)) = self.poll_guest(cx)
        {
            return Poll::Ready(Some(next));
        }
        while let Poll::Ready(Some(ws)) = self.door.poll_joined(cx) {
            self.guests.push(Some(ws));
        }
        for _ in 0..self.guests.len() {
            self.turn = ((self.turn.0 + 1) % self.guests.len(), 0);
            if let Poll::Ready(Some(next)) = self.poll_guest(cx) {
                return Poll::Ready(Some(next));
            }
        }
        let all_left = !self.guests.is_empty() && self.guests.iter().all(Option::is_none);
        if all_left { Poll::Ready(None) } else { Poll::Pending }
    }

    /// What the guest whose turn it is has to say.
    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Guest, Bytes)>> {
        let guest = self.turn.0;
        let Some(Some(ws)) = self.guests.get_mut(guest) else { return Poll::Ready(None) };
        match ready!(ws.poll_next(cx)) {
            Ok(Some(body)) => {
                self.turn.1 += 1;
                Poll::Ready(Some((guest, body)))
            }
            // A connection that ends or breaks is a guest who has left.
            Ok(None) | Err(_) => {
                self.guests[guest] = None;
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;
    use tokio_tungstenite::accept_async;

    /// Far more than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// One of ours, and a peer that is not.
    async fn pair(name: &str) -> (Ws, WebSocketStream<TcpStream>) {
        let place = Place::new(&format!("websocket-{}-{name}", std::process::id()), None);
        let bound = bind(&place).await.expect("a free port");
        let address = place.peer().await.expect("it was announced");
        let accept = async {
            let socket = bound.accept().await.expect("somebody came").into_tcp().expect("over TCP");
            accept_async(socket).await.expect("a handshake")
        };
        let (ours, theirs) = tokio::join!(Ws::connect(&address), accept);
        (ours.expect("a connection"), theirs)
    }

    #[tokio::test]
    async fn a_talker_with_nothing_to_say_answers_pings() {
        let (ours, mut theirs) = pair("ping").await;
        let _talker = Talker::new(ours);
        theirs.send(Message::Ping("anybody there?".into())).await.expect("written");
        let answer = timeout(PATIENCE, theirs.next()).await.expect("soon").expect("open").expect("whole");
        assert_eq!(answer, Message::Pong("anybody there?".into()));
    }

    #[tokio::test]
    async fn a_talker_that_waits_to_write_is_woken_while_pings_come() {
        const MANY: usize = 400;
        let (ours, mut theirs) = pair("blocked").await;
        let mut talker = Talker::new(ours);
        let talk = async {
            for _ in 0..MANY {
                talker.put(Message::binary(vec![7; 64 << 10])).await.expect("open");
            }
            talker.flush().await.expect("open");
        };
        let hear = async {
            let mut came = 0;
            while came < MANY {
                theirs.send(Message::Ping(Bytes::new())).await.expect("written");
                // The talker fills the connection in the meantime, and has to wait.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let enough = (came + 10).min(MANY);
                while came < enough {
                    let message = theirs.next().await.expect("open").expect("whole");
                    came += usize::from(message.is_binary());
                }
            }
        };
        timeout(PATIENCE, async { tokio::join!(talk, hear) }).await.expect("all comes soon");
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_refused_on_both_sides() {
        let (mut ours, mut theirs) = pair("long").await;
        let long = Message::binary(vec![0; MAX_MESSAGE + 1]);
        assert!(ours.put(long.clone()).expect_err("too long").to_string().contains("is too long"));
        // Our side breaks the connection off, so that this may fail.
        let send = async { drop(theirs.send(long).await) };
        let (came, ()) = tokio::join!(
            async {
                let came = ours.next().await;
                drop(ours);
                came
            },
            send
        );
        assert!(format!("{:#}", came.expect_err("too long")).contains("too long"));
    }
}
