//! Publish/subscribe over plain TCP: the publisher listens, keeps every
//! subscriber's filter, and writes each event to those it matches.
//!
//! A subscriber sends its filter as one frame of text and is told `ok`: from
//! then on it misses nothing. An event is a frame of one byte of topic length,
//! the topic, and the body. Back-pressure reaches the publisher: it waits for
//! the slowest subscriber, and so everybody does.
//!
//! Run it with `just lab pubsub-tcp`.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};

use super::{Event, PubSub, Publisher, Subscriber};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::door::{self, Door, Listener};
use crate::wire::link::Link;
use crate::wire::socket::Bound;

const WRITE: Knob = Knob::new(
    "write-bytes",
    64 << 10,
    "Bytes collected for one subscriber before they are written without a flush.",
);

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
    const KNOBS: &'static [Knob] = &[WRITE];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), write: place.knob(WRITE) })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for Tcp {
    const FILTERS: &'static [FilterKind] = &FilterKind::ALL;
    const PUBLISHERS: Option<usize> = Some(1);
    type Publisher = FramePublisher;
    type Subscriber = FrameSubscriber;

    async fn publisher(&self) -> Result<FramePublisher> {
        Ok(FramePublisher::new(Bound::tcp(&self.place).await?, self.write))
    }

    async fn subscriber(&self, filter: &Filter) -> Result<FrameSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        FrameSubscriber::join(&self.place.peer().await?, filter).await
    }
}

/// The publishing end.
pub struct FramePublisher {
    door: Door<Listener<Link>>,
    listeners: Vec<Listener<Link>>,
    write: usize,
}

impl FramePublisher {
    pub(crate) fn new(bound: Bound, write: usize) -> Self {
        Self { door: Door::open(bound, door::greet), listeners: Vec::new(), write }
    }
}

impl Publisher for FramePublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.listeners.extend(self.door.newcomers());
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
pub struct FrameSubscriber {
    link: Link,
    topics: TopicReader,
}

impl FrameSubscriber {
    pub(crate) async fn join(address: &str, filter: &Filter) -> Result<Self> {
        Ok(Self { link: door::knock(address, filter).await?, topics: TopicReader::default() })
    }
}

impl Subscriber for FrameSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        let Some(mut body) = self.link.next().await? else { return Ok(None) };
        let length = body.try_get_u8().context("an event without a topic")?;
        ensure!(body.len() >= usize::from(length), "an event with half a topic");
        let topic = self.topics.read(&body.split_to(usize::from(length)))?;
        Ok(Some(Event { topic, body }))
    }
}
