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
//! - [`Subscription`] is a subscriber as its publisher sees it, where there is no broker to keep
//!   filters.

mod acceptor;
mod file;
mod subscription;

use std::io;
use std::task::{Context, Poll};

#[cfg(feature = "http")]
pub(crate) use acceptor::serve_each;
pub use acceptor::{Acceptor, Joined};
use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use file::SocketFile;
pub use subscription::Subscription;
pub(crate) use subscription::{check_answer, read_filter};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::lab::Place;

/// Which connection of a listener a message came from. Numbers are never used again.
pub type ConnectionId = usize;

/// What the address of a Unix socket begins with; a path follows.
const UNIX: &str = "unix:";

/// An open connection.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP, Nagle's algorithm off: what is written is on its way.
    Tcp(TcpStream),
    /// Over a Unix socket, which never had it.
    Unix(UnixStream),
}

macro_rules! either {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self {
            Self::Tcp($socket) => $call,
            Self::Unix($socket) => $call,
        }
    };
}

impl Socket {
    /// Connects to a peer that has announced itself: `127.0.0.1:5000`, or
    /// `unix:/a/path`. What stands before `://` is the business of the protocol above.
    pub async fn connect(address: &str) -> Result<Self> {
        let socket = match address.strip_prefix(UNIX) {
            Some(path) => UnixStream::connect(path).await.map(Self::Unix),
            None => TcpStream::connect(after_scheme(address)).await.and_then(Self::tcp),
        };
        socket.with_context(|| format!("cannot connect to {address}; is the other side running?"))
    }

    fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// The TCP connection, for protocols that are spoken over nothing else.
    pub fn into_tcp(self) -> Result<TcpStream> {
        match self {
            Self::Tcp(stream) => Ok(stream),
            Self::Unix(_) => bail!("this protocol is spoken over TCP here"),
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_read_ready(cx))
    }

    pub(crate) fn try_read_buf(&self, input: &mut BytesMut) -> io::Result<usize> {
        either!(self, socket => socket.try_read_buf(input))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_write_ready(cx))
    }

    pub(crate) fn try_write(&self, output: &[u8]) -> io::Result<usize> {
        either!(self, socket => socket.try_write(output))
    }
}

/// A socket that listens, and has been announced.
#[derive(Debug)]
pub enum Bound {
    /// At a port.
    Tcp(TcpListener),
    /// At a file, which goes when this is dropped.
    Unix(UnixListener, SocketFile),
}

impl Bound {
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
        Ok(Self::Tcp(listener))
    }

    /// Binds a file of the place's folder (or the one this role had before)
    /// and announces it.
    pub async fn unix(place: &Place) -> Result<Self> {
        let (listener, file) = match place.bind_address().strip_prefix(UNIX) {
            Some(path) => SocketFile::at(path.into()).await?,
            None => SocketFile::new_in(place).await?,
        };
        place.announce(format_args!("{UNIX}{}", file.path().display()));
        Ok(Self::Unix(listener, file))
    }

    /// Removes whatever killed processes have left in the place's folder.
    pub fn remove_unix(place: &Place) -> Result<()> {
        file::remove_files(place)
    }

    /// The next connection. Cancel-safe.
    pub async fn accept(&self) -> io::Result<Socket> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`Bound::accept`].
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx)?.map(|(stream, _)| Socket::tcp(stream)),
            Self::Unix(listener, _) => listener.poll_accept(cx)?.map(|(stream, _)| Ok(Socket::Unix(stream))),
        }
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
            let bound = bind(&again).await.expect("its old address");
            assert_eq!(again.peer().await.expect("it was announced"), address);
            let (connected, accepted) = tokio::join!(Socket::connect(&address), bound.accept());
            connected.expect("somebody listens");
            accepted.expect("somebody came");
        }
    }
}
