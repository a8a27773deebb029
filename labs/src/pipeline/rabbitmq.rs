//! A pipeline over RabbitMQ: a queue of tasks that workers compete for, and a queue of results for the
//! sink.
//!
//! Wire: the sending end publishes to the default exchange (`basic.publish`). The receiving end is the
//! consumer of `queue/rabbitmq/mod.rs`: it consumes (`basic.consume`) with a prefetch and acks each
//! message (`basic.ack`). The prefetch shares tasks on demand: a worker with `prefetch` unacked tasks
//! gets no more until it acks. A `nack` puts a task back into the queue (`basic.nack` with `requeue`), to
//! be delivered again. The signal to stop the workers goes through `pubsub/rabbitmq.rs`.
//!
//! Confirms: a task or a result when the queue has it (publisher confirms); `flush` waits for all
//! confirms. A message whose queue is gone comes back (`mandatory`), which is an error of `flush` or a
//! later `send`; the recovery layer declares the queue again and repeats the message. By the contract, a
//! worker flushes its result before it acks the task.
//!
//! Survives: kill -9 of a worker or of the sink: what it held goes to another, or to its successor, at
//! once. A cut connection loses nothing: the recovery layer (`labs/src/recovery/`) connects and joins
//! again, and what was not flushed or not acked is sent again, and may come twice. After a restart of
//! RabbitMQ the roles join again, too, with empty queues.
//!
//! Loses: tasks and results that were not confirmed when the process that sent them died; everything when
//! RabbitMQ stops, because messages are transient. (Queues are durable: some brokers allow no transient
//! queue that several connections use.)
//!
//! Run it: `just lab pipeline-rabbitmq`. Watch it:
//! `rabbitmqctl list_queues name messages_unacknowledged`.

use anyhow::{Context, Result};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::Sender;
use crate::pipeline::{Pipeline, RESULTS_UNACKED, Sharing, Stage};
use crate::pubsub;
use crate::queue::rabbitmq::QueueConsumer;
use crate::wire::amqp::{self, AmqpConnection};
use crate::wire::window::Window;

const PREFETCH: Knob =
    Knob::new("prefetch", 32, "Tasks a worker holds at once; 1 shares most evenly and waits most.");

/// Two queues, and the control channel's exchange (`pubsub/rabbitmq.rs`).
pub struct RabbitMq {
    place: Place,
}

impl Lab for RabbitMq {
    const TRANSPORT: &'static str = "rabbitmq";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[PREFETCH];

    async fn open(place: &Place) -> Result<Self> {
        let connection = AmqpConnection::open(place).await?;
        for stage in [Stage::Tasks, Stage::Results] {
            // The first role to declare a queue creates it.
            let queue = place.namespace(stage.namespace()).name();
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            let declare =
                connection.channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
            declare.await.with_context(|| format!("cannot declare the queue {queue}"))?;
        }
        connection.close().await?;
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
        let connection = AmqpConnection::open(&self.place).await?;
        // From now on, RabbitMQ confirms what is published on this channel.
        let select = connection.channel.confirm_select(ConfirmSelectOptions::default());
        select.await.context("RabbitMQ will not confirm")?;
        let queue = self.place.namespace(stage.namespace()).name();
        Ok(StagePush { connection, queue, in_flight: amqp::window() })
    }

    async fn pull(&self, stage: Stage) -> Result<QueueConsumer> {
        let prefetch = match stage {
            Stage::Tasks => self.place.knob(PREFETCH),
            Stage::Results => RESULTS_UNACKED,
        };
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        let place = self.place.namespace(stage.namespace());
        QueueConsumer::join(AmqpConnection::open(&place).await?, &place.name(), prefetch).await
    }
}

/// Publishes to the queue of a stage; many messages wait for their confirms at once.
pub struct StagePush {
    connection: AmqpConnection,
    queue: String,
    in_flight: Window,
}

impl Sender for StagePush {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.in_flight.room().await?;
        let (channel, bytes) = (self.connection.channel.clone(), body.len());
        // The default exchange, whose name is empty, knows queues by their names.
        let (exchange, key) = (ShortString::default(), ShortString::from(self.queue.as_str()));
        self.in_flight.put(bytes, async move {
            // Mandatory: a message that has no queue to go to comes back, and is an error.
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let publish = channel.basic_publish(exchange, key, options, &body, BasicProperties::default());
            let confirmation = publish.await.context("cannot publish")?;
            amqp::stored(confirmation.await.context("the message is not confirmed")?)
        })
    }

    /// Confirmed: RabbitMQ has taken responsibility for every message.
    async fn flush(&mut self) -> Result<()> {
        self.in_flight.drain().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.connection.close().await
    }
}
