//! Stream sockets: what the labs over TCP, Unix sockets, WebSocket and HTTP connect with.
//!
//! - [`Socket`] is an open connection and [`Bound`] a socket that listens. Each is of one of two
//!   families behind one type: TCP, whose address is a port, and Unix, whose address is a file.
//!   They differ in how they are named and found; once open, both carry bytes. The price of one
//!   type for both is a branch for each system call, not for each message.
//! - Binding announces the address at the place ([`Place::announce`]); a role that is started
//!   again binds its old address.
//! - `file` keeps the file of a Unix socket: in a folder that only this user can enter, replaced
//!   when its owner was killed, removed when its owner leaves.
//! - [`Acceptor`] does handshakes with peers that connect, in tasks of their own, so that one
//!   that is slow to speak does not hold up the others or the lab.
//! - [`Connections`] keeps the connections of a listener that reads from all of them in turn.
//! - [`Room`] bounds what a listener buffers of long messages that are not complete.
//! - [`StallLimit`] bounds how long a publisher waits for a subscriber that takes nothing.
//! - [`Subscription`] is a subscriber as its publisher sees it, where there is no broker to keep
//!   filters.
//!
//! The kernel probes an idle TCP connection (`keepalive`): one whose link is silent is lost after
//! 5 s. On a Unix socket there is no link.
//!
//! Anybody who reaches the address can connect, so a peer that breaks the protocol is expected.
//! It costs its own connection, which is counted at the place
//! ([`Place::peer_disconnected`]), and nothing else: a listener has at most [`MAX_CONNECTIONS`],
//! a peer has [`PATIENCE`] for its handshake, and when a connection cannot be accepted, because
//! too many files are open, say, the listener tries again soon.

mod acceptor;
mod connections;
mod file;
mod keepalive;
mod room;
mod stall_limit;
#[cfg(any(feature = "apps", feature = "zeromq"))]
mod stream;
mod subscription;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

#[cfg(any(feature = "apps", feature = "http", feature = "zeromq"))]
pub(crate) use acceptor::serve_each;
pub use acceptor::{Acceptor, Joined};
use anyhow::{Context as _, Result, anyhow, bail};
use bytes::{BufMut as _, BytesMut};
pub use connections::{ConnectionId, Connections};
use file::SocketFile;
pub(crate) use keepalive::keep_alive;
pub use room::{Room, Share};
pub use stall_limit::StallLimit;
pub(crate) use stall_limit::{STALLED, Stalled};
#[cfg(any(feature = "apps", feature = "zeromq"))]
pub(crate) use stream::PeerStream;
pub use subscription::Subscription;
pub(crate) use subscription::{check_answer, read_filter};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use crate::lab::Place;

/// Connections that a listener has at a time; others wait to be accepted.
pub const MAX_CONNECTIONS: usize = 1024;
/// How long a peer may take for its handshake. A peer that keeps others waiting for room, and
/// sends nothing for as long, is disconnected.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// When no connection can be accepted (too many files are open), the next attempt is made after
/// this.
const RETRY: Duration = Duration::from_millis(10);

/// One of the connections that a listener may have; dropping it makes room for another.
pub type Slot = OwnedSemaphorePermit;

/// What the address of a Unix socket begins with; a path follows.
const UNIX: &str = "unix:";

/// An open connection.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    /// At the side that has accepted it.
    slot: Option<Slot>,
}

#[derive(Debug)]
enum Stream {
    /// Over TCP, Nagle's algorithm off: what is written is on its way.
    Tcp(TcpStream),
    /// Over a Unix socket, which never had it.
    Unix(UnixStream),
}

macro_rules! either {
    ($self:ident, $socket:ident => $call:expr) => {
        match &$self.stream {
            Stream::Tcp($socket) => $call,
            Stream::Unix($socket) => $call,
        }
    };
}

impl Stream {
    fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        keep_alive(&stream);
        Ok(Self::Tcp(stream))
    }
}

impl Socket {
    /// Connects to a peer that has announced itself: `127.0.0.1:5000`, or
    /// `unix:/a/path`. What stands before `://` is the business of the protocol above.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = match address.strip_prefix(UNIX) {
            Some(path) => UnixStream::connect(path).await.map(Stream::Unix),
            None => TcpStream::connect(after_scheme(address)).await.and_then(Stream::tcp),
        };
        let stream =
            stream.with_context(|| format!("cannot connect to {address}; is the other side running?"))?;
        Ok(Self { stream, slot: None })
    }

    /// The TCP connection, for protocols that are spoken over nothing else, and the slot that it
    /// has at its listener. Keep the slot as long as the connection.
    pub fn into_tcp(self) -> Result<(TcpStream, Option<Slot>)> {
        match self.stream {
            Stream::Tcp(stream) => Ok((stream, self.slot)),
            Stream::Unix(_) => bail!("this protocol is spoken over TCP here"),
        }
    }

    /// As [`Socket::into_tcp`], and the connection keeps the slot.
    #[cfg(any(feature = "apps", feature = "zeromq"))]
    pub(crate) fn into_stream(self) -> Result<PeerStream> {
        self.into_tcp().map(|(stream, _slot)| PeerStream { stream, _slot })
    }

    /// Of a connection on which nothing more may come: whether it has ended, and how.
    pub(crate) fn ended(&self) -> Option<Result<()>> {
        match either!(self, socket => socket.try_read(&mut [0])) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(0) | Err(_) => Some(Ok(())),
            Ok(_) => Some(Err(anyhow!("it went on sending when it had nothing more to say"))),
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_read_ready(cx))
    }

    /// Reads at most `limit` bytes.
    pub(crate) fn try_read_buf(&self, input: &mut BytesMut, limit: usize) -> io::Result<usize> {
        either!(self, socket => socket.try_read_buf(&mut input.limit(limit)))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_write_ready(cx))
    }

    pub(crate) fn try_write(&self, output: &[u8]) -> io::Result<usize> {
        either!(self, socket => socket.try_write(output))
    }
}

