//! A consumer that counts the attempts of messages in a queue of RabbitMQ over STOMP, which itself
//! only says `redelivered:true`.
//!
//! ```text
//! nacked, or redelivered:  SEND of a copy to the tail of the queue, with `attempt:N`
//!                          or, at the limit, to /queue/PLACE.dead, with `attempts:N` and `reason:…`
//! RECEIPT:                 ACK of the original
//! ```
//!
//! So a crash in between doubles a message and loses none. The copies have a connection of their own,
//! which is made when the first message fails.

use std::collections::VecDeque;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};

use super::{QueueConsumer, attempt_and_receipt};
use crate::lab::Place;
use crate::queue::rabbitmq::dead::{ATTEMPTS, REASON, dead};
use crate::queue::{AttemptLimit, Consumer, Delivery, NACKED, UNSETTLED};
use crate::wire::stomp::{self, Command, Frame, ProducerConnection};

/// The header with a message's attempt, where it is not the first.
const ATTEMPT: &str = "attempt";

/// Consumes, and sends again what has failed.
pub struct RetryConsumer {
    consumer: QueueConsumer,
    place: Place,
    limit: AttemptLimit,
    persistent: bool,
    /// For the copies.
    sends: Option<ProducerConnection>,
    /// Messages that have failed and were not sent again yet, each with the reason.
    failed: VecDeque<(UnsettledMessage, &'static str)>,
    /// Copies on their way, each with the `ack` header of the original, which is acked when they are
    /// confirmed.
    copies: FuturesUnordered<LocalBoxFuture<'static, Result<String>>>,
}

/// A delivery that is not settled.
pub struct UnsettledMessage {
    ack: String,
    attempt: u32,
    body: Bytes,
}

impl RetryConsumer {
    /// `persistent`: copies are, too.
    pub(super) async fn join(place: &Place, prefetch: u16, persistent: bool) -> Result<Self> {
        Ok(Self {
            consumer: QueueConsumer::join(place, prefetch).await?,
            place: place.clone(),
            limit: AttemptLimit::of(place),
            persistent,
            sends: None,
            failed: VecDeque::new(),
            copies: FuturesUnordered::new(),
        })
    }

    /// Sends what has failed. Cancel-safe.
    async fn send_copies(&mut self) -> Result<()> {
        while !self.failed.is_empty() {
            let Some(sends) = &self.sends else {
                self.sends = Some(ProducerConnection::open(&self.place).await?);
                continue;
            };
            sends.room().await?;
            let Some((message, reason)) = self.failed.pop_front() else { break };
            let UnsettledMessage { ack, attempt, body } = message;
            let is_dead = self.limit.is_reached(attempt);
            let to = if is_dead { dead(&self.place) } else { self.place.name() };
            let queue = stomp::queue_named(&to);
            let (failed, next) = (attempt.to_string(), attempt.saturating_add(1).to_string());
            let mut headers = vec![("destination", queue.as_str())];
            if self.persistent {
                headers.push(("persistent", "true"));
            }
            if is_dead {
                headers.extend([(ATTEMPTS, failed.as_str()), (REASON, reason)]);
            } else {
                headers.push((ATTEMPT, &next));
            }
            let receipt = sends.put_for_receipt(Command::Send, &headers, &body)?;
            sends.write();
            let copied = async move {
                receipt.await.context("a message that failed is not confirmed again")?;
                Ok(ack)
            };
            self.copies.push(copied.boxed_local());
        }
        Ok(())
    }

    /// What a MESSAGE is, and whether its last consumer has gone. `None` where its count is broken.
    fn read(message: &Frame) -> Result<Option<(UnsettledMessage, bool)>> {
        let (marked, ack) = attempt_and_receipt(message)?;
        let attempt = match message.header(ATTEMPT) {
            None => Some(1),
            Some(count) => count.parse().ok().filter(|attempt| (1..u32::MAX).contains(attempt)),
        };
        let body = message.body.clone();
        Ok(attempt.map(|attempt| (UnsettledMessage { ack, attempt, body }, marked > 1)))
    }
}

impl Consumer for RetryConsumer {
    type Item = Bytes;
    type Receipt = UnsettledMessage;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, UnsettledMessage>>> {
        loop {
            self.send_copies().await?;
            let frame = tokio::select! {
                biased;
                Some(copied) = self.copies.next() => {
                    self.consumer.ack(copied?).await?;
                    continue;
                }
                frame = self.consumer.connection.next() => frame?,
            };
            let Some((message, redelivered)) = Self::read(&frame)? else {
                self.place.message_skipped(format_args!("the header `{ATTEMPT}` is not a count"));
                self.consumer.ack(attempt_and_receipt(&frame)?.1).await?;
                continue;
            };
            if redelivered {
                // Its consumer has gone, and nobody has counted that.
                self.failed.push_back((message, UNSETTLED));
                continue;
            }
            let (item, attempt) = (message.body.clone(), message.attempt);
            return Ok(Some(Delivery { item, attempt, receipt: message }));
        }
    }

    async fn ack(&mut self, receipt: UnsettledMessage) -> Result<()> {
        self.consumer.ack(receipt.ack).await
    }

    async fn nack(&mut self, receipt: UnsettledMessage) -> Result<()> {
        self.failed.push_back((receipt, NACKED));
        self.send_copies().await
    }

    async fn flush(&mut self) -> Result<()> {
        self.send_copies().await?;
        while let Some(copied) = self.copies.next().await {
            self.consumer.ack(copied?).await?;
        }
        self.consumer.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        if let Some(sends) = self.sends {
            sends.close().await?;
        }
        self.consumer.close().await
    }
}
