//! Publish/subscribe over JetStream: a stream stores what is published below
//! the place's subject, and every subscriber has a consumer in it, a cursor
//! that starts at what comes next and goes when the subscriber does.
//!
//! The publisher has each event confirmed, and a subscriber asks for as many as
//! it has room for: nobody is cut off and nothing dropped, what is slow lags
//! behind in the store. An event goes from the store when everyone present has
//! got it. Promises: order, and that a subscriber is live when `subscriber`
//! returns. Loses: what is published while nobody listens, and what a
//! subscriber that crashes had not got; `durable-jetstream` keeps that for it.
//!
//! Run it: `just lab pubsub-jetstream`. Watch it: `nats consumer report`.

use anyhow::{Result, ensure};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::RetentionPolicy;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic};
use crate::wire::jetstream::{Outbox, Pull, Store};
use crate::wire::nats::{self, Events, FILTERS, Subjects, filtered};

pub(crate) const AHEAD: Knob = Knob::new("ahead", 2048, "Events asked for and not yet taken.");

/// A stream of events, kept while somebody wants them.
pub struct JetStream {
    place: Place,
}

impl Lab for JetStream {
    const TRANSPORT: &'static str = "jetstream";
    const BROKER: Option<Broker> = Some(Broker::Nats);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[AHEAD, nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Store::at(place).await?.make(filtered(place, &Filter::All), RetentionPolicy::Interest).await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        Store::at(place).await?.delete().await
    }
}

impl PubSub for JetStream {
    const FILTERS: &'static [FilterKind] = FILTERS;
    type Publisher = StreamPublisher;
    type Subscriber = StreamSubscriber;

    async fn publisher(&self) -> Result<StreamPublisher> {
        let outbox = Outbox::new(Store::at(&self.place).await?);
        Ok(StreamPublisher { outbox, subjects: Subjects::of(&self.place) })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<StreamSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let store = Store::at(&self.place).await?;
        let from_now = pull::Config {
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            filter_subject: filtered(&self.place, filter),
            ..Default::default()
        };
        let name = store.consumer(from_now).await?.name;
        let pull = Pull::from(&store, &name, self.place.knob(AHEAD)).await?;
        Ok(StreamSubscriber { pull, events: Events::of(&self.place), seen: 0 })
    }
}

/// Publishes into the stream, with many events on their way to be confirmed.
pub struct StreamPublisher {
    outbox: Outbox,
    subjects: Subjects,
}

impl Publisher for StreamPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.outbox.publish(self.subjects.subject(topic), body).await
    }

    /// More than written: JetStream has confirmed all of it.
    async fn flush(&mut self) -> Result<()> {
        self.outbox.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.outbox.flush().await
    }
}

/// Reads the stream from where it joined.
pub struct StreamSubscriber {
    pull: Pull,
    events: Events,
    /// Deliveries are numbered: one that is missing would be noticed.
    seen: u64,
}

impl Subscriber for StreamSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        let pulled = self.pull.next().await?;
        self.seen += 1;
        ensure!(pulled.order == self.seen, "delivery {} came where {} was due", pulled.order, self.seen);
        Ok(Some(self.events.read(pulled.message)?))
    }
}
