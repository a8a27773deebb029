//! What every STOMP connection begins with, and what queues and topics are called.

use anyhow::{Context as _, Error, Result, anyhow};
use futures_util::{SinkExt, StreamExt};
use lapin::uri::AMQPUri;
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

use super::{Codec, Command, Frame, Outgoing};
use crate::lab::Place;

/// STOMP's usual port.
const PORT: u16 = 61613;
/// How much is read at once.
pub(super) const READ: usize = 64 << 10;

/// Connects, and logs in at the virtual host of the broker's address. No
/// heart-beats are asked for: the kernel tells when a local peer has gone.
pub(super) async fn connect(place: &Place) -> Result<Framed<TcpStream, Codec>> {
    let endpoint = place.endpoint("stomp", PORT)?;
    let (host, port) = (endpoint.host.as_str(), endpoint.port);
    let uri: AMQPUri = place.url()?.parse().map_err(|error: String| anyhow!(error))?;
    let socket = TcpStream::connect((host, port)).await.with_context(|| {
        format!("cannot connect to RabbitMQ's STOMP plugin at {host}:{port}; is it enabled?")
    })?;
    socket.set_nodelay(true)?;
    let mut frames = Framed::with_capacity(socket, Codec::default(), READ);
    let headers = [
        ("accept-version", "1.2"),
        ("host", uri.vhost.as_str()),
        ("heart-beat", "0,0"),
        ("login", uri.authority.userinfo.username.as_str()),
        ("passcode", uri.authority.userinfo.password.as_str()),
    ];
    frames.send(Outgoing { command: Command::Connect, headers: &headers, body: b"" }).await?;
    let answer = frames.next().await.context("RabbitMQ has closed the connection")??;
    match answer.command {
        Command::Connected => Ok(frames),
        _ => Err(refusal(&answer)),
    }
}

/// What an ERROR frame says. RabbitMQ closes the connection behind some of them.
pub(super) fn refusal(frame: &Frame) -> Error {
    let message = frame.header("message").unwrap_or_default();
    anyhow!("RabbitMQ says {message}: {}", String::from_utf8_lossy(&frame.body).trim_end())
}

/// The destination that is this place's queue. RabbitMQ declares it, durable,
/// when it is first sent or subscribed to.
pub(crate) fn queue(place: &Place) -> String {
    format!("/queue/{}", literally(&place.name()))
}

/// What stands before the topics of this place, as the routing keys of the one
/// exchange that all places share, `amq.topic`: its name as a single word, or
/// a namespace's topics would be topics of the whole.
pub(crate) fn topics(place: &Place) -> String {
    format!("/topic/{}.", literally(&place.name().replace('.', "~")))
}

/// In a destination, as in a URL, slashes separate and percent signs escape.
fn literally(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}
