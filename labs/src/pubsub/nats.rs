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

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::task::unconstrained;

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
        let (line, subject) = (Line::to(&self.place).await?, filtered(&self.place, filter));
        let subscribe = line.client.subscribe(subject.clone());
        let messages = subscribe.await.with_context(|| format!("cannot subscribe to {subject}"))?;
        // NATS does not answer to a subscription. It handles a connection's commands in order:
        // when a message to ourselves comes back, the subscription is in force.
        line.round_trip().await?;
        let messages = Listener::of(&self.place, line, messages);
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
        // Accepted: the client's own task writes it when this one yields. Not to be put off
        // because this task has used up its turn: the more messages wait, the more are written
        // at once.
        let publish = self.line.client.publish(self.subjects.subject(topic), body);
        unconstrained(self.line.unless_cut(publish)).await
    }

    /// Written to the socket. NATS may not have read it.
    async fn flush(&mut self) -> Result<()> {
        self.line.unless_cut(self.line.client.flush()).await
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
