//! The queue of `queue/mqtt/mod.rs` at QoS 2, "exactly once": four packets take a message over a
//! hop. PUBLISH brings it, PUBREC says that it is held, PUBREL that its identifier may be
//! forgotten, PUBCOMP that it is. A producer is confirmed by PUBCOMP; a consumer acknowledges
//! with PUBREC, and the client does the rest.
//!
//! Exactly once holds for each hop, while both its ends keep their memory: a PUBLISH that is sent
//! again after a broken connection is known for a duplicate. It does not hold from producer to
//! consumer. A producer that died before its message was confirmed does not know whether to send
//! it again. A consumer that died between its work and its PUBREC gets the message again, as at
//! QoS 1. And messages that are taken over from a session, or nacked, are published anew. So this
//! lab promises and loses what `queue-mqtt` promises and loses, for twice the packets.
//!
//! Run it: `just lab queue-mqtt-qos2`, and beside it `just lab queue-mqtt`. Watch it:
//! `mosquitto_sub -V 5 -t 'PLACE/sessions/#' -v`.

use anyhow::Result;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::queue::Queue;
use crate::queue::mqtt::{SessionConsumer, TopicProducer, sessions};
use crate::wire::mqtt::QoS;

/// A topic, and a session for each consumer.
pub struct MqttQos2 {
    place: Place,
}

impl Lab for MqttQos2 {
    const TRANSPORT: &'static str = "mqtt";
    const VARIANT: Option<&'static str> = Some("qos2");
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        sessions::create_store(place, QoS::ExactlyOnce).await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        sessions::remove(place).await
    }
}

impl Queue for MqttQos2 {
    type Producer = TopicProducer;
    type Consumer = SessionConsumer;

    async fn producer(&self) -> Result<TopicProducer> {
        TopicProducer::connect(&self.place, QoS::ExactlyOnce).await
    }

    async fn consumer(&self, prefetch: u16) -> Result<SessionConsumer> {
        SessionConsumer::join(&self.place, prefetch, QoS::ExactlyOnce).await
    }
}
