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

use super::hub::{Entrance, Hub, Line, Order, Verdict};
use super::message;

/// A browser that takes nothing for so long has gone.
const STALLED: Duration = Duration::from_secs(15);
/// How often a browser that says nothing is asked whether it is there.
const PING: Duration = Duration::from_secs(10);
/// A browser that does not answer for so long has gone.
const SILENT: Duration = Duration::from_secs(30);

/// What a browser is told before it is disconnected.
const TOO_FAST: &str = "That is too fast.";

/// A frame of the chat's protocol, from a browser.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum BrowserFrame {
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
        let frame = match message? {
            Message::Text(text) => serde_json::from_str(&text).ok(),
            Message::Binary(_) => None,
            // Pings and pongs, which the library answers, count as well.
            _ => match hub.pace(number) {
                Verdict::Leave => return Ok(()),
                _ => continue,
            },
        };
        match (hub.pace(number), frame) {
            (Verdict::Leave, _) => return Ok(()),
            (Verdict::TooFast, Some(BrowserFrame::Say { id, .. })) => {
                hub.refuse(number, Some(&id), TOO_FAST, true)
            }
            (Verdict::TooFast, _) => hub.refuse(number, None, TOO_FAST, false),
            (Verdict::Fine, None) => hub.refuse(number, None, "That is nothing that a page says.", false),
            (Verdict::Fine, Some(BrowserFrame::Join { name, room, after })) => {
                hub.join(number, &name, &room, after)
            }
            (Verdict::Fine, Some(BrowserFrame::Say { id, text, typed_us })) => {
                hub.say(number, id, &text, typed_us)
            }
            (Verdict::Fine, Some(BrowserFrame::KillBroker)) => hub.order(number, Order::Kill),
            (Verdict::Fine, Some(BrowserFrame::StartBroker)) => hub.order(number, Order::Start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::chat::hub::About;

    fn hub() -> (Arc<Hub>, tokio::sync::mpsc::Receiver<crate::apps::chat::hub::Outgoing>) {
        let text = || "text".to_owned();
        let about = About {
            instance: "one".to_owned(),
            over: text(),
            rooms: text(),
            guarantee: text(),
            overload: text(),
            order: text(),
            history: Ok(()),
            breakable: true,
        };
        Hub::new(about, || 17, tokio::sync::mpsc::channel(1).0)
    }

    /// What a browser sends, a line a message, and what other instances publish.
    #[test]
    fn fuzz_chat_browsers() {
        let seeds = [
            r#"{"type":"join","name":"me","room":"lobby","after":3}
{"type":"say","id":"a-1","text":"hello","typed_us":17}
{"type":"kill-broker"}"#,
            r#"{"instance":"two","people":[{"room":"lobby","name":"me"}],"more":3}"#,
        ];
        fuzz::Target::new("chat_browsers").seeds(seeds).run(|input| {
            let (hub, mut outgoing) = hub();
            let mut entrance = hub.enter().expect("room for one");
            let mut accepted = false;
            for line in input.split(|byte| *byte == b'\n') {
                match serde_json::from_slice(line) {
                    Ok(BrowserFrame::Join { name, room, after }) => {
                        hub.join(entrance.number, &name, &room, after)
                    }
                    Ok(BrowserFrame::Say { id, text, typed_us }) => {
                        hub.say(entrance.number, id, &text, typed_us)
                    }
                    Ok(BrowserFrame::KillBroker) => hub.order(entrance.number, Order::Kill),
                    Ok(BrowserFrame::StartBroker) => hub.order(entrance.number, Order::Start),
                    Err(_) => {
                        hub.heard_presence(line);
                        accepted |= line.starts_with(b"{\"instance\":");
                        continue;
                    }
                }
                accepted = true;
            }
            hub.tick();
            while let Some(told) = entrance.line.next_now() {
                serde_json::from_str::<serde_json::Value>(&told).expect("JSON");
            }
            while let Ok(outgoing) = outgoing.try_recv() {
                assert_eq!(message::Said::read(&outgoing.said.body()), Some(outgoing.said));
            }
            accepted
        });
    }
}
