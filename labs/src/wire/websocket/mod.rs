//! WebSocket for the labs that speak it: connections that carry messages.
//!
//! A connection begins as an HTTP request (`Upgrade: websocket`); after the answer, both sides
//! send messages, text or binary, in frames that say how long they are. A client masks what it
//! sends. The protocol: RFC 6455. The crate, `tokio-tungstenite`, does handshake and frames.
//!
//! - [`WsConnection`] is a connection on which somebody reads all the time.
//! - [`WsWriter`] is one on which a lab only writes. A task reads beside it, for pings want answers
//!   even when nothing is sent (a Python client leaves after 40 s without).
//! - [`WsListener`] is the side that binds: it reads from all its connections in turn. A peer that
//!   breaks the protocol is disconnected and counted; one that closes without the closing handshake
//!   is not, for the crate does not tell a process that was killed from half a message. What is
//!   buffered of long messages that are not complete is bounded over all connections.
//!
//! The crate writes when it is told to flush, which sending a message includes: one system call
//! each. So messages are put here (*accepted*), and flushed (*written*) when a batch is complete or
//! 128 KiB have come together. What was written when a connection breaks may be lost; only a peer
//! that closes in order says that all before was sent.

mod connection;
mod listener;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

use anyhow::{Result, ensure};
pub use connection::{WsConnection, WsEvent};
pub use listener::WsListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
pub use writer::WsWriter;

use super::frames::MAX_FRAME;
use super::sockets::Bound;
use crate::lab::Place;

/// What the addresses of these labs begin with.
const SCHEME: &str = "ws://";
/// Longest message, bytes: the longest body with a topic or an identifier before it.
const MAX_MESSAGE: usize = MAX_FRAME + 512;

/// The crate allows 64 MiB in, and any amount out.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

/// Binds, and announces itself as a URL.
pub async fn bind(place: &Place) -> Result<Bound> {
    Bound::tcp_for(SCHEME, place).await
}

/// An error if the message is too long.
pub fn check(message: &Message) -> Result<()> {
    check_size(message.len())
}

/// An error if a message of so many bytes is too long.
pub fn check_size(size: usize) -> Result<()> {
    ensure!(size <= MAX_MESSAGE, "a message of {size} bytes is too long; at most {MAX_MESSAGE} are possible");
    Ok(())
}
