//! One-way over MQTT at QoS 0, "at most once": a topic with one subscriber.
//!
//! Wire: the sender writes PUBLISH packets with the topic `PLACE/messages`, and the broker passes
//! each on to the receiver, its only subscriber, in order for each sender. Packets have no
//! identifier, and none is acknowledged.
//!
//! Confirms: nothing. `send` returns when the client has accepted the message, and waits while
//! 1,024 messages, or 4 MiB, are not written. `flush` returns when the broker has passed all on: it
//! has answered a request that came after them. `receiver` returns when the broker has confirmed
//! the subscription (SUBACK).
//!
//! Survives: the death of a sender or a receiver, for the other side: a new receiver gets what is
//! published from then on. After a cut connection or a restart of the broker, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the messages, see Loses.
//!
//! Loses: what is published while no receiver is there, also while it joins again, because at QoS 0
//! the broker stores nothing; what is on its way when a connection is cut, or when a side or the
//! broker dies. Under overload, the client keeps `high-water` messages for a receiver that is too
//! slow, and drops newer ones. (It has to read on: a client that stops reading sends no heartbeats
//! either, and the broker would disconnect it.)
//!
//! Run it: `just lab oneway-mqtt`. Watch it: `mosquitto_sub -t 'PLACE/#' -v`.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::mqtt::{self, ConnectSettings, MqttConnection, Publication, QoS};

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
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[HIGH_WATER];

    /// A topic need not be created; this only finds out that the broker is there.
    async fn open(place: &Place) -> Result<Self> {
        MqttConnection::connect(place).await?.disconnect().await?;
        Ok(Self { place: place.clone() })
    }

    /// There is nothing to remove: a subscription ends with its connection, and the broker stores no
    /// message. Connecting only reports a broker that is not there.
    async fn remove(place: &Place) -> Result<()> {
        MqttConnection::connect(place).await?.disconnect().await
    }
}

impl OneWay for Mqtt {
    type Sender = TopicSender;
    type Receiver = TopicReceiver;

    async fn sender(&self) -> Result<TopicSender> {
        let connection = MqttConnection::connect(&self.place).await?;
        Ok(TopicSender { connection, topic: mqtt::topic(&self.place, "messages") })
    }

    async fn receiver(&self) -> Result<TopicReceiver> {
        let high_water = Some(self.place.knob(HIGH_WATER));
        let settings = ConnectSettings { high_water, ..ConnectSettings::default() };
        let connection = MqttConnection::connect_with(&self.place, settings).await?;
        connection.client.subscribe(&mqtt::topic(&self.place, "messages"), QoS::AtMostOnce).await?;
        Ok(TopicReceiver { connection })
    }
}

/// Publishes to the topic.
pub struct TopicSender {
    connection: MqttConnection,
    topic: String,
}

impl Sender for TopicSender {
    /// Accepted: the client's own task writes it.
    async fn send(&mut self, body: Bytes) -> Result<()> {
        let (topic, qos) = (self.topic.clone(), QoS::AtMostOnce);
        self.connection.client.publish(Publication { topic, qos, body, ..Publication::default() }).await
    }

    /// More than written: the broker has passed it on. It has confirmed nothing.
    async fn flush(&mut self) -> Result<()> {
        self.connection.client.round_trip().await
    }

    async fn close(self) -> Result<()> {
        self.connection.disconnect().await
    }
}

/// Subscribes to the topic.
pub struct TopicReceiver {
    connection: MqttConnection,
}

impl TopicReceiver {
    /// How many messages came while too many waited, and were dropped.
    pub fn dropped(&self) -> u64 {
        self.connection.incoming.dropped()
    }
}

impl Receiver for TopicReceiver {
    /// Never `None`: a topic does not know who may still publish.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(self.connection.incoming.next().await?.payload))
    }
}
