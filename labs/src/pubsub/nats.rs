//! Publish/subscribe over NATS core: the topic is the end of a subject, and
//! NATS copies each message to every subscription that matches it at that
//! moment. This is what NATS is made for; it keeps nothing.
//!
//! Promises: order per publisher, and that a subscriber is live when
//! `subscriber` returns. Loses: what is published while nobody listens; what a
//! slow subscriber has no room for, since the client reads on and drops what is
//! beyond its high-water mark; and where the client itself cannot read fast
//! enough, NATS closes the connection (64 MB wait, or ten seconds have passed).
//!
//! Run it: `just lab pubsub-nats`. Listen in: `nats sub 'PLACE.>'`.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic};
use crate::wire::nats::{self, Events, FILTERS, Line, Listener, Subjects, filtered};

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
        Ok(SubjectPublisher { line: Line::to(&self.place).await?, subjects: Subjects::of(&self.place) })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<SubjectSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let messages = Listener::to(&self.place, filtered(&self.place, filter), None).await?;
        Ok(SubjectSubscriber { messages, events: Events::of(&self.place) })
    }
}

/// Publishes below the place's subject.
pub struct SubjectPublisher {
    line: Line,
    subjects: Subjects,
}

impl Publisher for SubjectPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.line.publish(self.subjects.subject(topic), body).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.line.flush().await
    }

    /// NATS has read all of it, and passed it on to whoever listens.
    async fn close(self) -> Result<()> {
        self.line.round_trip().await
    }
}

/// Listens to the subjects that its filter names.
pub struct SubjectSubscriber {
    messages: Listener,
    events: Events,
}

impl Subscriber for SubjectSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        Ok(Some(self.events.read(self.messages.next().await?)?))
    }
}
