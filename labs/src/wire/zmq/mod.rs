//! ØMQ for the labs that use it, over the `zeromq` crate.
//!
//! A ØMQ socket takes and gives whole messages of one or more frames, over any number of
//! connections; its type (PUSH, PULL, PUB, SUB, REQ, REP, DEALER, ROUTER) says to which of them a
//! message goes. The protocol on the wire is ZMTP 3, over TCP: <https://rfc.zeromq.org/spec/23/>.
//!
//! - [`bind`] and [`connect`] set a socket up at a place. All other verbs are in the labs.
//! - [`Accepting`] accepts the connections of a socket that binds. The crate is our copy of it, with
//!   limits on what a peer may send: `vendor/zeromq/README.md` says why.
//! - [`Gauge`] is what the crate lacks: a high-water mark, and a way to tell whether anything is
//!   still queued inside the socket.
//!
//! The crate promises nothing about a message that it has accepted: what is queued in a socket is
//! lost with its connection or its process, and nobody is told.

mod gauge;
mod listener;

use std::fmt::Display;

use anyhow::{Context as _, Error, Result, ensure};
use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
pub use gauge::Gauge;
pub use listener::Accepting;
use tokio::net::TcpStream;
use zeromq::util::PeerIdentity;
use zeromq::{RouterSocket, Socket, SocketEvent, SocketRecv, ZmqError, ZmqMessage};

use super::frames::MAX_FRAME;
use super::sockets::Bound;
use crate::lab::Place;
use crate::recovery::{Disconnected, disconnected};

/// Binds a free port of the loopback device (or the one this role had before), and announces it.
/// Keep what this returns as long as the socket.
pub async fn bind(socket: &mut impl Socket, place: &Place) -> Result<Accepting> {
    let bound = Bound::tcp_for("tcp://", place).await?;
    Ok(Accepting::start(bound, socket.backend()))
}

/// The body, if it is not too long to be received.
pub fn check(body: Bytes) -> Result<Bytes> {
    let len = body.len();
    ensure!(len <= MAX_FRAME, "a message of {len} bytes is too long; at most {MAX_FRAME} are possible");
    Ok(body)
}

/// Ends the connection of a ROUTER's peer that has broken the protocol, and counts it.
pub fn disconnect(socket: &RouterSocket, place: &Place, identity: &Bytes, why: impl Display) {
    if let Ok(identity) = PeerIdentity::try_from(identity.clone()) {
        socket.backend().peer_disconnected(&identity);
        place.peer_disconnected(why);
    }
}

/// The next message of a socket that binds. The crate ends the connection of a peer that breaks the
/// protocol, and says so: that is no reason to end the socket.
pub async fn receive(socket: &mut impl SocketRecv) -> Result<ZmqMessage> {
    loop {
        match socket.recv().await {
            Err(ZmqError::Codec(_)) => {}
            message => return message.context("the ØMQ socket broke"),
        }
    }
}

/// Connects to every binder that has announced itself; an error if none of them can be reached. What
/// is returned tells when the socket loses one of them. One that is away is left out until the
/// socket is made anew.
pub async fn connect(socket: &mut impl Socket, place: &Place) -> Result<PeerLoss> {
    let events = PeerLoss(Box::new(socket.monitor()));
    let addresses = place.peers().await?;
    let (mut connected, mut latest) = (0, None);
    for address in &addresses {
        let host = address.trim_start_matches("tcp://");
        let about = || format!("cannot connect to {host}; is the other side running?");
        // The crate tries for half a minute: the others must not wait for one that is away.
        let is_here = match addresses.len() {
            1 => Ok(()),
            _ => TcpStream::connect(host).await.map(drop),
        };
        match is_here.with_context(about) {
            Ok(()) => {
                socket.connect(&format!("tcp://{host}")).await.with_context(about)?;
                connected += 1;
            }
            Err(error) => latest = Some(error),
        }
    }
    match latest {
        Some(error) if connected == 0 => Err(error),
        _ => Ok(events),
    }
}

/// Says when a socket that connects has lost a peer: the crate does not connect again, and a socket
/// without peers is silent.
pub struct PeerLoss(Box<dyn Stream<Item = SocketEvent> + Send + Unpin>);

impl PeerLoss {
    /// Returns when a peer is lost, with the error that says so. Cancel-safe.
    pub async fn lost(&mut self) -> Error {
        loop {
            match self.0.next().await {
                Some(SocketEvent::Disconnected(_)) => return disconnected("the other side has left"),
                Some(_) => {}
                // Some sockets tell nothing: their calls return errors.
                None => std::future::pending().await,
            }
        }
    }

    /// As [`PeerLoss::lost`], if that is so already.
    pub fn is_lost(&mut self) -> Option<Error> {
        self.lost().now_or_never()
    }

    /// The next message of a socket that connects. Cancel-safe.
    pub async fn receive(&mut self, socket: &mut impl SocketRecv) -> Result<ZmqMessage> {
        tokio::select! {
            biased;
            message = socket.recv() => message.context(Disconnected::new("the ØMQ connection broke")),
            lost = self.lost() => Err(lost),
        }
    }
}

/// The only frame of a message. `None` for a message of several frames, or of none, which is
/// counted as skipped: no lab sends one.
pub fn single(message: ZmqMessage, place: &Place) -> Option<Bytes> {
    let mut frames = message.into_vec();
    if frames.len() == 1 {
        return frames.pop();
    }
    place.message_skipped(format_args!("{} frames where one was expected", frames.len()));
    None
}
