//! A pipeline over STOMP: a queue of tasks that workers compete for, and a queue of results for the
//! sink.
//!
//! Wire: the sending end writes SEND frames to `/queue/PLACE.tasks` or `/queue/PLACE.results`; it
//! is the sender of `oneway/stomp.rs`. The receiving end is the consumer of `queue/stomp/mod.rs`: it
//! subscribes with `ack:client-individual` and `prefetch-count`, and acks each MESSAGE (ACK).
//! `prefetch-count` shares tasks on demand; without this header, RabbitMQ gives the first worker
//! all tasks there are. The signal to stop the workers goes through `pubsub/stomp.rs`. (`remove`
//! deletes the queues over AMQP, because STOMP cannot.)
//!
//! Confirms: tasks and results at a `flush`: it asks for the RECEIPT frame of the last SEND, and
//! RabbitMQ has all messages then, in memory. By the contract, a worker flushes its result before
//! it acks the task.
//!
//! Survives: kill -9 of a worker or of the sink: what it held goes to another, or to its successor,
//! at once. A cut connection loses nothing: the recovery layer (`labs/src/recovery/`) connects and
//! joins again, and what was not flushed or not acked is sent again, and may come twice. After a
//! restart of RabbitMQ the roles join again, too, with empty queues.
//!
//! Loses: tasks and results that were not confirmed when the process that sent them died;
//! everything when RabbitMQ stops, because the messages are not persistent.
//!
//! Run it: `just lab pipeline-stomp`. Watch it:
//! `rabbitmqctl list_queues name messages_unacknowledged`.

use anyhow::Result;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::stomp::QueueSender;
use crate::pipeline::{Pipeline, RESULTS_UNACKED, Sharing, Stage};
use crate::pubsub;
use crate::queue::stomp::QueueConsumer;
use crate::wire::amqp;

const PREFETCH: Knob =
    Knob::new("prefetch", 32, "Tasks a worker holds at once; 1 shares most evenly and waits most.");

/// Two queues, and the control channel's topics (`pubsub/stomp.rs`).
pub struct Stomp {
    place: Place,
}

impl Lab for Stomp {
    const TRANSPORT: &'static str = "stomp";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[PREFETCH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// Over AMQP: STOMP cannot delete a queue.
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
            Stage::Results => RESULTS_UNACKED,
        };
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        QueueConsumer::join(&self.place.namespace(stage.namespace()), prefetch).await
    }
}
