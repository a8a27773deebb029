//! The queue of `queue/mqtt/mod.rs` at QoS 2, "exactly once": four packets take a message over a
//! hop. PUBLISH: here it is. PUBREC: I have stored it. PUBREL: you may forget its identifier.
//! PUBCOMP: I have forgotten it. PUBCOMP confirms a message to its producer. A consumer
//! acknowledges with PUBREC, and the client does the rest.
//!
//! Exactly once holds for each hop, while both its ends keep their memory: a PUBLISH that is sent
//! again after a broken connection is recognised as a duplicate. It does not hold from producer to
//! consumer. A producer that died before its message was confirmed does not know whether to send
//! it again. A consumer that died between its work and its PUBREC gets the message again, as at
//! QoS 1. A nacked message, and one left in the session of a dead consumer, is published
//! again as a new message. So this lab promises and loses what `queue-mqtt` does (messages
//! survive kill -9 of a consumer, some come twice), for twice the packets.
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
