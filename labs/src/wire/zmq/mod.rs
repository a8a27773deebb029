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

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
pub use gauge::Gauge;
pub use listener::Accepting;
use zeromq::util::PeerIdentity;
use zeromq::{RouterSocket, Socket, SocketRecv, ZmqError, ZmqMessage};

use super::frames::MAX_FRAME;
use super::sockets::Bound;
use crate::lab::Place;

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

/// Connects to every binder that has announced itself.
pub async fn connect(socket: &mut impl Socket, place: &Place) -> Result<()> {
    for address in place.peers().await? {
        let address = format!("tcp://{}", address.trim_start_matches("tcp://"));
        socket
            .connect(&address)
            .await
            .with_context(|| format!("cannot connect to {address}; is the other side running?"))?;
    }
    Ok(())
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
