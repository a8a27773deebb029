//! A pipeline over RabbitMQ: a queue of tasks that workers compete for, a queue
//! of results for the sink, and the topic exchange of `pubsub/rabbitmq.rs` for
//! `stop`. The taking ends are the consumers of `queue/rabbitmq.rs`.
//!
//! The prefetch makes it fair: a worker that holds so many unacked tasks gets
//! no more until it acks. Promises: the tasks of a worker that dies go to
//! another at once, and since a result is confirmed before its task is acked,
//! none is lost; some may come twice. The queues are transient: they, and what
//! is in them, go with the broker.
//!
//! Run it: `just lab pipeline-rabbitmq`.

use anyhow::Result;
use bytes::Bytes;
use lapin::BasicProperties;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::Sender;
use crate::pipeline::{Pipeline, Sharing, Stage};
use crate::pubsub;
use crate::queue::rabbitmq::QueueConsumer;
use crate::wire::amqp::{self, Link, Outbox};

const PREFETCH: Knob =
    Knob::new("prefetch", 32, "Tasks a worker holds at once; 1 shares most evenly and waits most.");

/// Two queues and an exchange.
pub struct RabbitMq {
    place: Place,
}

impl Lab for RabbitMq {
    const TRANSPORT: &'static str = "rabbitmq";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[PREFETCH];

    async fn open(place: &Place) -> Result<Self> {
        let link = Link::to(place).await?;
        for stage in [Stage::Tasks, Stage::Results] {
            link.declare(&place.namespace(stage.namespace()).name(), false).await?;
        }
        link.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        for stage in [Stage::Tasks, Stage::Results] {
            amqp::delete_queue(place, &place.namespace(stage.namespace()).name()).await?;
        }
        pubsub::rabbitmq::RabbitMq::remove(&place.namespace("control")).await
    }
}

impl Pipeline for RabbitMq {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = StagePush;
    type Pull = QueueConsumer;
    type Control = pubsub::rabbitmq::RabbitMq;

    async fn push(&self, stage: Stage) -> Result<StagePush> {
        let default_exchange = String::new();
        let outbox = Outbox::confirming(Link::to(&self.place).await?, default_exchange).await?;
        Ok(StagePush { outbox, queue: self.place.namespace(stage.namespace()).name() })
    }

    async fn pull(&self, stage: Stage) -> Result<QueueConsumer> {
        let prefetch = match stage {
            Stage::Tasks => self.place.knob(PREFETCH),
            // There is one sink, and nobody to share with.
            Stage::Results => 1024,
        };
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        let place = self.place.namespace(stage.namespace());
        QueueConsumer::join(Link::to(&place).await?, &place.name(), prefetch).await
    }
}

/// Publishes to the queue of a stage, with many messages on their way to be confirmed.
pub struct StagePush {
    outbox: Outbox,
    queue: String,
}

impl Sender for StagePush {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.outbox.publish(&self.queue, body, BasicProperties::default()).await
    }

    /// Confirmed: RabbitMQ answers for all of it.
    async fn flush(&mut self) -> Result<()> {
        self.outbox.flush().await
    }

    async fn close(self) -> Result<()> {
        self.outbox.close().await
    }
}
