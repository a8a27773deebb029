//! One browser's connection: JSON lines over a WebSocket, both ways.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::time::{interval, timeout};

use super::hub::{Entrance, Hub, Line, Order, Pace};
use super::message;

/// A browser that takes nothing for so long has gone.
const STALLED: Duration = Duration::from_secs(15);
/// How often a browser that says nothing is asked whether it is there.
const PING: Duration = Duration::from_secs(10);
/// A browser that does not answer for so long has gone.
const SILENT: Duration = Duration::from_secs(30);

/// What a browser is told before it is disconnected.
const TOO_FAST: &str = "That is too fast.";

/// What a browser can say.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Word {
    /// I am this, in this room, and know its history up to there.
    Join { name: String, room: String, after: Option<u64> },
    /// This, typed at this time (microseconds since 1970).
    Say { id: String, text: String, typed_us: Option<u64> },
    /// kill -9 of the broker.
    KillBroker,
    /// Start it again.
    StartBroker,
}

/// Lets a browser in.
pub(super) async fn connect(State(hub): State<Arc<Hub>>, upgrade: WebSocketUpgrade) -> Response {
    let Some(entrance) = hub.enter() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "Too many are here already.\n").into_response();
    };
    let guest = Guest { number: entrance.number, hub: Arc::clone(&hub) };
    upgrade
        .max_message_size(message::LONGEST_BODY)
        .max_frame_size(message::LONGEST_BODY)
        .on_upgrade(move |socket| serve(socket, guest, entrance))
}

/// Leaves the hub when the connection goes, however that comes.
struct Guest {
    number: u64,
    hub: Arc<Hub>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.hub.leave(self.number);
    }
}

async fn serve(socket: WebSocket, guest: Guest, entrance: Entrance) {
    let (sink, stream) = socket.split();
    // Whichever ends first ends the other: the browser has gone, or must go.
    tokio::select! {
        _ = write(sink, entrance.line, &guest) => {}
        _ = read(stream, &guest) => {}
    }
}

/// Writes what waits, all of it in one go.
async fn write(mut sink: SplitSink<WebSocket, Message>, mut line: Line, guest: &Guest) -> Result<()> {
    let mut ping = interval(PING);
    loop {
        let first = tokio::select! {
            text = line.next() => match text {
                Some(text) => Message::Text(text),
                None => return Ok(()),
            },
            _ = ping.tick() => Message::Ping(Default::default()),
        };
        let written = async {
            sink.feed(first).await?;
            while let Some(text) = line.next_now() {
                sink.feed(Message::Text(text)).await?;
            }
            sink.flush().await
        };
        match timeout(STALLED, written).await {
            Ok(written) => written?,
            Err(_) => bail!("the browser takes nothing"),
        }
        if line.is_behind() {
            guest.hub.caught_up(guest.number);
        }
    }
}

async fn read(mut stream: SplitStream<WebSocket>, guest: &Guest) -> Result<()> {
    let (hub, number) = (&guest.hub, guest.number);
    loop {
        let Ok(Some(message)) = timeout(SILENT, stream.next()).await else { return Ok(()) };
        let word = match message? {
            Message::Text(text) => serde_json::from_str(&text).ok(),
            Message::Binary(_) => None,
            // Of the protocol, and answered by it; they count all the same.
            _ => match hub.pace(number) {
                Pace::Leave => return Ok(()),
                _ => continue,
            },
        };
        match (hub.pace(number), word) {
            (Pace::Leave, _) => return Ok(()),
            (Pace::TooFast, Some(Word::Say { id, .. })) => hub.refuse(number, Some(&id), TOO_FAST, true),
            (Pace::TooFast, _) => hub.refuse(number, None, TOO_FAST, false),
            (Pace::Fine, None) => hub.refuse(number, None, "That is nothing that a page says.", false),
            (Pace::Fine, Some(Word::Join { name, room, after })) => hub.join(number, &name, &room, after),
            (Pace::Fine, Some(Word::Say { id, text, typed_us })) => hub.say(number, id, &text, typed_us),
            (Pace::Fine, Some(Word::KillBroker)) => hub.order(number, Order::Kill),
            (Pace::Fine, Some(Word::StartBroker)) => hub.order(number, Order::Start),
        }
    }
}
