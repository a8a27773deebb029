//! Durable subscribers over MQTT 5: a session that outlives its connections,
//! named after the subscriber. The broker puts what matches its subscription
//! into the session, at QoS 1, whether the subscriber is there or not, and keeps
//! each event until it is acknowledged (PUBACK).
//!
//! Whoever comes back to the session gets what it had not acknowledged, flagged
//! as a duplicate, then what it missed, in order. Who just listens does so at
//! QoS 0, on the topics of `pubsub/mqtt.rs`. MQTT has no nack: an event is handed
//! out again from this client's memory, while the broker waits for its
//! acknowledgement as before. A subscriber who stays away keeps all it misses in
//! the broker's memory (Mosquitto drops it beyond `max_queued_messages`, 1,000
//! unless set: here there is no limit); forget it.
//!
//! Survives: kill -9 of a subscriber. Loses: with kill -9 of Mosquitto, what it
//! had confirmed and not yet saved, for it saves once a while, and confirms before.
//!
//! Run it: `just lab durable-mqtt`.

use std::collections::VecDeque;

use anyhow::Result;

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::mqtt::{
    HIGH_WATER, Mqtt as Topics, RETAIN, TopicPublisher, TopicSubscriber, subscription,
};
use crate::pubsub::{self, Event, PubSub};
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind};
use crate::wire::mqtt::packet::Publish;
use crate::wire::mqtt::{self, Intake, Link, QoS, Who};

const PREFETCH: Knob =
    Knob::new("prefetch", 256, "Deliveries a subscriber may hold unsettled (MQTT's receive maximum).");

/// Topics below one that is named after the place, and a session for every
/// durable subscriber.
pub struct Mqtt {
    place: Place,
}

impl Lab for Mqtt {
    const TRANSPORT: &'static str = "mqtt";
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[PREFETCH, RETAIN, HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Link::to(place).await?.close().await?;
        Ok(Self { place: place.clone() })
    }

    /// Sessions end when they are forgotten: MQTT does not list them.
    async fn remove(place: &Place) -> Result<()> {
        Topics::remove(place).await
    }
}

impl PubSub for Mqtt {
    const FILTERS: &'static [FilterKind] = Topics::FILTERS;
    type Publisher = TopicPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<TopicPublisher> {
        TopicPublisher::to(&self.place, QoS::AtLeastOnce).await
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        TopicSubscriber::join(&self.place, filter).await
    }
}

impl DurablePubSub for Mqtt {
    type Durable = SessionSubscriber;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<SessionSubscriber> {
        let subscription = subscription(&self.place, filter)?;
        let prefetch = u16::try_from(self.place.knob(PREFETCH)).unwrap_or(u16::MAX).max(1);
        let session = Some(mqtt::topic(&self.place, id));
        let link = Link::of(&self.place, Who { session, unacked: Some(prefetch), ..Who::default() }).await?;
        // To subscribe again would be harmless, but for retained events: they would come again.
        if !link.resumed {
            link.subscribe(&subscription, QoS::AtLeastOnce).await?;
        }
        let topics = pubsub::mqtt::Topics::of(&self.place);
        Ok(SessionSubscriber { intake: Intake::new(link, prefetch), topics, again: VecDeque::new() })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        mqtt::end_session(&self.place, &mqtt::topic(&self.place, id)).await
    }
}

/// Takes what stands in its session.
pub struct SessionSubscriber {
    intake: Intake,
    topics: pubsub::mqtt::Topics,
    /// Nacked, to be handed out again, each with its attempt.
    again: VecDeque<Unsettled>,
}

/// A delivery that is not settled, and which it was.
pub struct Unsettled(Publish, u32);

impl Consumer for SessionSubscriber {
    type Item = Event;
    type Receipt = Unsettled;

    async fn next(&mut self) -> Result<Option<Delivery<Event, Unsettled>>> {
        self.intake.room().await;
        let (message, attempt) = match self.again.pop_front() {
            Some(Unsettled(message, before)) => {
                self.intake.take_again();
                (message, before + 1)
            }
            None => {
                let message = self.intake.next().await?;
                let attempt = 1 + u32::from(message.dup);
                (message, attempt)
            }
        };
        let item = self.topics.event(&message)?;
        Ok(Some(Delivery { item, attempt, receipt: Unsettled(message, attempt) }))
    }

    async fn ack(&mut self, Unsettled(message, _): Unsettled) -> Result<()> {
        self.intake.ack(&message).await
    }

    async fn nack(&mut self, receipt: Unsettled) -> Result<()> {
        self.intake.give_back();
        self.again.push_back(receipt);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.intake.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.intake.link.close().await
    }
}
