//! Publish/subscribe over MQTT at QoS 0: words of a topic become its levels,
//! and the broker sends a copy to every subscription whose filter matches, with
//! `+` for one level and `#`, at the end, for all that follow.
//!
//! Promises: order per publisher, and that a subscriber is live when
//! `subscriber` returns. Loses: what is published while nobody listens, but for
//! one thing: with the knob `retain` the broker keeps the last event of each
//! topic and begins with it for whoever comes late. A client has to read on, or
//! the broker takes it for dead: so a subscriber does, and drops what comes
//! while `HIGH_WATER` events wait for it.
//!
//! Run it: `just lab pubsub-mqtt`. Listen in: `mosquitto_sub -t 'PLACE/#' -v`.

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::mqtt::packet::Publish;
use crate::wire::mqtt::{self, Inbox, Link, Message, QoS, Who};

pub(crate) const RETAIN: Knob =
    Knob::new("retain", 0, "1: the broker keeps the last event of each topic for late subscribers.");
pub(crate) const HIGH_WATER: Knob =
    Knob::new("high-water", 100_000, "Events that wait in a subscriber before more are dropped.");

/// Topics below one that is named after the place.
pub struct Mqtt {
    place: Place,
}

impl Lab for Mqtt {
    const TRANSPORT: &'static str = "mqtt";
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Drops;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[RETAIN, HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Link::to(place).await?.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        mqtt::clear_retained(place).await
    }
}

impl PubSub for Mqtt {
    const FILTERS: &'static [FilterKind] = &[FilterKind::All, FilterKind::Exact, FilterKind::Levels];
    type Publisher = TopicPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<TopicPublisher> {
        TopicPublisher::to(&self.place, QoS::AtMostOnce).await
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        TopicSubscriber::join(&self.place, filter).await
    }
}

/// The filter, as MQTT writes it.
pub(crate) fn subscription(place: &Place, filter: &Filter) -> Result<String> {
    filter.require(Mqtt::TRANSPORT, Mqtt::FILTERS)?;
    Ok(match filter {
        Filter::Exact(topic) => mqtt::topic(place, &topic.as_str().replace('.', "/")),
        Filter::Levels(pattern) => mqtt::topic(place, pattern),
        _ => mqtt::topic(place, "#"),
    })
}

/// Publishes under the place.
pub struct TopicPublisher {
    link: Link,
    place: Place,
    qos: QoS,
    retain: bool,
}

impl TopicPublisher {
    pub(crate) async fn to(place: &Place, qos: QoS) -> Result<Self> {
        let retain = place.knob(RETAIN) > 0;
        Ok(Self { link: Link::to(place).await?, place: place.clone(), qos, retain })
    }
}

impl Publisher for TopicPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let topic = mqtt::topic(&self.place, &topic.as_str().replace('.', "/"));
        let (qos, retain) = (self.qos, self.retain);
        self.link.out.publish(Message { topic, qos, retain, body, properties: None }).await
    }

    /// More than written: the broker has passed it on. At QoS 0 it has confirmed
    /// nothing; above, it has.
    async fn flush(&mut self) -> Result<()> {
        self.link.out.barrier().await?;
        self.link.out.flush().await
    }

    async fn close(self) -> Result<()> {
        self.link.close().await
    }
}

/// Hears what its filter matches.
pub struct TopicSubscriber {
    inbox: Inbox,
    topics: Topics,
}

impl TopicSubscriber {
    pub(crate) async fn join(place: &Place, filter: &Filter) -> Result<Self> {
        let subscription = subscription(place, filter)?;
        let high_water = Some(place.knob(HIGH_WATER));
        let link = Link::of(place, Who { high_water, ..Who::default() }).await?;
        link.subscribe(&subscription, QoS::AtMostOnce).await?;
        Ok(Self { inbox: link.inbox, topics: Topics::of(place) })
    }

    /// How many events came while too many waited, and were dropped.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }
}

impl Subscriber for TopicSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        let message = self.inbox.next().await?;
        Ok(Some(self.topics.event(&message)?))
    }
}

/// Makes events of what comes: levels become words again.
pub(crate) struct Topics {
    above: usize,
    words: Vec<u8>,
    reader: TopicReader,
}

impl Topics {
    pub(crate) fn of(place: &Place) -> Self {
        Self { above: mqtt::topic(place, "").len(), words: Vec::new(), reader: TopicReader::default() }
    }

    pub(crate) fn event(&mut self, message: &Publish) -> Result<Event> {
        let levels = message.topic.get(self.above..).context("a message from another place's topic")?;
        self.words.clear();
        self.words.extend(levels.iter().map(|byte| if *byte == b'/' { b'.' } else { *byte }));
        Ok(Event { topic: self.reader.read(&self.words)?, body: message.payload.clone() })
    }
}
