//! One-way over MQTT at QoS 0, "at most once": the sender publishes to a topic
//! on which the receiver is the only subscriber. Nothing is numbered, and
//! nothing acknowledged.
//!
//! Promises: order per sender, and that a receiver is live when `receiver`
//! returns. Loses: what is published while no receiver is there, for at QoS 0
//! the broker keeps nothing for the absent; what was on its way when a
//! connection broke. A client has to read on, or the broker takes it for dead:
//! so the receiver does, and drops what comes while `HIGH_WATER` messages wait.
//!
//! Run it: `just lab oneway-mqtt`. Listen in: `mosquitto_sub -t 'PLACE/#' -v`.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::mqtt::{self, Inbox, Link, Message, QoS, Who};

const HIGH_WATER: Knob =
    Knob::new("high-water", 100_000, "Messages that wait in the receiver before more are dropped.");

/// A topic with one subscriber.
pub struct Mqtt {
    place: Place,
}

impl Lab for Mqtt {
    const TRANSPORT: &'static str = "mqtt";
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Drops;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Link::to(place).await?.close().await?;
        Ok(Self { place: place.clone() })
    }

    /// A subscription ends with its connection, and nothing is kept without one.
    async fn remove(place: &Place) -> Result<()> {
        Link::to(place).await?.close().await
    }
}

impl OneWay for Mqtt {
    type Sender = TopicSender;
    type Receiver = TopicReceiver;

    async fn sender(&self) -> Result<TopicSender> {
        TopicSender::to(&self.place, mqtt::topic(&self.place, "messages")).await
    }

    async fn receiver(&self) -> Result<TopicReceiver> {
        let high_water = Some(self.place.knob(HIGH_WATER));
        let link = Link::of(&self.place, Who { high_water, ..Who::default() }).await?;
        link.subscribe(&mqtt::topic(&self.place, "messages"), QoS::AtMostOnce).await?;
        Ok(TopicReceiver { inbox: link.inbox })
    }
}

/// Publishes to one topic.
pub struct TopicSender {
    link: Link,
    topic: String,
}

impl TopicSender {
    pub(crate) async fn to(place: &Place, topic: String) -> Result<Self> {
        Ok(Self { link: Link::to(place).await?, topic })
    }
}

impl Sender for TopicSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        let topic = self.topic.clone();
        self.link.out.publish(Message { topic, body, ..Message::default() }).await
    }

    /// More than written: the broker has passed it on. It has confirmed nothing.
    async fn flush(&mut self) -> Result<()> {
        self.link.out.barrier().await
    }

    async fn close(self) -> Result<()> {
        self.link.close().await
    }
}

/// Subscribes to the topic.
pub struct TopicReceiver {
    inbox: Inbox,
}

impl TopicReceiver {
    /// How many messages came while too many waited, and were dropped.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }
}

impl Receiver for TopicReceiver {
    /// Never `None`: a topic does not know who may still publish.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(self.inbox.next().await?.payload))
    }
}
