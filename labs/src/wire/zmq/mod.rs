//! ØMQ for the labs that use it, over the `zeromq` crate.
//!
//! A ØMQ socket takes and gives whole messages of one or more frames, over any number of
//! connections; its type (PUSH, PULL, PUB, SUB, REQ, REP, DEALER, ROUTER) says to which of them a
//! message goes. The protocol on the wire is ZMTP 3, over TCP: <https://rfc.zeromq.org/spec/23/>.
//!
//! - [`bind`] and [`connect`] set a socket up at a place. All other verbs are in the labs.
//! - [`Gauge`] is what the crate lacks: a high-water mark, and a way to tell whether anything is
//!   still queued inside the socket.
//!
//! The crate promises nothing about a message that it has accepted: what is queued in a socket is
//! lost with its connection or its process, and nobody is told.

mod gauge;

use anyhow::{Context as _, Result};
use bytes::Bytes;
pub use gauge::Gauge;
use zeromq::{Socket, ZmqMessage};

use crate::lab::Place;

/// Binds a free port of the loopback device (or the one this role had before), and announces it.
pub async fn bind(socket: &mut impl Socket, place: &Place) -> Result<()> {
    let address = format!("tcp://{}", place.bind_address().trim_start_matches("tcp://"));
    let bound = socket
        .bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}; is the port in use?"))?;
    place.announce(bound);
    Ok(())
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
