//! What can be seen of an MQTT broker from outside, byte by byte: the labs'
//! own client is not asked whether it has left nothing.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use labs::lab::{Broker, Lab as _, Place};
use labs::oneway::{OneWay as _, Receiver as _, Sender as _};
use labs::pubsub::{PubSub as _, Publisher as _, Subscriber as _};
use labs::topic::{Filter, Topic};
use libtest_mimic::Trial;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::place::Site;

const COUNTS: [&str; 2] = ["$SYS/broker/clients/total", "$SYS/broker/subscriptions/count"];

/// Nothing stays in Mosquitto: no session, no subscription, no retained
/// message. The broker counts once a second; the counts go down to our own.
pub(super) async fn nothing_is_left(site: &Site) -> Result<()> {
    let mut eye = Eye::open(&site.place()).await?;
    let retained = eye.retained().await?;
    ensure!(retained.is_empty(), "these retained messages stay in the broker: {retained:?}");
    let gone = async {
        let mut counts = BTreeMap::new();
        loop {
            let (topic, count) = eye.next().await?;
            if COUNTS.contains(&topic.as_str()) {
                counts.insert(topic, count);
            }
            // One client, us, with the two subscriptions of `Eye`.
            if COUNTS.map(|count| counts.get(count).map(String::as_str)) == [Some("1"), Some("2")] {
                return Ok(());
            }
        }
    };
    site.soon("all sessions and subscriptions leave the broker", gone).await
}

pub(super) fn trials() -> Vec<Trial> {
    let test = |name: &str, check: fn(Site) -> LocalBoxFuture<'static, Result<()>>| {
        let site = name.to_owned();
        super::trial(format!("conformance::mqtt::{name}"), Some(Broker::Mqtt), move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(check(Site::new(&site, Some(Broker::Mqtt))?))
        })
    };
    vec![
        test("retained_events_wait_for_who_comes_late", |site| Box::pin(retained(site))),
        test("what_is_dropped_is_counted", |site| Box::pin(counted(site))),
    ]
}

/// With the knob, the last event of each topic comes first; removed, it is gone.
async fn retained(site: Site) -> Result<()> {
    use labs::pubsub::mqtt::Mqtt;
    let place = site.clone().with(&[("retain", 1)]).place();
    let lab = Mqtt::open(&place).await?;
    let mut publisher = lab.publisher().await?;
    let topics = [Topic::new("news.sport")?, Topic::new("news.weather")?];
    for (topic, body) in [(0, "one nil"), (1, "rain"), (0, "two nil")] {
        publisher.publish(&topics[topic], Bytes::from(body)).await?;
    }
    publisher.flush().await?;
    let mut late = lab.subscriber(&Filter::All).await?;
    let mut heard = BTreeMap::new();
    for _ in &topics {
        let event = site.soon("a retained event comes", late.next()).await?.context("no more")?;
        heard.insert(event.topic, event.body);
    }
    let last = topics.clone().into_iter().zip(["two nil", "rain"].map(Bytes::from));
    ensure!(heard == last.collect(), "{heard:?} came to who was late");
    drop(late);
    Mqtt::remove(&place).await?;
    let mut later = lab.subscriber(&Filter::All).await?;
    publisher.publish(&topics[1], Bytes::from("sun")).await?;
    publisher.flush().await?;
    let event = site.soon("the next event comes", later.next()).await?.context("no more")?;
    ensure!(event.body == "sun", "{event:?} came, which had been removed");
    Mqtt::remove(&place).await
}

/// A receiver that does not take what comes knows how much it missed.
async fn counted(site: Site) -> Result<()> {
    use labs::oneway::mqtt::Mqtt;
    let place = site.clone().with(&[("high-water", 100)]).place();
    let lab = Mqtt::open(&place).await?;
    let (mut sender, mut receiver) = (lab.sender().await?, lab.receiver().await?);
    for _ in 0..1_000 {
        sender.send(Bytes::from_static(b"news")).await?;
    }
    sender.flush().await?;
    let all = async {
        while receiver.dropped() < 900 {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    site.soon("900 of 1000 messages are dropped", all).await?;
    sender.send(Bytes::from_static(b"the last")).await?;
    sender.flush().await?;
    let mut came = 0;
    while receiver.recv().await?.context("no more")? == "news" {
        came += 1;
        sender.send(Bytes::from_static(b"the last")).await?;
        sender.flush().await?;
    }
    ensure!(came == 100, "{came} messages came, and 100 were to wait");
    Mqtt::remove(&place).await
}

/// A client of MQTT 3.1.1 that subscribes to everything.
struct Eye {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Eye {
    async fn open(place: &Place) -> Result<Self> {
        let endpoint = place.endpoint("mqtt")?;
        let mut socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        socket.write_all(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00").await?;
        let mut eye = Self { socket, unread: Vec::new() };
        ensure!(eye.packet().await?.0 == 0x20, "the broker did not answer to CONNECT");
        Ok(eye)
    }

    /// All retained messages, but for the broker's own.
    async fn retained(&mut self) -> Result<Vec<String>> {
        // Two subscriptions, the second answered when the first has been served.
        self.socket.write_all(b"\x82\x06\x00\x01\x00\x01#\x00").await?;
        self.socket.write_all(b"\x82\x0b\x00\x02\x00\x06$SYS/#\x00").await?;
        let (mut found, mut answers) = (Vec::new(), 0);
        while answers < 2 {
            let (kind, body) = self.packet().await?;
            match kind & 0xf0 {
                0x90 => answers += 1,
                0x30 if kind & 1 == 1 => found.push(publish(&body)?.0),
                _ => {}
            }
        }
        found.retain(|topic| !topic.starts_with("$SYS"));
        Ok(found)
    }

    /// The next message's topic and text.
    async fn next(&mut self) -> Result<(String, String)> {
        loop {
            if let (0x30 | 0x31, body) = self.packet().await? {
                return publish(&body);
            }
        }
    }

    async fn packet(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            if let Some((start, end)) = bounds(&self.unread) {
                let packet: Vec<u8> = self.unread.drain(..end).collect();
                return Ok((packet[0], packet[start..].to_vec()));
            }
            ensure!(
                self.socket.read_buf(&mut self.unread).await? > 0,
                "the broker has closed the connection"
            );
        }
    }
}

/// Where a whole packet's body begins and ends: a length of seven bits a byte comes first.
fn bounds(unread: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (at, byte) in unread.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let start = at + 2;
            return (unread.len() >= start + length).then_some((start, start + length));
        }
    }
    None
}

fn publish(body: &[u8]) -> Result<(String, String)> {
    let (length, rest) = body.split_first_chunk().context("a message without a topic")?;
    let (topic, text) =
        rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).context("a topic cut short")?;
    Ok((String::from_utf8_lossy(topic).into_owned(), String::from_utf8_lossy(text).into_owned()))
}
