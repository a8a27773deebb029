//! Durable subscribers over JetStream: the stream of `pubsub/jetstream.rs`, and
//! for every identifier a durable consumer, a cursor that stays where it is
//! while its subscriber is away. An event is kept until all of them are past it.
//!
//! Promises: what is confirmed is in the stream's file, and comes to each
//! identifier in order, until it is acknowledged. JetStream would bring back
//! what a subscriber that died had in hand only when `CLAIM_MS` is over, behind
//! newer events: whoever comes back says on its behalf that it is not done.
//!
//! Survives: kill -9 of a subscriber and of the broker; not a power cut.
//!
//! Run it: `just lab durable-jetstream`. Watch it: `nats consumer report`.

use std::time::Duration;

use anyhow::Result;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::jetstream::{AHEAD, JetStream as Stream, StreamPublisher, StreamSubscriber};
use crate::pubsub::{Event, PubSub};
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind};
use crate::wire::jetstream::{Pull, Store};
use crate::wire::nats::{self, Events, filtered};

const PREFETCH: Knob = Knob::new(
    "prefetch",
    1024,
    "Events a subscriber may hold unsettled; more of them hide the wait for each ack.",
);
const CLAIM_MS: Knob =
    Knob::new("claim-ms", 30_000, "Milliseconds after which an unsettled event is delivered again.");

/// A stream with cursors that stay.
pub struct JetStream {
    place: Place,
    stream: Stream,
}

impl Lab for JetStream {
    const TRANSPORT: &'static str = Stream::TRANSPORT;
    const BROKER: Option<Broker> = Stream::BROKER;
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Stream::OVERLOAD;
    const JOIN: Join = Stream::JOIN;
    const KNOBS: &'static [Knob] = &[PREFETCH, CLAIM_MS, AHEAD, nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), stream: Stream::open(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        Stream::remove(place).await
    }
}

impl PubSub for JetStream {
    const FILTERS: &'static [FilterKind] = Stream::FILTERS;
    type Publisher = StreamPublisher;
    type Subscriber = StreamSubscriber;

    async fn publisher(&self) -> Result<StreamPublisher> {
        self.stream.publisher().await
    }

    async fn subscriber(&self, filter: &Filter) -> Result<StreamSubscriber> {
        self.stream.subscriber(filter).await
    }
}

impl DurablePubSub for JetStream {
    type Durable = DurableSubscriber;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<DurableSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let store = Store::at(&self.place).await?;
        let cursor = pull::Config {
            durable_name: Some(consumer(id)),
            // From the first time on.
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(self.place.knob(CLAIM_MS) as u64),
            max_ack_pending: -1,
            filter_subject: filtered(&self.place, filter),
            ..Default::default()
        };
        let found = store.durable(&consumer(id), cursor).await?;
        store.take_over(found).await?;
        let pull = Pull::from(&store, &consumer(id), self.place.knob(PREFETCH)).await?;
        Ok(DurableSubscriber { pull, events: Events::of(&self.place) })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        Store::at(&self.place).await?.delete_consumer(&consumer(id)).await
    }
}

/// The name of an identifier's consumer: what has a meaning in a subject is spelled out.
fn consumer(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    id.chars().map(|c| if plain(c) { c.to_string() } else { format!("_{:x}_", u32::from(c)) }).collect()
}

/// Pulls from a durable consumer; a receipt is the message's number in the stream.
pub struct DurableSubscriber {
    pull: Pull,
    events: Events,
}

impl Consumer for DurableSubscriber {
    type Item = Event;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Event, u64>>> {
        let pulled = self.pull.next().await?;
        self.pull.hold(&pulled)?;
        let receipt = pulled.number;
        Ok(Some(Delivery { item: self.events.read(pulled.message)?, attempt: pulled.attempt, receipt }))
    }

    async fn ack(&mut self, receipt: u64) -> Result<()> {
        self.pull.settle(receipt, AckKind::Ack).await
    }

    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.pull.settle(receipt, AckKind::Nak(None)).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.pull.flush().await
    }

    async fn close(self) -> Result<()> {
        self.pull.close().await
    }
}
