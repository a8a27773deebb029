//! A consumer that counts the attempts of messages in a classic queue of RabbitMQ, which itself only
//! flags a redelivery.
//!
//! ```text
//! nacked, or flagged:  basic.publish of a copy to the tail of the queue, x-delivery-count + 1
//!                      or, at the limit, to PLACE.dead, with the headers `attempts` and `reason`
//! confirmed:           basic.ack of the original
//! ```
//!
//! So a crash in between doubles a message and loses none. RabbitMQ's own way, a dead-letter
//! exchange, has no confirms for a classic queue; and it is an argument of the queue, so that every
//! other client that declares the queue would have to know it.

use std::rc::Rc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, ready};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::BasicPublishOptions;
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Channel};
use tokio::task::unconstrained;

use super::QueueConsumer;
use super::dead::{ATTEMPTS, REASON, dead};
use crate::lab::Place;
use crate::queue::{AttemptLimit, Consumer, Delivery, NACKED, UNSETTLED};
use crate::wire::amqp::{self, AmqpConnection};

/// Consumes, and publishes again what has failed.
pub struct RetryConsumer {
    consumer: QueueConsumer,
    /// For the copies: a channel that confirms.
    channel: Rc<Channel>,
    /// Copies on their way, each with the tag of the original, which is acked when they are confirmed.
    copies: FuturesUnordered<LocalBoxFuture<'static, Result<u64>>>,
    place: Place,
    limit: AttemptLimit,
}

/// A delivery that is not settled.
pub struct UnsettledMessage {
    tag: u64,
    attempt: u32,
    body: Bytes,
    properties: BasicProperties,
}

impl RetryConsumer {
    pub(super) async fn join(place: &Place, prefetch: u16) -> Result<Self> {
        let connection = AmqpConnection::open(place).await?;
        let channel = connection.confirming_channel().await?;
        let consumer = QueueConsumer::join(connection, &place.name(), prefetch).await?;
        let (place, limit) = (place.clone(), AttemptLimit::of(place));
        Ok(Self { consumer, channel, copies: FuturesUnordered::new(), place, limit })
    }

    /// Publishes a copy of a message that has failed so often.
    fn copy(&mut self, message: UnsettledMessage, failed: u32, reason: &'static str) {
        let UnsettledMessage { tag, body, properties, .. } = message;
        let mut headers = properties.headers().clone().unwrap_or_default();
        let count = AMQPValue::LongLongInt(failed.into());
        let to = if self.limit.is_reached(failed) {
            headers.insert(ATTEMPTS.into(), count);
            headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
            dead(&self.place)
        } else {
            headers.insert(amqp::DELIVERY_COUNT.into(), count);
            self.place.name()
        };
        let (channel, properties) = (Rc::clone(&self.channel), properties.with_headers(headers));
        let copied = async move {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let publish = channel.basic_publish("".into(), to.as_str().into(), options, &body, properties);
            let confirmation = publish.await.context("cannot publish a message again")?;
            amqp::stored(confirmation.await.context("a message that failed is not confirmed again")?)?;
            Ok(tag)
        };
        let mut copied = copied.boxed_local();
        // The first poll hands it over, so that copies keep their order.
        match unconstrained(&mut copied).now_or_never() {
            Some(done) => self.copies.push(ready(done).boxed_local()),
            None => self.copies.push(copied),
        }
    }
}

impl Consumer for RetryConsumer {
    type Item = Bytes;
    type Receipt = UnsettledMessage;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, UnsettledMessage>>> {
        loop {
            let (delivery, attempt) = tokio::select! {
                biased;
                Some(copied) = self.copies.next() => {
                    self.consumer.ack(copied?).await?;
                    continue;
                }
                delivery = self.consumer.delivery() => delivery?,
            };
            let headers = delivery.properties.headers().as_ref();
            let counted = headers.is_some_and(|headers| headers.inner().contains_key(amqp::DELIVERY_COUNT));
            // Without the header it is a new message, whatever the flag says.
            let attempt = if counted { attempt } else { 1 };
            let (tag, flagged, body) =
                (delivery.delivery_tag, delivery.redelivered, Bytes::from(delivery.data));
            let message = UnsettledMessage { tag, attempt, body, properties: delivery.properties };
            if flagged {
                // Its consumer has gone, and nobody has counted that.
                self.copy(message, attempt, UNSETTLED);
                continue;
            }
            return Ok(Some(Delivery { item: message.body.clone(), attempt, receipt: message }));
        }
    }

    async fn ack(&mut self, receipt: UnsettledMessage) -> Result<()> {
        self.consumer.ack(receipt.tag).await
    }

    async fn nack(&mut self, receipt: UnsettledMessage) -> Result<()> {
        let failed = receipt.attempt;
        self.copy(receipt, failed, NACKED);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        while let Some(copied) = self.copies.next().await {
            self.consumer.ack(copied?).await?;
        }
        self.consumer.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.consumer.close().await
    }
}
