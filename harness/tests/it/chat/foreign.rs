//! What others send to the chat: programs that publish into its topics, and browsers that do not
//! run its page.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use labs::lab::Broker;
use libtest_mimic::Trial;
use redis::Commands as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::block_on;
use super::house::{House, PATIENCE, Talker, socket};
use crate::needs::needs;
use crate::{trial, wait_until};

/// What an instance does at most twice a second.
const TICK: Duration = Duration::from_millis(500);
/// How often it says who is there in any case.
const BEAT: Duration = Duration::from_secs(2);

pub(super) fn trials() -> Vec<Trial> {
    vec![
        needs(Broker::Redis, "chat::history_goes_on_behind_a_foreign_entry", || block_on(foreign_entries())),
        needs(Broker::Redis, "chat::a_browser_that_joins_fast_is_limited", || block_on(fast())),
        trial("chat::what_no_page_says_is_refused", || block_on(refused())),
    ]
}

/// Entries that are not events, events that are not messages, and requests to the history that
/// are not questions.
async fn foreign_entries() -> Result<()> {
    let house = House::start("redis-stream", &[])?;
    let url = house.broker.clone().context("the broker's address is not told")?;
    let mut redis = redis::Client::open(url)?.get_connection()?;
    // What is said before the history has joined is not in it.
    wait_until("the history has joined", || {
        let groups = redis.xinfo_groups("chat:stream");
        Ok(groups.is_ok_and(|groups: redis::streams::StreamInfoGroupsReply| {
            groups.groups.iter().any(|group| group.name == "history")
        }))
    })?;
    let mut ann = Talker::join(&house.pages[0], "Ann", "lobby").await?;
    ann.say("before").await?;
    ann.until("is heard", Talker::is_through).await?;
    for (topic, body) in [
        ("room.a b", "hi"),
        ("haus.küche", "hi"),
        ("", "hi"),
        ("room.Lobby", "not a room"),
        ("other", "not a room"),
        ("room.lobby", ""),
        ("room.lobby", &"x".repeat(40_000)),
        ("here.A", "{\"instance\":"),
        ("here.A", "[1]"),
    ] {
        add(&mut redis, "chat:stream", &[("topic", topic), ("body", body)])?;
    }
    add(&mut redis, "chat:stream", &[("hello", "world")])?;
    add(&mut redis, "chat:stream", &[("topic", "room.lobby")])?;
    // Broken JSON is text.
    add(&mut redis, "chat:stream", &[("topic", "room.lobby"), ("body", "{\"text\":")])?;
    for question in ["not a question", "{\"room\":\"lobby\"}", ""] {
        let fields = [("reply-to", "nobody"), ("id", "1"), ("body", question)];
        add(&mut redis, "chat-library:stream", &fields)?;
    }
    add(&mut redis, "chat-library:stream", &[("hello", "world")])?;
    ann.say("after").await?;
    ann.until("is heard", Talker::is_through).await?;
    let mut eve = Talker::join(&house.pages[0], "Eve", "lobby").await?;
    // The last may also come by itself, before the page of the history.
    let all = ["before", "{\"text\":", "after"];
    eve.until("is shown all of it", |talker| all.iter().all(|text| talker.has(text))).await?;
    ensure!(eve.heard == all, "the history has {:?}", eve.heard);
    // One history was enough for all of it.
    let info: redis::streams::StreamInfoConsumersReply = redis.xinfo_consumers("chat:stream", "history")?;
    ensure!(info.consumers.len() == 1, "the history came back {} times", info.consumers.len() - 1);
    house.end()
}

fn add(redis: &mut redis::Connection, stream: &str, fields: &[(&str, &str)]) -> Result<()> {
    let _: String = redis.xadd(stream, "*", fields).context("Redis does not take the entry")?;
    Ok(())
}

type Socket = WebSocketStream<TcpStream>;

fn join(name: &str) -> Message {
    Message::text(json!({ "type": "join", "name": name, "room": "lobby", "after": null }).to_string())
}

/// The next line of this type; `None` when the instance has closed the connection.
async fn line(socket: &mut Socket, of: &str) -> Result<Option<Value>> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match timeout(PATIENCE, socket.next()).await.context("the instance says nothing")? {
            Some(Ok(Message::Text(text))) => {
                let line: Value = serde_json::from_str(&text)?;
                if line["type"] == of {
                    return Ok(Some(line));
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Ok(None),
        }
    }
    bail!("no line of the type `{of}` came")
}

