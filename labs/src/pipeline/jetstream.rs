//! A pipeline over JetStream: a work-queue stream of tasks that workers pull
//! from, another of results for the sink, both as in `queue/jetstream.rs`. The
//! stream of `pubsub/jetstream.rs` carries `stop`.
//!
//! A worker asks for a few tasks, and for more as it acknowledges them: whoever
//! is faster gets more. Promises: a result is confirmed before its task is
//! acknowledged, so none is lost, whoever dies, the broker included; some may
//! come twice. The tasks of a worker that died come again when their time is over.
//!
//! Run it: `just lab pipeline-jetstream`.

use anyhow::Result;
use async_nats::Subject;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::Sender;
use crate::pipeline::{Pipeline, Sharing, Stage};
use crate::pubsub;
use crate::queue::jetstream::{CLAIM_MS, StreamConsumer, make};
use crate::wire::jetstream::{Outbox, Store};
use crate::wire::nats;

const PREFETCH: Knob =
    Knob::new("prefetch", 128, "Tasks a worker holds at once; 1 shares most evenly and waits most.");

/// Two streams, and a third for control.
pub struct JetStream {
    place: Place,
}

impl Lab for JetStream {
    const TRANSPORT: &'static str = "jetstream";
    const BROKER: Option<Broker> = Some(Broker::Nats);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[PREFETCH, CLAIM_MS, nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        for stage in [Stage::Tasks, Stage::Results] {
            make(&place.namespace(stage.namespace())).await?;
        }
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        for stage in [Stage::Tasks, Stage::Results] {
            Store::at(&place.namespace(stage.namespace())).await?.delete().await?;
        }
        pubsub::jetstream::JetStream::remove(&place.namespace("control")).await
    }
}

impl Pipeline for JetStream {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = StagePush;
    type Pull = StreamConsumer;
    type Control = pubsub::jetstream::JetStream;

    async fn push(&self, stage: Stage) -> Result<StagePush> {
        let place = self.place.namespace(stage.namespace());
        Ok(StagePush { outbox: Outbox::new(Store::at(&place).await?), subject: place.name().into() })
    }

    async fn pull(&self, stage: Stage) -> Result<StreamConsumer> {
        let prefetch = match stage {
            Stage::Tasks => self.place.knob(PREFETCH),
            // There is one sink, and nobody to share with.
            Stage::Results => 1024,
        };
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        StreamConsumer::join(&self.place.namespace(stage.namespace()), prefetch).await
    }
}

/// Publishes into the stream of a stage, with many messages on their way to be confirmed.
pub struct StagePush {
    outbox: Outbox,
    subject: Subject,
}

impl Sender for StagePush {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.outbox.publish(self.subject.clone(), body).await
    }

    /// Confirmed: JetStream answers for all of it.
    async fn flush(&mut self) -> Result<()> {
        self.outbox.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.outbox.flush().await
    }
}
