//! STOMP 1.2, as the labs over RabbitMQ's STOMP plugin use it. There is no client
//! library: frames are written and read here.
//!
//! The frames stand in each lab's file: SEND, SUBSCRIBE, ACK, NACK and
//! UNSUBSCRIBE, with the headers that matter. Here is what is the same for all labs:
//!
//! - [`codec`]: how a frame is written and read.
//! - [`ProducerConnection`]: a connection that sends. A task of its own writes and
//!   reads at the same time; many RECEIPT frames may be awaited at once.
//! - [`ConsumerConnection`]: a connection with one subscription. It reads only when
//!   somebody wants a message, and writes many ACK frames together.
//! - [`queue`], [`topics`]: the destinations of a place.
//!
//! It promises that frames are written in order, and that an ERROR frame becomes
//! the error of the next call that waits. What a RECEIPT frame means depends
//! on the message: for a persistent one that it is on disk, otherwise that it was routed.
//!
//! Used by every `*-stomp` lab. The protocol: *STOMP Protocol Specification,
//! Version 1.2*; RabbitMQ's page *STOMP Plugin* for destinations and headers.

pub mod codec;
mod consumer;
mod producer;

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};
use futures_util::{SinkExt, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use crate::lab::Place;
use crate::printable::printable_bytes;
use crate::recovery::{Disconnected, disconnected};
use crate::wire::sockets::keep_alive;
use codec::{Codec, Outgoing};
pub(crate) use codec::{Command, Frame};
pub(crate) use consumer::ConsumerConnection;
pub(crate) use producer::ProducerConnection;

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// RabbitMQ sends something at least so often: a heart-beat when there is nothing else.
const HEART_BEAT_MS: &str = "0,3000";
/// A link is silent when nothing has come for so long: two heart-beats, and a second.
const SILENT: Duration = Duration::from_secs(7);

/// Connects, and logs in at the virtual host of the broker's address. Asks for heart-beats, and
/// promises none: RabbitMQ notices by itself that a client's host has gone, or never.
async fn connect(place: &Place) -> Result<Framed<TcpStream, Codec>> {
    let endpoint = place.endpoint("stomp")?;
    let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.with_context(|| {
        format!("cannot connect to RabbitMQ's STOMP plugin at {endpoint}; is it enabled?")
    })?;
    socket.set_nodelay(true)?;
    keep_alive(&socket);
    let (user, password) = endpoint.login.as_ref().map_or(("", ""), |(user, password)| (user, password));
    let mut frames = Framed::with_capacity(socket, Codec::default(), READ_BYTES);
    let headers = [
        ("accept-version", "1.2"),
        ("host", place.broker()?.vhost()),
        ("heart-beat", HEART_BEAT_MS),
        ("login", user),
        ("passcode", password),
    ];
    frames.send(Outgoing { command: Command::Connect, headers: &headers, body: b"" }).await?;
    let answer = next_frame(&mut frames, |frames| frames.codec().heard()).await?;
    match answer.command {
        Command::Connected => Ok(frames),
        _ => Err(refusal(&answer)),
    }
}

/// The next frame. An error when the connection has ended, or when the link is silent. `heard`
/// counts what has come. Cancel-safe.
async fn next_frame<S>(frames: &mut S, heard: impl Fn(&S) -> u64) -> Result<Frame>
where
    S: Stream<Item = Result<Frame>> + Unpin,
{
    loop {
        let before = heard(frames);
        match timeout(SILENT, frames.next()).await {
            Ok(frame) => return frame.context(CLOSED)?,
            Err(_) if heard(frames) != before => {}
            Err(_) => return Err(disconnected("RabbitMQ has sent nothing for 7 s, not even a heart-beat")),
        }
    }
}

const CLOSED: Disconnected = Disconnected::new("RabbitMQ has closed the connection");

/// The error that an ERROR frame reports. RabbitMQ closes the connection after some of them.
fn refusal(frame: &Frame) -> Error {
    let message = frame.header("message").unwrap_or_default();
    let (title, body) = (printable_bytes(message.as_bytes()), printable_bytes(&frame.body));
    let text = format!("RabbitMQ says {title}: {body}");
    // It cancels a subscription whose queue has gone, or whose node is stopping.
    if message.contains("cancelled") { disconnected(text) } else { anyhow!(text) }
}

/// The destination that is this place's queue. RabbitMQ declares it, durable,
/// when it is first sent or subscribed to.
pub(crate) fn queue(place: &Place) -> String {
    queue_named(&place.name())
}

/// The destination that is the queue of this name.
pub(crate) fn queue_named(name: &str) -> String {
    format!("/queue/{}", literally(name))
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
