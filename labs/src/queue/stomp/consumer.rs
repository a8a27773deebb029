//! A consumer of a queue of RabbitMQ over STOMP: SUBSCRIBE, ACK, NACK. Of attempts it knows only whether
//! this is the first.

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::lab::Place;
use crate::queue::{Consumer, Delivery};
use crate::wire::stomp::{self, Command, ConsumerConnection, Frame};

/// Subscribed with acks, and counts only what RabbitMQ says; a receipt is the MESSAGE's `ack` header.
pub struct QueueConsumer {
    pub(super) connection: ConsumerConnection,
}

impl QueueConsumer {
    /// Also the receiving end of `pipeline/stomp.rs`.
    pub(crate) async fn join(place: &Place, prefetch: u16) -> Result<Self> {
        let prefetch = prefetch.max(1);
        let (queue, count) = (stomp::queue(place), prefetch.to_string());
        let mut connection = ConsumerConnection::open(place, prefetch).await?;
        let subscribe = [
            ("destination", queue.as_str()),
            ("ack", "client-individual"),
            ("prefetch-count", &count),
            ("id", "0"),
        ];
        connection.request(Command::Subscribe, &subscribe).await.context("cannot subscribe")?;
        Ok(Self { connection })
    }
}

impl Consumer for QueueConsumer {
    type Item = Bytes;
    type Receipt = String;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, String>>> {
        let message = self.connection.next().await?;
        let (attempt, receipt) = attempt_and_receipt(&message)?;
        Ok(Some(Delivery { item: message.body, attempt, receipt }))
    }

    async fn ack(&mut self, receipt: String) -> Result<()> {
        self.connection.settle(Command::Ack, receipt).await
    }

    async fn nack(&mut self, receipt: String) -> Result<()> {
        self.connection.settle(Command::Nack, receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.connection.flush().await
    }

    async fn close(self) -> Result<()> {
        self.connection.close().await
    }
}

/// Which attempt a MESSAGE is, and the receipt that settles it: its `ack` header.
pub(crate) fn attempt_and_receipt(message: &Frame) -> Result<(u32, String)> {
    let redelivered = message.header("redelivered").is_some_and(|redelivered| redelivered == "true");
    let receipt = message.header("ack").context("a MESSAGE that cannot be acked")?;
    Ok((if redelivered { 2 } else { 1 }, receipt.into_owned()))
}
