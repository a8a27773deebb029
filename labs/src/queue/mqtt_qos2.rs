//! The queue of `queue/mqtt.rs` at QoS 2, "exactly once": four packets take a
//! message over a hop. PUBLISH brings it, PUBREC says that it is held, PUBREL
//! that its identifier may be forgotten, PUBCOMP that it is.
//!
//! Exactly once holds for each hop, while both its ends keep their memory: a
//! PUBLISH that is sent again after a broken connection is known for a duplicate.
//! It does not reach from producer to consumer. A producer that died before it
//! was confirmed does not know whether to send again; a consumer that died
//! between its work and its PUBREC gets the message again, as at QoS 1; and what
//! is taken over from a session, or nacked, is published anew. So what is
//! promised is what `queue/mqtt.rs` promises, for twice the packets.
//!
//! Run it: `just lab queue-mqtt-qos2`, and beside it `just lab queue-mqtt`.

use anyhow::Result;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::queue::Queue;
use crate::queue::mqtt::{SessionConsumer, TopicProducer};
use crate::wire::mqtt::{QoS, sessions};

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
        sessions::make_store(place, QoS::ExactlyOnce).await?;
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
        TopicProducer::to(&self.place, QoS::ExactlyOnce).await
    }

    async fn consumer(&self, prefetch: u16) -> Result<SessionConsumer> {
        SessionConsumer::join(&self.place, prefetch, QoS::ExactlyOnce).await
    }
}
