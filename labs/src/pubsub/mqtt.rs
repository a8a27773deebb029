//! Publish/subscribe over MQTT at QoS 0. With the knob `retain`, the broker keeps the last event of
//! each topic and sends it first to each subscriber that joins later.
//!
//! Wire: the words of a topic become levels (`chat.rust` is published to `PLACE/chat/rust`), and
//! the broker sends a copy of each PUBLISH packet to every subscription whose filter matches: `+`
//! is one level, `#`, at the end, all that follow. Nothing is acknowledged; events keep their order
//! for each publisher.
//!
//! Confirms: a subscription: `subscriber` returns when the broker has confirmed it (SUBACK). Events
//! are not confirmed: `publish` returns when the client has accepted the event, and waits while
//! 1,024 of them, or 4 MiB, are not written; `flush` returns when the broker has passed all on.
//!
//! Survives: the death of a publisher or a subscriber: the others go on. After a cut connection or
//! a restart of the broker, the recovery layer (`labs/src/recovery/`) connects and joins again; for
//! the events, see Loses.
//!
//! Loses: what is published while a subscriber is away, also while it joins again, except for
//! retained events; what is on its way when a connection is cut, or when a side or the broker dies.
//! Under overload, the client keeps `high-water` events for a subscriber that is too slow, and
//! drops newer ones. (It has to read on: a client that stops reading sends no heartbeats either,
//! and the broker would disconnect it.)
//!
//! Run it: `just lab pubsub-mqtt`. Watch it: `mosquitto_sub -t 'PLACE/#' -v`.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic};
use crate::wire::mqtt::levels::{FILTERS, LevelsReader, filter_levels, topic_levels};
use crate::wire::mqtt::{self, ConnectSettings, MqttConnection, Publication, QoS};

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
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[RETAIN, HIGH_WATER];

    /// A topic need not be created; this only finds out that the broker is there.
    async fn open(place: &Place) -> Result<Self> {
        MqttConnection::connect(place).await?.disconnect().await?;
        Ok(Self { place: place.clone() })
    }

    /// Only retained events stay in the broker.
    async fn remove(place: &Place) -> Result<()> {
        mqtt::clear_retained(place).await
    }
}

impl PubSub for Mqtt {
    const FILTERS: &'static [FilterKind] = FILTERS;
    type Publisher = TopicPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<TopicPublisher> {
        let retain = self.place.knob(RETAIN) > 0;
        let connection = MqttConnection::connect(&self.place).await?;
        Ok(TopicPublisher { connection, place: self.place.clone(), retain })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        TopicSubscriber::join(&self.place, filter).await
    }
}

/// Publishes below the place's topic.
pub struct TopicPublisher {
    connection: MqttConnection,
    place: Place,
    retain: bool,
}

impl Publisher for TopicPublisher {
    /// Accepted: the client's own task writes it.
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let (topic, qos, retain) = (topic_levels(&self.place, topic), QoS::AtMostOnce, self.retain);
        self.connection.client.publish(Publication { topic, qos, retain, body, properties: None }).await
    }

    /// More than written: the broker has passed it on. It has confirmed nothing.
    async fn flush(&mut self) -> Result<()> {
        self.connection.client.round_trip().await
    }

    async fn close(self) -> Result<()> {
        self.connection.disconnect().await
    }
}

/// Gets the events that its filter matches.
pub struct TopicSubscriber {
    connection: MqttConnection,
    events: LevelsReader,
}

impl TopicSubscriber {
    pub(crate) async fn join(place: &Place, filter: &Filter) -> Result<Self> {
        filter.require(Mqtt::TRANSPORT, Mqtt::FILTERS)?;
        let high_water = Some(place.knob(HIGH_WATER));
        let settings = ConnectSettings { high_water, ..ConnectSettings::default() };
        let connection = MqttConnection::connect_with(place, settings).await?;
        connection.client.subscribe(&filter_levels(place, filter), QoS::AtMostOnce).await?;
        Ok(Self { connection, events: LevelsReader::new(place) })
    }

    /// How many events came while too many waited, and were dropped.
    pub fn dropped(&self) -> u64 {
        self.connection.incoming.dropped()
    }
}

impl Subscriber for TopicSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            // Anybody can publish below the place's topic: what is not an event is skipped.
            if let Some(event) = self.events.read(&self.connection.incoming.next().await?) {
                return Ok(Some(event));
            }
        }
    }
}