/// Joins as fast as it can: it is told that this is too fast, then disconnected. Few words on
/// who is there are published meanwhile, and the others go on talking.
async fn fast() -> Result<()> {
    let house = House::start("redis", &[])?;
    let url = house.broker.clone().context("the broker's address is not told")?;
    let mut ann = Talker::join(&house.pages[0], "Ann", "lobby").await?;
    let mut heard = redis::Client::open(url)?.get_async_pubsub().await?;
    heard.psubscribe("chat:here.*").await?;
    let mut heard = heard.into_on_message();
    let (began, mut joins, mut told) = (Instant::now(), 0, false);
    let mut socket = socket(&house.pages[0], None).await?;
    // Whether it is disconnected shows when it is written to.
    while joins < 100_000 && socket.send(join(&format!("guest-{joins}"))).await.is_ok() {
        joins += 1;
        while let Ok(Some(Ok(Message::Text(text)))) = timeout(Duration::ZERO, socket.next()).await {
            told |= text.contains("too fast");
        }
    }
    ensure!(told, "{joins} joins, and nobody said that this is too fast");
    ensure!(joins < 100_000, "a browser that goes on is not disconnected");
    ann.say("hello").await?;
    ann.until("is heard", Talker::is_through).await?;
    // All of them have been published by then.
    let mut published = 0;
    while timeout(BEAT, heard.next()).await.is_ok_and(|word| word.is_some()) && began.elapsed() < 2 * BEAT {
        published += 1;
    }
    let time = began.elapsed();
    let most = time.as_millis() / TICK.as_millis() + time.as_millis() / BEAT.as_millis() + 4;
    ensure!(published <= most, "{published} words in {time:?}, where {most} were the most");
    house.end()
}

/// Lines that are none, with numbers and lengths that no page sends: each is refused, and the
/// connection stays. A frame that is too large ends it.
async fn refused() -> Result<()> {
    let house = House::start("none", &[])?;
    let mut socket = socket(&house.pages[0], None).await?;
    let (long, deep) = ("x".repeat(2_001), "[".repeat(20_000));
    let say = |id: &str, text: &str| json!({ "type": "say", "id": id, "text": text }).to_string();
    for bad in [
        "",
        "no JSON",
        "{}",
        "{\"type\":\"nonsense\"}",
        &deep,
        "{\"type\":\"join\",\"name\":5,\"room\":\"lobby\",\"after\":null}",
        "{\"type\":\"join\",\"name\":\"Ann\",\"room\":\"lobby\",\"after\":-1}",
        "{\"type\":\"join\",\"name\":\"Ann\",\"room\":\"lobby\",\"after\":1e99}",
        "{\"type\":\"join\",\"name\":\"\",\"room\":\"lobby\",\"after\":null}",
        "{\"type\":\"join\",\"name\":\"Ann\",\"room\":\"A room\",\"after\":null}",
        "{\"type\":\"say\",\"id\":\"a\",\"text\":\"x\",\"typed_us\":1.5}",
        &say("a", "before it has joined"),
        "{\"type\":\"kill-broker\"}",
    ] {
        socket.send(Message::text(bad)).await?;
        line(&mut socket, "refused").await?.with_context(|| format!("{bad:.40} ended the connection"))?;
    }
    socket.send(Message::binary(b"\x00\xff".to_vec())).await?;
    line(&mut socket, "refused").await?.context("bytes ended the connection")?;
    // A new half second, or the rest would be too much for one.
    let mut socket = super::house::socket(&house.pages[0], None).await?;
    socket.send(join(&"Ann ".repeat(1_000))).await?;
    line(&mut socket, "joined").await?.context("not joined")?;
    for bad in [say("<script>", "x"), say(&"a".repeat(65), "x"), say("a", &long), say("a", " \u{7} ")] {
        socket.send(Message::text(bad.clone())).await?;
        line(&mut socket, "refused").await?.with_context(|| format!("{bad:.40} ended the connection"))?;
    }
    let say = json!({ "type": "say", "id": "a-1", "text": "hello", "typed_us": u64::MAX });
    socket.send(Message::text(say.to_string())).await?;
    let said = line(&mut socket, "said").await?.context("not heard")?;
    let (message, name) = (&said["message"], said["message"]["name"].as_str().unwrap_or_default());
    ensure!(message["text"] == "hello" && message["typed_us"].is_null(), "{message}");
    ensure!(name.chars().count() <= 40, "a name of {} characters", name.chars().count());
    let _ = socket.send(Message::text("x".repeat(40_000))).await;
    ensure!(line(&mut socket, "refused").await?.is_none(), "a frame of 40,000 bytes was read");
    house.end()
}
