//! The protocol of a baseline as data: how its messages go over the wire.

use anyhow::Result;
use labs::lab::Place;

use super::frame::Frame;
use super::socket::{Socket, Source};

/// How a baseline's messages go over the wire. Everything blocks: a role has its process to
/// itself.
pub(super) struct Wire {
    /// Connects as the sending side; `peer` is where the other side listens,
    /// where the two talk directly.
    pub(super) connect: fn(&Place, peer: Option<&str>) -> Result<Socket>,
    /// One message with this body.
    pub(super) frame: fn(&Place, body: &[u8]) -> Frame,
    /// Joins as the receiving side.
    pub(super) receive: fn(&Place) -> Result<Source>,
    /// The reply to a message with this body, for protocols with replies.
    pub(super) answer: Option<fn(body: &[u8]) -> Frame>,
    /// Nothing but frames of one length comes to the receiving side: bytes are counted.
    pub(super) even: bool,
    /// Takes away what stays in the broker.
    pub(super) remove: fn(&Place, &[String]) -> Result<()>,
}

/// For wires that leave nothing.
pub(super) fn nothing(_: &Place, _: &[String]) -> Result<()> {
    Ok(())
}
