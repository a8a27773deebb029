//! A queue over MQTT 5 at QoS 1: producers publish to a topic, and consumers
//! share a subscription to it (`$share/consumers/PLACE/queue`), each with a
//! session that outlives its connections. The broker confirms a message (PUBACK)
//! when it stands in somebody's session, sends a consumer at most its *receive
//! maximum* unacknowledged, and sends what was not acknowledged again, flagged
//! as a duplicate, to whoever comes back to that session.
//!
//! The broker deals a message to one session, present or not, and gives it to no
//! other. So when a consumer is gone, another takes its session over and
//! publishes again what is in it (`wire/mqtt/sessions.rs`). MQTT has no nack
//! either: a message is published again, with its attempt, and then acknowledged.
//!
//! Survives: kill -9 of a consumer, at once; some messages may come twice.
//! Loses: with kill -9 of Mosquitto, what it had confirmed and not yet saved,
//! for it saves once a while, and confirms before.
//!
//! Run it: `just lab queue-mqtt`. Watch it: `mosquitto_sub -V 5 -t 'PLACE/sessions/#' -v`.

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::queue::{Consumer, Delivery, Producer, Queue};
use crate::wire::mqtt::packet::Publish;
use crate::wire::mqtt::sessions::{self, Member};
use crate::wire::mqtt::{Link, QoS};

/// A topic, and a session for each consumer.
pub struct Mqtt {
    place: Place,
}

impl Lab for Mqtt {
    const TRANSPORT: &'static str = "mqtt";
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        sessions::make_store(place, QoS::AtLeastOnce).await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        sessions::remove(place).await
    }
}

impl Queue for Mqtt {
    type Producer = TopicProducer;
    type Consumer = SessionConsumer;

    async fn producer(&self) -> Result<TopicProducer> {
        TopicProducer::to(&self.place, QoS::AtLeastOnce).await
    }

    async fn consumer(&self, prefetch: u16) -> Result<SessionConsumer> {
        SessionConsumer::join(&self.place, prefetch, QoS::AtLeastOnce).await
    }
}

/// Publishes to the queue's topic.
pub struct TopicProducer {
    link: Link,
    place: Place,
    qos: QoS,
}

impl TopicProducer {
    pub(crate) async fn to(place: &Place, qos: QoS) -> Result<Self> {
        Ok(Self { link: Link::to(place).await?, place: place.clone(), qos })
    }
}

impl Producer for TopicProducer {
    /// Confirmed: the broker has put it into a session. That there is none, which
    /// MQTT does not mind, is an error here.
    async fn send(&self, body: Bytes) -> Result<()> {
        let message = sessions::message(&self.place, self.qos, body, 1);
        self.link.out.publish_confirmed(message).await.context("the message is not confirmed")
    }

    async fn close(self) -> Result<()> {
        self.link.close().await
    }
}

/// Takes what its session is dealt; a receipt is the message itself.
pub struct SessionConsumer {
    member: Member,
    place: Place,
    qos: QoS,
}

impl SessionConsumer {
    pub(crate) async fn join(place: &Place, prefetch: u16, qos: QoS) -> Result<Self> {
        Ok(Self { member: Member::join(place, prefetch, qos).await?, place: place.clone(), qos })
    }
}

/// A delivery that is not settled.
pub struct Unsettled(Publish);

impl Consumer for SessionConsumer {
    type Item = Bytes;
    type Receipt = Unsettled;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, Unsettled>>> {
        let message = self.member.intake.next().await?;
        let (item, attempt) = (message.payload.clone(), sessions::attempt(&message));
        Ok(Some(Delivery { item, attempt, receipt: Unsettled(message) }))
    }

    async fn ack(&mut self, Unsettled(message): Unsettled) -> Result<()> {
        self.member.intake.ack(&message).await
    }

    /// Published again, then acknowledged: a crash in between doubles it.
    async fn nack(&mut self, Unsettled(message): Unsettled) -> Result<()> {
        let attempt = sessions::attempt(&message) + 1;
        let again = sessions::message(&self.place, self.qos, message.payload.clone(), attempt);
        self.member.intake.link.out.publish_confirmed(again).await.context("cannot give it back")?;
        self.member.intake.ack(&message).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.member.intake.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.member.leave().await
    }
}
