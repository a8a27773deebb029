//! A queue on Redis lists, by the reliable-queue idiom: `LMOVE` takes an item
//! off the queue and onto the consumer's own list in one step, and an ack
//! removes it there. An item is always on some list.
//!
//! A consumer shows that it lives by a key that expires. Whoever notices that
//! it has not been renewed moves the items of that consumer to the list of
//! those to be delivered again; a nack moves there too. What comes from that
//! list has been delivered before, perhaps often: its attempt is 2.
//!
//! Survives: kill -9 of a consumer (its items are back after `LEASE_MS`); with
//! `appendonly yes` that of Redis, and with `appendfsync always` a power cut.
//! The default, `everysec`, puts off writing while the disk is busy: kill -9
//! then loses what was confirmed meanwhile. A consumer that stalls longer than
//! its lease gets its items taken: twice done.
//!
//! Run it: `just lab queue-redis`. Watch it: `redis-cli LLEN PLACE:queue`.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::queue::{Consumer, Delivery, Producer, Queue};
use crate::wire::lease::queue;
use crate::wire::redis::{self as wire, Redis};
use crate::wire::taker::Taker;

pub(crate) const LEASE_MS: Knob = Knob::new(
    "lease-ms",
    2_000,
    "Milliseconds without a sign of life after which a consumer loses its items.",
);
pub(crate) const WAIT_MS: Knob =
    Knob::new("wait-ms", 100, "Milliseconds between looks for items to deliver again, at an empty queue.");

/// A list, and one more for every consumer.
pub struct RedisList {
    place: Place,
    redis: Redis,
}

impl Lab for RedisList {
    const TRANSPORT: &'static str = "redis";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[LEASE_MS, WAIT_MS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        wire::remove_keys(place).await
    }
}

impl Queue for RedisList {
    type Producer = ListProducer;
    type Consumer = ListConsumer;

    async fn producer(&self) -> Result<ListProducer> {
        Ok(ListProducer { connection: self.redis.connect().await?, queue: queue(&self.place) })
    }

    async fn consumer(&self, prefetch: u16) -> Result<ListConsumer> {
        ListConsumer::join(&self.place, &self.redis, prefetch).await
    }
}

/// Pushes at the tail of the queue.
pub struct ListProducer {
    connection: MultiplexedConnection,
    queue: String,
}

impl Producer for ListProducer {
    /// Confirmed: Redis has answered, so the item is on the list (and in the log).
    async fn send(&self, body: Bytes) -> Result<()> {
        // The connection is shared: what other sends push travels in the same write.
        let mut connection = self.connection.clone();
        let mut push = redis::cmd("RPUSH");
        push.arg(&self.queue).arg(&body[..]);
        push.exec_async(&mut connection).await.context("the item is not confirmed")
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// Moves items to a list of its own; a receipt is the item's body.
pub struct ListConsumer(Taker);

impl ListConsumer {
    pub(crate) async fn join(place: &Place, redis: &Redis, prefetch: u16) -> Result<Self> {
        let ms = |knob| Duration::from_millis(place.knob(knob).max(1) as u64);
        let times = [ms(LEASE_MS), ms(WAIT_MS)];
        Taker::join(place, redis, prefetch, times).await.map(Self)
    }
}

impl Consumer for ListConsumer {
    type Item = Bytes;
    type Receipt = Bytes;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, Bytes>>> {
        let (item, attempt) = self.0.next().await?;
        Ok(Some(Delivery { receipt: item.clone(), item, attempt }))
    }

    async fn ack(&mut self, receipt: Bytes) -> Result<()> {
        self.0.ack(receipt).await
    }

    async fn nack(&mut self, receipt: Bytes) -> Result<()> {
        self.0.nack(receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}
