//! `lab chat` as the tests start it, and who talks there without a browser.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::program::Live;
use crate::wait_until;

/// What only a test that fails waits for. On a busy machine a RabbitMQ node takes a minute to start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// After which something that has not come back is said again, as the page does.
const AGAIN: Duration = Duration::from_secs(5);

/// A chat that runs.
pub(crate) struct House {
    pub(crate) live: Live,
    /// The instances' pages, in the order of their names.
    pub(crate) pages: Vec<String>,
    pub(crate) broker: Option<String>,
}

impl House {
    pub(crate) fn start(over: &str, more: &[&str]) -> Result<Self> {
        let args = [&["chat", "--over", over, "--port", "0", "--json"], more].concat();
        let mut live = Live::start(&args)?;
        let (mut pages, mut broker) = (Vec::new(), None);
        for line in live.lines()? {
            let line: Value = serde_json::from_str(&line?)?;
            if let Some(url) = line["url"].as_str() {
                pages.push(url.to_owned());
            }
            if let Some(url) = line["broker"].as_str() {
                // An address with a password stands in a file.
                let read = |path| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
                broker = Some(url.strip_prefix('@').map_or(Ok(url.to_owned()), read)?);
            }
            // The last line before Ctrl-C.
            if line["labs"].is_array() {
                return Ok(Self { live, pages, broker });
            }
        }
        bail!("the chat over {over} did not start:\n{}", live.end()?.err)
    }

    /// kill -9 of an instance or the history.
    pub(crate) fn kill(&self, part: &str) -> Result<()> {
        let pids = self.live.below(part);
        ensure!(pids.len() == 1, "there are {} processes called {part}", pids.len());
        harness::process::signal(pids[0], Signal::KILL);
        // It is started again under the same name.
        wait_until(&format!("another {part} runs"), || {
            let now = self.live.below(part);
            Ok(now.len() == 1 && now != pids)
        })
    }

    /// Ctrl-C; nothing is left.
    pub(crate) fn end(self) -> Result<()> {
        self.live.signal_group(Signal::INT)?;
        self.live.end()?.expect(0)?;
        Ok(())
    }
}

/// Somebody at an instance, who does what the page does: comes back by itself,
/// says again what has not come back, asks for what was missed.
pub(crate) struct Talker {
    page: String,
    name: String,
    pub(crate) room: String,
    socket: Option<WebSocketStream<TcpStream>>,
    upto: Option<u64>,
    outbox: BTreeMap<String, (String, Instant)>,
    /// The texts, in the order in which the page would show them.
    pub(crate) heard: Vec<String>,
    /// The identifier of each, and its position in the history once that is known.
    places: Vec<(String, Option<u64>)>,
    ids: BTreeSet<String>,
    pub(crate) people: Vec<String>,
    pub(crate) problems: Option<Value>,
    pub(crate) paged: bool,
    /// Lines that the instance dropped because this one did not take them.
    pub(crate) missed: u64,
    /// Times that it connected again after it had been shown the history.
    pub(crate) returns: usize,
    next: usize,
    buffer: Option<u32>,
}

impl Talker {
    pub(crate) async fn join(page: &str, name: &str, room: &str) -> Result<Self> {
        Self::new(page, name, room, None).connected().await
    }

    /// With a receive buffer of a few kilobytes: when it is not read, that shows soon.
    pub(crate) async fn join_slow(page: &str, name: &str, room: &str) -> Result<Self> {
        Self::new(page, name, room, Some(4 << 10)).connected().await
    }

    fn new(page: &str, name: &str, room: &str, buffer: Option<u32>) -> Self {
        Self {
            page: page.to_owned(),
            name: name.to_owned(),
            room: room.to_owned(),
            socket: None,
            upto: None,
            outbox: BTreeMap::new(),
            heard: Vec::new(),
            places: Vec::new(),
            ids: BTreeSet::new(),
            people: Vec::new(),
            problems: None,
            paged: false,
            missed: 0,
            returns: 0,
            next: 0,
            buffer,
        }
    }

    async fn connected(mut self) -> Result<Self> {
        self.until("is connected", |talker| talker.problems == Some(json!({}))).await?;
        Ok(self)
    }

    pub(crate) async fn send(&mut self, line: &Value) -> Result<()> {
        match &mut self.socket {
            Some(socket) => Ok(socket.send(Message::text(line.to_string())).await?),
            None => Ok(()),
        }
    }

    pub(crate) async fn go_to(&mut self, room: &str) -> Result<()> {
        self.room = room.to_owned();
        self.upto = None;
        self.send(&json!({ "type": "join", "name": self.name, "room": room, "after": null })).await
    }

    pub(crate) async fn say(&mut self, text: &str) -> Result<()> {
        self.next += 1;
        let id = format!("{}-{}", self.name, self.next);
        self.outbox.insert(id.clone(), (text.to_owned(), Instant::now()));
        self.send(&json!({ "type": "say", "id": id, "text": text })).await
    }

