//! STOMP 1.2, as the labs over RabbitMQ's STOMP plugin use it. There is no client
//! library: frames are written and read here.
//!
//! The frames stand in each lab's file: SEND, SUBSCRIBE, ACK, NACK and
//! UNSUBSCRIBE, with the headers that matter. Here is what is the same for all labs:
//!
//! - [`codec`]: how a frame is written and read.
//! - [`ProducerConnection`]: a connection that sends. A task of its own writes and
//!   reads at the same time; many receipts may be awaited at once.
//! - [`ConsumerConnection`]: a connection with one subscription. It reads only when
//!   somebody wants a message, and writes many ACK frames together.
//! - [`queue`], [`topics`]: the destinations of a place.
//!
//! It promises that frames are written in order, and that an ERROR frame becomes
//! the error of the next call that waits. What a receipt means depends on the
//! message: for a persistent one that it is on disk, otherwise that it was routed.
//!
//! Used by every `*-stomp` lab. The protocol: *STOMP Protocol Specification,
//! Version 1.2*; RabbitMQ's page *STOMP Plugin* for destinations and headers.

pub mod codec;
mod consumer;
mod producer;

use anyhow::{Context as _, Error, Result, anyhow};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

use crate::lab::Place;
use crate::printable::printable_bytes;
use codec::{Codec, Outgoing};
pub(crate) use codec::{Command, Frame};
pub(crate) use consumer::ConsumerConnection;
pub(crate) use producer::ProducerConnection;

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// Connects, and logs in at the virtual host of the broker's address. No
/// heart-beats are asked for: the kernel tells when a local peer has gone.
async fn connect(place: &Place) -> Result<Framed<TcpStream, Codec>> {
    let endpoint = place.endpoint("stomp")?;
    let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.with_context(|| {
        format!("cannot connect to RabbitMQ's STOMP plugin at {endpoint}; is it enabled?")
    })?;
    socket.set_nodelay(true)?;
    let (user, password) = endpoint.login.as_ref().map_or(("", ""), |(user, password)| (user, password));
    let mut frames = Framed::with_capacity(socket, Codec::default(), READ_BYTES);
    let headers = [
        ("accept-version", "1.2"),
        ("host", place.broker()?.vhost()),
        ("heart-beat", "0,0"),
        ("login", user),
        ("passcode", password),
    ];
    frames.send(Outgoing { command: Command::Connect, headers: &headers, body: b"" }).await?;
    let answer = frames.next().await.context("RabbitMQ has closed the connection")??;
    match answer.command {
        Command::Connected => Ok(frames),
        _ => Err(refusal(&answer)),
    }
}

/// The error that an ERROR frame reports. RabbitMQ closes the connection after some of them.
fn refusal(frame: &Frame) -> Error {
    let message = frame.header("message").unwrap_or_default();
    anyhow!("RabbitMQ says {}: {}", printable_bytes(message.as_bytes()), printable_bytes(&frame.body))
}

/// The destination that is this place's queue. RabbitMQ declares it, durable,
/// when it is first sent or subscribed to.
pub(crate) fn queue(place: &Place) -> String {
    format!("/queue/{}", literally(&place.name()))
}

/// The beginning of the destinations of this place's topics. What follows `/topic/` is a routing
/// key of `amq.topic`, an exchange that all places share. The place's name is the first word of
/// the key, with its dots replaced: otherwise the topics of a namespace would be topics of the whole.
pub(crate) fn topics(place: &Place) -> String {
    format!("/topic/{}.", literally(&place.name().replace('.', "~")))
}

/// In a destination, as in a URL, slashes separate and percent signs escape.
fn literally(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}