/// A socket that listens, and has been announced.
pub struct Bound {
    listening: Listening,
    /// One for each connection that there may be.
    slots: Arc<Semaphore>,
    /// After a connection could not be accepted: when to try again.
    pause: Option<Pin<Box<Sleep>>>,
    /// That was so since it was last asked.
    failed: bool,
    place: Place,
}

enum Listening {
    /// At a port.
    Tcp(TcpListener),
    /// At a file, which goes when this is dropped.
    Unix(UnixListener, #[expect(dead_code, reason = "it is kept to be dropped")] SocketFile),
}

impl Bound {
    fn new(listening: Listening, place: &Place) -> Self {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self { listening, slots, pause: None, failed: false, place: place.clone() }
    }

    /// Binds a free port of the loopback device (or the one this role had
    /// before) and announces it.
    pub async fn tcp(place: &Place) -> Result<Self> {
        Self::tcp_for("", place).await
    }

    /// As [`Bound::tcp`], and announces it as a URL: `scheme` is `ws://`.
    pub async fn tcp_for(scheme: &str, place: &Place) -> Result<Self> {
        let address = after_scheme(place.bind_address());
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; is the port in use?"))?;
        place.announce(format_args!("{scheme}{}", listener.local_addr()?));
        Ok(Self::over(listener, place))
    }

    /// Takes over a listener that the other roles know of already.
    pub fn over(listener: TcpListener, place: &Place) -> Self {
        Self::new(Listening::Tcp(listener), place)
    }

    /// Binds a file of the place's folder (or the one this role had before)
    /// and announces it.
    pub async fn unix(place: &Place) -> Result<Self> {
        let (listener, file) = match place.bind_address().strip_prefix(UNIX) {
            Some(path) => SocketFile::at(path.into()).await?,
            None => SocketFile::new_in(place).await?,
        };
        place.announce(format_args!("{UNIX}{}", file.path().display()));
        Ok(Self::new(Listening::Unix(listener, file), place))
    }

    /// Removes whatever killed processes have left in the place's folder.
    pub fn remove_unix(place: &Place) -> Result<()> {
        file::remove_files(place)
    }

    /// Where it was bound: there, peers that break the protocol are counted.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The next connection; waits while there are too many. Cancel-safe.
    pub async fn accept(&mut self) -> Socket {
        // Nobody else takes a slot, so that the one which was free still is.
        drop(self.slots.acquire().await);
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`Bound::accept`], for one that polls again when it has dropped a connection: while there
    /// are too many, nothing else wakes it. An error of the kernel is no error here: the next
    /// attempt comes after a short wait.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Socket> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if self.slots.available_permits() == 0 {
                return Poll::Pending;
            }
            let stream = match &self.listening {
                Listening::Tcp(listener) => {
                    ready!(listener.poll_accept(cx)).and_then(|(stream, _)| Stream::tcp(stream))
                }
                Listening::Unix(listener, _) => {
                    ready!(listener.poll_accept(cx)).map(|(stream, _)| Stream::Unix(stream))
                }
            };
            match (stream, Arc::clone(&self.slots).try_acquire_owned()) {
                (Ok(stream), Ok(slot)) => return Poll::Ready(Socket { stream, slot: Some(slot) }),
                _ => (self.pause, self.failed) = (Some(Box::pin(sleep(RETRY))), true),
            }
        }
    }

    /// Whether room is needed: there are as many connections as there may be, or accepting one has
    /// failed since this was last asked.
    pub fn needs_room(&mut self) -> bool {
        std::mem::take(&mut self.failed) || self.slots.available_permits() == 0
    }

    /// How many connections may come yet.
    pub fn slots(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slots)
    }
}

/// `ws://127.0.0.1:5000` and `127.0.0.1:5000` are one address.
fn after_scheme(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A place whose role had this address before it was started again.
    fn place(name: &str, address: Option<&str>) -> Place {
        let bind = address.map(|address| (String::new(), address.to_owned()));
        Place::new(&format!("socket-{}-{name}", std::process::id()), None)
            .with_bind(bind.into_iter().collect::<BTreeMap<_, _>>())
    }

    #[tokio::test]
    async fn whoever_starts_again_has_its_old_address() {
        for (name, scheme) in [("unix", None), ("tcp", Some("")), ("url", Some("ws://"))] {
            let bind = async |place: &Place| match scheme {
                None => Bound::unix(place).await,
                Some(scheme) => Bound::tcp_for(scheme, place).await,
            };
            let first = place(name, None);
            let bound = bind(&first).await.expect("a free address");
            let address = first.peer().await.expect("it was announced");
            assert!(address.starts_with(scheme.unwrap_or(UNIX)), "{address}");
            drop(bound);
            let again = place(name, Some(&address));
            let mut bound = bind(&again).await.expect("its old address");
            assert_eq!(again.peer().await.expect("it was announced"), address);
            let (connected, _) = tokio::join!(Socket::connect(&address), bound.accept());
            connected.expect("somebody listens");
        }
    }
}
