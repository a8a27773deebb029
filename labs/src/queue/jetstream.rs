//! A queue on JetStream: a work-queue stream keeps a message until it is
//! acknowledged, and one durable consumer hands each to whoever asks next.
//!
//! JetStream confirms a message when it is in the stream's file. A consumer
//! asks for `prefetch` deliveries and for more as it settles them. A nack brings
//! a delivery back at once; one that nobody settles comes again when
//! `CLAIM_MS` is over, since JetStream does not watch the connections of those
//! who asked. Each delivery says which attempt it is.
//!
//! Survives: kill -9 of a consumer, after that time; of the broker; not a power
//! cut, as the file is synced only every minute or two. Some messages
//! may come twice, also those that are handled for longer than `CLAIM_MS`.
//!
//! Run it: `just lab queue-jetstream`. Watch it: `nats consumer report`.

use std::time::Duration;

use anyhow::Result;
use async_nats::Subject;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::RetentionPolicy;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::queue::{Consumer, Delivery, Producer, Queue};
use crate::wire::jetstream::{Pull, Store};
use crate::wire::nats;

pub(crate) const CLAIM_MS: Knob =
    Knob::new("claim-ms", 5_000, "Milliseconds after which an unsettled delivery goes to another consumer.");
/// All who compete share one consumer of JetStream's.
const CONSUMERS: &str = "consumers";

/// A stream that is a queue.
pub struct JetStream {
    place: Place,
}

impl Lab for JetStream {
    const TRANSPORT: &'static str = "jetstream";
    const BROKER: Option<Broker> = Some(Broker::Nats);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[CLAIM_MS, nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        make(place).await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        Store::at(place).await?.delete().await
    }
}

impl Queue for JetStream {
    type Producer = StreamProducer;
    type Consumer = StreamConsumer;

    async fn producer(&self) -> Result<StreamProducer> {
        Ok(StreamProducer { store: Store::at(&self.place).await?, subject: self.place.name().into() })
    }

    async fn consumer(&self, prefetch: u16) -> Result<StreamConsumer> {
        StreamConsumer::join(&self.place, prefetch).await
    }
}

/// Makes the stream of a place.
pub(crate) async fn make(place: &Place) -> Result<()> {
    Store::at(place).await?.make(place.name(), RetentionPolicy::WorkQueue).await
}

/// Publishes into the stream, and waits for the confirmation of each message.
pub struct StreamProducer {
    store: Store,
    subject: Subject,
}

impl Producer for StreamProducer {
    async fn send(&self, body: Bytes) -> Result<()> {
        self.store.publish(self.subject.clone(), body).await
    }

    async fn close(self) -> Result<()> {
        self.store.line.round_trip().await
    }
}

/// Pulls from the shared consumer; a receipt is the message's number in the stream.
pub struct StreamConsumer {
    pull: Pull,
}

impl StreamConsumer {
    pub(crate) async fn join(place: &Place, prefetch: u16) -> Result<Self> {
        let store = Store::at(place).await?;
        let shared = pull::Config {
            durable_name: Some(CONSUMERS.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(place.knob(CLAIM_MS) as u64),
            // What each may hold is its prefetch; together they are not limited.
            max_ack_pending: -1,
            ..Default::default()
        };
        store.consumer(shared).await?;
        Ok(Self { pull: Pull::from(&store, CONSUMERS, usize::from(prefetch)).await? })
    }
}

impl Consumer for StreamConsumer {
    type Item = Bytes;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, u64>>> {
        let pulled = self.pull.next().await?;
        self.pull.hold(&pulled)?;
        let receipt = pulled.number;
        Ok(Some(Delivery { item: pulled.message.payload, attempt: pulled.attempt, receipt }))
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
