//! The queue of `queue/mqtt/mod.rs` at QoS 2, "exactly once". This holds for each hop, while both
//! its ends keep their memory, and not from producer to consumer: so this lab promises and loses
//! what `queue-mqtt` does, for twice the packets.
//!
//! Wire: producers publish to `PLACE/queue`, and consumers share a subscription to it, each with a
//! session. Four packets take a message over a hop. PUBLISH: here it is. PUBREC: I have stored it.
//! PUBREL: you may forget its identifier. PUBCOMP: I have forgotten it. Within a session, a PUBLISH
//! that is sent again after a cut connection is recognised as a duplicate.
//!
//! Confirms: a message to its producer with PUBCOMP: it is in a session. A consumer acknowledges
//! with PUBREC, and the client does the rest.
//!
//! Survives: kill -9 of a consumer, at once: another consumer takes its session over. After a cut
//! connection or a restart of the broker, the recovery layer (`labs/src/recovery/`) connects and
//! joins again; for the messages, see Loses.
//!
//! Loses: with kill -9 of Mosquitto, what it had confirmed and not yet saved, because it confirms
//! at once and saves only from time to time; messages that were not confirmed when the producer
//! died. Some messages come twice: one whose consumer died between its work and its PUBREC, as at
//! QoS 1; one that was nacked, or left in the session of a consumer that has gone, is published
//! again as a new message; and a producer, which has no session, publishes again after a cut
//! connection what was not confirmed.
//!
//! Run it: `just lab queue-mqtt-qos2`, and beside it `just lab queue-mqtt`. Watch it:
//! `mosquitto_sub -V 5 -t 'PLACE/sessions/#' -v`.

use anyhow::Result;

use crate::lab::{Broker, BrokerFeature, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::mqtt::{RetainedLetters, SessionConsumer, TopicProducer, sessions};
use crate::queue::{MAX_ATTEMPTS, Queue};
use crate::wire::mqtt::QoS;

/// A topic, and a session for each consumer.
pub struct MqttQos2 {
    place: Place,
}

impl Lab for MqttQos2 {
    const TRANSPORT: &'static str = "mqtt";
    const VARIANT: Option<&'static str> = Some("qos2");
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const BROKER_FEATURES: &'static [BrokerFeature] =
        &[BrokerFeature::SharedSubscriptions, BrokerFeature::QualityOfService2];
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[MAX_ATTEMPTS];

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
    type DeadLetters = RetainedLetters;

    async fn producer(&self) -> Result<TopicProducer> {
        TopicProducer::connect(&self.place, QoS::ExactlyOnce).await
    }

    async fn consumer(&self, prefetch: u16) -> Result<SessionConsumer> {
        SessionConsumer::join(&self.place, prefetch, QoS::ExactlyOnce).await
    }

    async fn dead_letters(&self) -> Result<RetainedLetters> {
        Ok(RetainedLetters::open(&self.place, QoS::ExactlyOnce))
    }
}
