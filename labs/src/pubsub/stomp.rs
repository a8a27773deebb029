//! Publish/subscribe over STOMP: SEND to `/topic/KEY` publishes to RabbitMQ's
//! exchange `amq.topic`; SUBSCRIBE to `/topic/PATTERN` binds a queue to it that
//! RabbitMQ names, fills and, when the subscriber goes, deletes.
//!
//! STOMP cannot declare exchanges, so every place shares this one, and the
//! place's name is the first word of each key. Promises: order per publisher,
//! and that a subscriber is live when `subscriber` returns: the receipt of
//! SUBSCRIBE comes after the binding. Loses: what is published while nobody is
//! bound, and what was on its way when a side dies. A slow subscriber's queue
//! grows in RabbitMQ.
//!
//! Run it: `just lab pubsub-stomp`. Watch it: `rabbitmqctl list_bindings`.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, MAX_LEN, Topic, TopicReader};
use crate::wire::stomp::Frame;
use crate::wire::stomp::inbox::Inbox;
use crate::wire::stomp::link;
use crate::wire::stomp::outbox::Outbox;

/// Keys of `amq.topic` that begin with the place's name.
pub struct Stomp {
    place: Place,
}

impl Lab for Stomp {
    const TRANSPORT: &'static str = "stomp";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// A subscriber's queue goes with it, and the exchange is not ours.
    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for Stomp {
    const FILTERS: &'static [FilterKind] = &[FilterKind::All, FilterKind::Exact, FilterKind::Words];
    type Publisher = TopicPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<TopicPublisher> {
        Ok(TopicPublisher { outbox: Outbox::to(&self.place).await?, topics: link::topics(&self.place) })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        let pattern = pattern(&self.place, filter)?;
        let inbox = Inbox::subscribe(&self.place, &pattern).await?;
        Ok(TopicSubscriber { inbox, events: Events::of(&self.place) })
    }
}

/// The destination whose subscribers hear what `filter` matches.
pub(crate) fn pattern(place: &Place, filter: &Filter) -> Result<String> {
    filter.require(Stomp::TRANSPORT, Stomp::FILTERS)?;
    destination(
        &link::topics(place),
        match filter {
            Filter::Exact(topic) => topic.as_str(),
            Filter::Words(pattern) => pattern,
            _ => "#",
        },
    )
}

/// A key is an AMQP short string, the place's name and all.
pub(crate) fn destination(topics: &str, topic: &str) -> Result<String> {
    let most = "/topic/".len() + MAX_LEN;
    let length = topics.len() + topic.len();
    ensure!(
        length <= most,
        "the topic `{topic}` is {} bytes too long behind this place's name",
        length - most
    );
    Ok([topics, topic].concat())
}

/// Publishes with the topic as routing key.
pub struct TopicPublisher {
    outbox: Outbox,
    topics: String,
}

impl Publisher for TopicPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.outbox.send(destination(&self.topics, topic.as_str())?, body).await
    }

    /// More than written: the receipt of the last event says that all have
    /// been put into the queues of those who listen.
    async fn flush(&mut self) -> Result<()> {
        self.outbox.flush().await
    }

    async fn close(self) -> Result<()> {
        self.outbox.close().await
    }
}

/// Consumes from a queue of its own.
pub struct TopicSubscriber {
    inbox: Inbox,
    events: Events,
}

impl Subscriber for TopicSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        Ok(Some(self.events.read(&self.inbox.next().await?)?))
    }
}

/// Makes events of MESSAGE frames.
pub(crate) struct Events {
    topics: String,
    reader: TopicReader,
}

impl Events {
    pub(crate) fn of(place: &Place) -> Self {
        Self { topics: link::topics(place), reader: TopicReader::default() }
    }

    pub(crate) fn read(&mut self, frame: &Frame) -> Result<Event> {
        let destination = frame.header("destination").context("a MESSAGE without a destination")?;
        let topic = destination.strip_prefix(self.topics.as_str());
        let topic = topic.with_context(|| format!("a message for {destination} came here"))?;
        Ok(Event { topic: self.reader.read(topic.as_bytes())?, body: frame.body.clone() })
    }
}
