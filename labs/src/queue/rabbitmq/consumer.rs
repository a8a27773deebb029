//! A consumer of a queue in RabbitMQ: `basic.consume`, `basic.ack`, `basic.nack`. It knows of attempts
//! what RabbitMQ says: their number in a quorum queue, a flag in a classic one.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::FutureExt as _;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;

use crate::queue::{Consumer, Delivery};
use crate::wire::amqp::{self, Acks, AmqpConnection};
use crate::wire::window::Window;

/// Consumes from a queue, and counts only what RabbitMQ counts; a receipt is the delivery's tag.
pub struct QueueConsumer {
    connection: AmqpConnection,
    consumer: lapin::Consumer,
    acks: Acks,
    in_flight: Window,
}

impl QueueConsumer {
    pub(crate) async fn join(connection: AmqpConnection, queue: &str, prefetch: u16) -> Result<Self> {
        let prefetch = prefetch.max(1);
        // Before consuming, or the first deliveries would come without a limit.
        let limit = connection.channel.basic_qos(prefetch, BasicQosOptions::default());
        limit.await.context("cannot set the prefetch")?;
        // Without `no_ack`: RabbitMQ keeps each delivery until it is acked.
        let options = BasicConsumeOptions::default();
        let consume =
            connection.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let consumer = consume.await.with_context(|| format!("cannot consume from {queue}"))?;
        Ok(Self { connection, consumer, acks: Acks::of(prefetch), in_flight: amqp::window() })
    }

    /// The next delivery, as the client has it, and which attempt it is; acks that wait are
    /// written before this waits. Cancel-safe.
    pub(crate) async fn delivery(&mut self) -> Result<(lapin::message::Delivery, u32)> {
        loop {
            let delivery = match amqp::next(&mut self.consumer).now_or_never() {
                Some(delivery) => delivery?,
                None => {
                    self.write_acks().await?;
                    amqp::next(&mut self.consumer).await?
                }
            };
            if let Some(attempt) = amqp::attempt(&delivery) {
                return Ok((delivery, attempt));
            }
            // Nobody can say which attempt it is: it is skipped, and acked, or it would come again.
            self.connection.place.message_skipped("the header `x-delivery-count` is not a count");
            self.ack(delivery.delivery_tag).await?;
        }
    }

    /// Writes the acks that wait. `multiple` acks this delivery and all before it.
    async fn write_acks(&mut self) -> Result<()> {
        self.in_flight.room().await?;
        for (tag, multiple) in self.acks.due() {
            let channel = self.connection.channel.clone();
            self.in_flight.put(0, async move {
                channel.basic_ack(tag, BasicAckOptions { multiple }).await.context("cannot ack")
            })?;
        }
        Ok(())
    }
}

impl Consumer for QueueConsumer {
    type Item = Bytes;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, u64>>> {
        let (delivery, attempt) = self.delivery().await?;
        Ok(Some(Delivery { item: delivery.data.into(), attempt, receipt: delivery.delivery_tag }))
    }

    async fn ack(&mut self, receipt: u64) -> Result<()> {
        if self.acks.ack(receipt) { self.write_acks().await } else { Ok(()) }
    }

    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.in_flight.room().await?;
        self.acks.nacked(receipt);
        let channel = self.connection.channel.clone();
        self.in_flight.put(0, async move {
            let options = BasicNackOptions { requeue: true, ..Default::default() };
            channel.basic_nack(receipt, options).await.context("cannot nack")
        })
    }

    async fn flush(&mut self) -> Result<()> {
        self.write_acks().await?;
        self.in_flight.drain().await?;
        self.connection.barrier().await
    }

    /// What was delivered here and not acked goes back to the queue.
    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        let cancel = self.connection.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        cancel.await.context("cannot cancel")?;
        self.connection.close().await
    }
}
