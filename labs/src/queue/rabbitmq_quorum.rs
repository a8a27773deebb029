//! A replicated queue on RabbitMQ: a quorum queue is a log that most of its nodes have written
//! (Raft). Here one node runs, and it is the whole quorum. So this lab shows what the log costs,
//! but not what the queue is for: with three nodes, two go on when one dies.
//!
//! Wire: only the declaration differs from `queue/rabbitmq.rs` (`x-queue-type: quorum`). The
//! producer and the consumer are those of that lab: `basic.publish` with publisher confirms,
//! `basic.consume` with a prefetch, `basic.ack`. RabbitMQ counts the deliveries of a quorum queue
//! (`x-delivery-count`), so an attempt is a real number; a classic queue only flags a redelivery.
//!
//! Confirms: a message when most of the queue's nodes have written it. A message whose queue is
//! gone comes back (`mandatory`), and is an error.
//!
//! Survives: kill -9 of a consumer, whose messages are delivered again at once. A cut connection:
//! the recovery layer (`labs/src/recovery/`) connects and joins again, and sends again what was not
//! confirmed, so a message may come twice.
//!
//! Loses: messages that were not confirmed when the producer or RabbitMQ died; with
//! `delivery-limit`, a message after so many redeliveries. A kill of the broker is not promised to
//! be survived on one node: every confirmed message is still on disk, but RabbitMQ 3.10 sometimes
//! elects no leader when it starts again (rabbitmq-server, issue 10070). The queue then neither
//! takes nor delivers until somebody repairs it by hand.
//!
//! Run it: `just lab queue-rabbitmq-quorum`. Watch it:
//! `rabbitmqctl list_queues name type messages`.

use anyhow::{Context as _, Result};
use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::Queue;
use crate::queue::rabbitmq::{QueueConsumer, QueueProducer};
use crate::wire::amqp::{self, AmqpConnection};

/// Limits how often a message that always fails is delivered again. After that it is dropped; a
/// dead-letter exchange could keep it.
const DELIVERY_LIMIT: Knob =
    Knob::new("delivery-limit", 0, "Redeliveries after which a message is dropped; 0: never.");

/// So often that it never comes to it. RabbitMQ 4 drops a message after 20 redeliveries where a
/// queue has no limit. Its word for no limit, -1, makes RabbitMQ 3.10 drop the first redelivery.
const NEVER: i32 = i32::MAX;

/// A quorum queue behind the default exchange.
pub struct RabbitMqQuorum {
    place: Place,
}

impl Lab for RabbitMqQuorum {
    const TRANSPORT: &'static str = "rabbitmq";
    const VARIANT: Option<&'static str> = Some("quorum");
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[DELIVERY_LIMIT];

    async fn open(place: &Place) -> Result<Self> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let limit = match place.knob(DELIVERY_LIMIT) {
            0 => NEVER.into(),
            limit => limit.try_into()?,
        };
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(limit));
        let connection = AmqpConnection::open(place).await?;
        let (queue, options) = (place.name(), QueueDeclareOptions { durable: true, ..Default::default() });
        let declare = connection.channel.queue_declare(queue.as_str().into(), options, arguments);
        declare.await.with_context(|| format!("cannot declare the quorum queue {queue}"))?;
        connection.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_queue(place, &place.name()).await
    }
}

impl Queue for RabbitMqQuorum {
    type Producer = QueueProducer;
    type Consumer = QueueConsumer;

    /// Every message of a quorum queue goes to disk, also one that is not marked as persistent.
    async fn producer(&self) -> Result<QueueProducer> {
        QueueProducer::join(&self.place, BasicProperties::default()).await
    }

    async fn consumer(&self, prefetch: u16) -> Result<QueueConsumer> {
        QueueConsumer::join(AmqpConnection::open(&self.place).await?, &self.place.name(), prefetch).await
    }
}
