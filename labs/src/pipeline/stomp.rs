//! A pipeline over STOMP: a queue of tasks that workers compete for, a queue of
//! results for the sink, and the topics of `pubsub/stomp.rs` for `stop`. The
//! handing ends are the senders of `oneway/stomp.rs`, the taking ends the
//! consumers of `queue/stomp.rs`.
//!
//! `prefetch-count` makes it fair: a worker that holds so many unacked tasks
//! gets no more until it acks. Without this header RabbitMQ gives the first to
//! come all there is. Promises: the tasks of a worker that dies go to another
//! at once, and since a result's receipt comes before its task is acked, none is
//! lost; some may come twice. The messages are not persistent: they go with the broker.
//!
//! Run it: `just lab pipeline-stomp`.

use anyhow::Result;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::stomp::QueueSender;
use crate::pipeline::{Pipeline, Sharing, Stage};
use crate::pubsub;
use crate::queue::stomp::QueueConsumer;
use crate::wire::amqp;

const PREFETCH: Knob =
    Knob::new("prefetch", 32, "Tasks a worker holds at once; 1 shares most evenly and waits most.");

/// Two queues, and topics.
pub struct Stomp {
    place: Place,
}

impl Lab for Stomp {
    const TRANSPORT: &'static str = "stomp";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[PREFETCH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// Over AMQP: STOMP has no word for deleting a queue.
    async fn remove(place: &Place) -> Result<()> {
        for stage in [Stage::Tasks, Stage::Results] {
            amqp::delete_queue(place, &place.namespace(stage.namespace()).name()).await?;
        }
        pubsub::stomp::Stomp::remove(&place.namespace("control")).await
    }
}

impl Pipeline for Stomp {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = QueueSender;
    type Pull = QueueConsumer;
    type Control = pubsub::stomp::Stomp;

    async fn push(&self, stage: Stage) -> Result<QueueSender> {
        QueueSender::to(&self.place.namespace(stage.namespace())).await
    }

    async fn pull(&self, stage: Stage) -> Result<QueueConsumer> {
        let prefetch = match stage {
            Stage::Tasks => self.place.knob(PREFETCH),
            // There is one sink, and nobody to share with.
            Stage::Results => 1024,
        };
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        QueueConsumer::join(&self.place.namespace(stage.namespace()), prefetch).await
    }
}
