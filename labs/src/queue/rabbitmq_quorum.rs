//! A replicated queue on RabbitMQ: a quorum queue is a log that most of its nodes have written
//! (Raft). Here one node runs, and it is the whole quorum. So this lab shows what the log costs,
//! but not what the queue is for: with three nodes, two go on when one dies.
//!
//! Wire: the declaration differs from `queue/rabbitmq/mod.rs` (`x-queue-type: quorum`). The producer is
//! that lab's (`basic.publish` with publisher confirms), and so is the consumer below its counting:
//! `basic.consume` with a prefetch, `basic.ack`, `basic.nack`. RabbitMQ itself counts the deliveries
//! of a quorum queue (`x-delivery-count`), and after `max-attempts` of them that failed it moves the
//! message to the queue `PLACE.dead` (`x-delivery-limit`, `x-dead-letter-exchange`).
//!
//! Confirms: a message when most of the queue's nodes have written it. A message whose queue is
//! gone comes back (`mandatory`), which is an error of its `send`; the recovery layer declares the
//! queue again and repeats the message.
//!
//! Survives: kill -9 of a consumer, whose messages are delivered again at once. A cut connection:
//! the recovery layer (`labs/src/recovery/`) connects and joins again, and sends again what was not
//! confirmed, so a message may come twice.
//!
//! Loses: messages that were not confirmed when the producer or RabbitMQ died. A kill of the broker
//! is not promised to be survived on one node: every confirmed message is still on disk, but RabbitMQ
//! 3.10 sometimes elects no leader when it starts again (rabbitmq-server, issue 10070). The queue then
//! neither takes nor delivers until somebody repairs it by hand.
//!
//! Run it: `just lab queue-rabbitmq-quorum`. Watch it:
//! `rabbitmqctl list_queues name type messages`.

use anyhow::Result;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::rabbitmq::dead::{DeadQueue, dead};
use crate::queue::rabbitmq::{QueueConsumer, QueueProducer};
use crate::queue::{AttemptLimit, Depth, MAX_ATTEMPTS, Queue};
use crate::wire::amqp::{self, AmqpConnection};

/// So often that it never comes to it. RabbitMQ 4 drops a message after 20 redeliveries where a
/// queue has no limit. Its word for no limit, -1, makes RabbitMQ 3.10 drop the first redelivery.
const NEVER: i64 = i32::MAX as i64;

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
    const KNOBS: &'static [Knob] = &[MAX_ATTEMPTS];

    async fn open(place: &Place) -> Result<Self> {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), text("quorum"));
        let redeliveries = match AttemptLimit::of(place).get() {
            Some(attempts) => {
                // The default exchange knows the queue of dead letters by its name.
                arguments.insert("x-dead-letter-exchange".into(), text(""));
                arguments.insert("x-dead-letter-routing-key".into(), text(&dead(place)));
                // With confirms between the queues; RabbitMQ demands the overflow rule with it.
                arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
                arguments.insert("x-overflow".into(), text("reject-publish"));
                i64::from(attempts) - 1
            }
            None => NEVER,
        };
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(redeliveries));
        let connection = AmqpConnection::open(place).await?;
        amqp::declare_queue(&connection.channel, &dead(place), FieldTable::default()).await?;
        amqp::declare_queue(&connection.channel, &place.name(), arguments).await?;
        connection.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_queue(place, &place.name()).await?;
        amqp::delete_queue(place, &dead(place)).await
    }
}

impl Queue for RabbitMqQuorum {
    type Producer = QueueProducer;
    type Consumer = QueueConsumer;
    type DeadLetters = DeadQueue;

    /// Every message of a quorum queue goes to disk, also one that is not marked as persistent.
    async fn producer(&self) -> Result<QueueProducer> {
        QueueProducer::join(&self.place, BasicProperties::default()).await
    }

    async fn consumer(&self, prefetch: u16) -> Result<QueueConsumer> {
        QueueConsumer::join(AmqpConnection::open(&self.place).await?, &self.place.name(), prefetch).await
    }

    /// RabbitMQ notes the reason, and not the number of attempts: that is the limit.
    async fn dead_letters(&self) -> Result<DeadQueue> {
        DeadQueue::open(&self.place, AttemptLimit::of(&self.place).get().unwrap_or(0)).await
    }

    async fn depth(&self) -> Result<Option<Depth>> {
        amqp::depth(&self.place).await.map(Some)
    }
}
