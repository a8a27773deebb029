//! Publish/subscribe over NATS core. This is what NATS is made for.
//!
//! Wire: the topic is the end of a subject (`PUB PLACE.TOPIC`), and NATS copies each message to
//! every subscription that matches it at that moment (`SUB PLACE.>`), in order for each publisher.
//! NATS stores nothing and acknowledges nothing.
//!
//! Confirms: a subscription: `subscriber` returns when it is in force: after SUB, the subscriber
//! sends itself a message and waits for it. Events are not confirmed: `publish` returns when the
//! client has accepted the event, `flush` when all are written, `close` when NATS has read them.
//!
//! Survives: the death of a publisher or a subscriber: the others go on. After a cut connection or
//! a restart of NATS, the recovery layer (`labs/src/recovery/`) connects and joins again; for the
//! events, see Loses.
//!
//! Loses: what is published while a subscriber is away, also while it joins again; what is on its
//! way when a connection is cut, or when a side or NATS dies. Under overload, the client keeps
//! `high-water` events for a subscriber that is too slow, and drops newer ones. If the client
//! itself reads too slowly, NATS closes the connection (by default when 64 MB wait, or when a write
//! takes ten seconds).
//!
//! Run it: `just lab pubsub-nats`. Watch it: `nats sub 'PLACE.>'`.

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic};
use crate::wire::nats::subjects::{EventReader, FILTERS, TopicSubjects, filter_subject};
use crate::wire::nats::{self, CountedSubscription, NatsConnection};

/// Subjects named after the place and the topic.
pub struct Nats {
    place: Place,
}

impl Lab for Nats {
    const TRANSPORT: &'static str = "nats";
    const BROKER: Option<Broker> = Some(Broker::Nats);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Drops;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// A subject is gone when its last subscriber is.
    async fn remove(_place: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for Nats {
    const FILTERS: &'static [FilterKind] = FILTERS;
    type Publisher = SubjectPublisher;
    type Subscriber = SubjectSubscriber;

    async fn publisher(&self) -> Result<SubjectPublisher> {
        let connection = NatsConnection::connect(&self.place).await?;
        Ok(SubjectPublisher { connection, subjects: TopicSubjects::new(&self.place) })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<SubjectSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let connection = NatsConnection::connect(&self.place).await?;
        let subject = filter_subject(&self.place, filter);
        let subscribe = connection.client.subscribe(subject.clone());
        let messages = subscribe.await.with_context(|| format!("cannot subscribe to {subject}"))?;
        // NATS does not answer SUB. It handles the commands of a connection in order: when a
        // message to ourselves comes back, the subscription is in force.
        connection.round_trip().await?;
        let messages = CountedSubscription::new(&self.place, connection, messages);
        Ok(SubjectSubscriber { messages, events: EventReader::new(&self.place) })
    }
}

/// Publishes below the place's subject.
pub struct SubjectPublisher {
    connection: NatsConnection,
    subjects: TopicSubjects,
}

impl Publisher for SubjectPublisher {
    /// Accepted: the client's own task writes it when this one yields.
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let publish = self.connection.client.publish(self.subjects.subject(topic), body);
        self.connection.hand_over(publish).await
    }

    /// Written to the socket. NATS may not have read it.
    async fn flush(&mut self) -> Result<()> {
        self.connection.unless_lost(self.connection.client.flush()).await
    }

    /// NATS has read all of it, and passed it on to all subscribers.
    async fn close(self) -> Result<()> {
        self.connection.round_trip().await
    }
}

/// Subscribes to the subject of its filter.
pub struct SubjectSubscriber {
    messages: CountedSubscription,
    events: EventReader,
}

impl Subscriber for SubjectSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            // Anybody can publish below the place's subject: what is not an event is skipped.
            if let Some(event) = self.events.read(self.messages.next().await?) {
                return Ok(Some(event));
            }
        }
    }
}
