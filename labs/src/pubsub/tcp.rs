//! Publish/subscribe over plain TCP: the publisher listens, keeps every
//! subscriber's filter, and writes each event to those it matches.
//!
//! A subscriber sends its filter as one frame of text and is told `ok`: from
//! then on it misses nothing. An event is a frame of one byte of topic length,
//! the topic, and the body. Back-pressure reaches the publisher: it waits for
//! the slowest subscriber, and so everybody does.
//!
//! Run it with `just lab pubsub-tcp`.

use std::str;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Event, PubSub, Publisher, Subscriber};
use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::link::Link;

/// Bytes collected for one subscriber before they are written without being asked to.
const WRITE: usize = 64 << 10;
/// Subscribers that have joined and wait for the publisher to take note.
const JOINING: usize = 1024;

/// `pubsub-tcp`.
pub struct Tcp {
    place: Place,
    write: usize,
}

impl Lab for Tcp {
    const TRANSPORT: &'static str = "tcp";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), write: place.knob("write-bytes", WRITE) })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for Tcp {
    const FILTERS: &'static [FilterKind] =
        &[FilterKind::All, FilterKind::Exact, FilterKind::Prefix, FilterKind::Glob, FilterKind::Words];
    const PUBLISHERS: Option<usize> = Some(1);
    type Publisher = TcpPublisher;
    type Subscriber = TcpSubscriber;

    async fn publisher(&self) -> Result<TcpPublisher> {
        let address = self.place.bind_address();
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; is the port in use?"))?;
        self.place.announce(listener.local_addr()?);
        let (door, joined) = mpsc::channel(JOINING);
        let mut doorman = JoinSet::new();
        doorman.spawn(admit(listener, door));
        Ok(TcpPublisher { joined, listeners: Vec::new(), write: self.write, _doorman: doorman })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TcpSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let mut link = Link::connect(&self.place.peer().await?).await?;
        link.put(&[filter.to_string().as_bytes()])?;
        link.flush().await?;
        let answer = link.next().await?.context("the publisher closed the connection")?;
        ensure!(answer == "ok", "the publisher refused the filter: {}", String::from_utf8_lossy(&answer));
        Ok(TcpSubscriber { link, topics: TopicReader::default() })
    }
}

/// Lets subscribers in, each when its filter has come.
async fn admit(listener: TcpListener, door: mpsc::Sender<Listener>) {
    let mut handshakes = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let door = door.clone();
        handshakes.spawn(async move {
            // Whoever fails here has only not subscribed.
            let _ = greet(stream, door).await;
        });
        while handshakes.try_join_next().is_some() {}
    }
}

async fn greet(stream: TcpStream, door: mpsc::Sender<Listener>) -> Result<()> {
    let mut link = Link::new(stream)?;
    let text = link.next().await?.context("no filter came")?;
    match str::from_utf8(&text)?.parse::<Filter>() {
        Ok(filter) => {
            // The place at the door is taken before the answer, and the answer
            // is written before the publisher gets the connection.
            let seat = door.reserve().await?;
            link.put(&[b"ok"])?;
            link.flush().await?;
            seat.send(Listener { filter, link });
        }
        Err(error) => {
            link.put(&[error.to_string().as_bytes()])?;
            link.flush().await?;
        }
    }
    Ok(())
}

struct Listener {
    filter: Filter,
    link: Link,
}

/// The publishing end.
pub struct TcpPublisher {
    joined: mpsc::Receiver<Listener>,
    listeners: Vec<Listener>,
    write: usize,
    _doorman: JoinSet<()>,
}

impl Publisher for TcpPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        while let Ok(listener) = self.joined.try_recv() {
            self.listeners.push(listener);
        }
        let (name, mut gone) = (topic.as_str().as_bytes(), Vec::new());
        let Ok(length) = u8::try_from(name.len()) else { bail!("topic `{topic}` is too long") };
        for (at, listener) in self.listeners.iter_mut().enumerate() {
            if listener.filter.matches(topic) {
                listener.link.put(&[&[length], name, &body])?;
                if listener.link.unwritten() >= self.write && listener.link.flush().await.is_err() {
                    gone.push(at);
                }
            }
        }
        for at in gone.into_iter().rev() {
            self.listeners.swap_remove(at);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        for mut listener in std::mem::take(&mut self.listeners) {
            // A connection that breaks is a subscriber that has left.
            if listener.link.flush().await.is_ok() {
                self.listeners.push(listener);
            }
        }
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}

/// The listening end.
pub struct TcpSubscriber {
    link: Link,
    topics: TopicReader,
}

impl Subscriber for TcpSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        let Some(mut body) = self.link.next().await? else { return Ok(None) };
        let length = body.try_get_u8().context("an event without a topic")?;
        ensure!(body.len() >= usize::from(length), "an event with half a topic");
        let topic = self.topics.read(&body.split_to(usize::from(length)))?;
        Ok(Some(Event { topic, body }))
    }
}