    /// Everything said here has come back.
    pub(crate) fn is_through(&self) -> bool {
        self.outbox.is_empty()
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.heard.iter().any(|heard| heard == text)
    }

    /// Lives on until something is so.
    pub(crate) async fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !so(self) {
            if Instant::now() > deadline {
                let (name, heard, problems) = (&self.name, &self.heard, &self.problems);
                bail!("{name} gave up waiting until it {what}; heard {heard:?}, transport {problems:?}");
            }
            self.live(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Hears what has come by now, and what comes within a moment.
    pub(crate) async fn hear_for_a_moment(&mut self) {
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until {
            self.live(Duration::from_millis(50)).await;
        }
    }

    /// Hears what comes for a while; comes back if the connection is lost.
    async fn live(&mut self, time: Duration) {
        if self.socket.is_none() {
            match socket(&self.page, self.buffer).await {
                Ok(socket) => {
                    self.returns += usize::from(self.upto.is_some());
                    self.socket = Some(socket);
                    let line =
                        json!({ "type": "join", "name": self.name, "room": self.room, "after": self.upto });
                    let _ = self.send(&line).await;
                    self.say_again(true).await;
                }
                Err(_) => return tokio::time::sleep(time).await,
            }
        }
        self.say_again(false).await;
        let Some(socket) = &mut self.socket else { return };
        match timeout(time, socket.next()).await {
            Err(_) => {}
            Ok(Some(Ok(Message::Text(text)))) => self.hear(&serde_json::from_str(&text).unwrap_or_default()),
            Ok(Some(Ok(_))) => {}
            Ok(_) => (self.socket, self.problems) = (None, None),
        }
    }

    async fn say_again(&mut self, all: bool) {
        let due: Vec<(String, String)> = self
            .outbox
            .iter_mut()
            .filter(|(_, (_, at))| all || at.elapsed() > AGAIN)
            .map(|(id, (text, at))| {
                *at = Instant::now();
                (id.clone(), text.clone())
            })
            .collect();
        for (id, text) in due {
            let _ = self.send(&json!({ "type": "say", "id": id, "text": text })).await;
        }
    }

    fn hear(&mut self, line: &Value) {
        match line["type"].as_str() {
            Some("said") => self.message(&line["message"]),
            Some("known") => {
                self.outbox.remove(line["id"].as_str().unwrap_or_default());
            }
            Some("transport") => self.problems = Some(line["problems"].clone()),
            Some("here") => {
                let instances = line["instances"].as_array().into_iter().flatten();
                let people = instances.flat_map(|word| word["people"].as_array().into_iter().flatten());
                self.people = people.filter_map(|person| Some(person["name"].as_str()?.to_owned())).collect();
                self.people.sort();
            }
            Some("missed") => self.missed += line["count"].as_u64().unwrap_or_default(),
            Some("page" | "kept") => {
                for message in line["messages"].as_array().into_iter().flatten() {
                    self.message(message);
                }
                self.upto = line["upto"].as_u64().or(self.upto);
                self.paged |= line["type"] == "page";
            }
            _ => {}
        }
    }

    fn message(&mut self, message: &Value) {
        if message["room"] != self.room.as_str() {
            return;
        }
        let id = message["id"].as_str().unwrap_or_default().to_owned();
        let position = message["position"].as_u64();
        self.outbox.remove(&id);
        if !id.is_empty() && !self.ids.insert(id.clone()) {
            if let Some(known) = self.places.iter_mut().rev().find(|known| known.0 == id) {
                known.1 = position;
            }
            return;
        }
        // A page of history may come after what is newer: it goes before that,
        // behind the last one with a smaller position.
        let at = match position {
            None => self.places.len(),
            Some(here) => {
                let before = |(_, there): &(String, Option<u64>)| there.is_some_and(|there| there < here);
                self.places.iter().rposition(before).map_or(0, |last| last + 1)
            }
        };
        self.places.insert(at, (id, position));
        self.heard.insert(at, message["text"].as_str().unwrap_or_default().to_owned());
    }
}

/// A connection to an instance, as its page has one; with a receive buffer of so many bytes.
pub(crate) async fn socket(page: &str, buffer: Option<u32>) -> Result<WebSocketStream<TcpStream>> {
    let address = page.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
    let address = address.context("that is not a page")?;
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address.parse()?).await?;
    stream.set_nodelay(true)?;
    Ok(tokio_tungstenite::client_async(format!("ws://{address}/socket"), stream).await?.0)
}

/// Fails unless these texts were heard, each once and in this order; others may be between them.
pub(crate) fn once_and_in_order(talker: &Talker, texts: &[String]) -> Result<()> {
    let heard: Vec<&String> = talker.heard.iter().filter(|text| texts.contains(text)).collect();
    ensure!(
        heard == texts.iter().collect::<Vec<_>>(),
        "{} heard {heard:?}, said were {texts:?}",
        talker.name
    );
    Ok(())
}
