//! One-way over a Redis list: the sender pushes at the tail, the receiver pops
//! at the head and waits there (`BLMPOP`) while the list is empty.
//!
//! Promises: order per sender, and that a message waits for a receiver who is
//! late or slow, in Redis's memory. Loses: what was popped when the receiver
//! dies, whether it had looked at it or not; everything when Redis dies.
//!
//! Run it: `just lab oneway-redis`. Watch it: `redis-cli LLEN PLACE:list`.

use std::collections::VecDeque;

use anyhow::Result;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::redis::{self as wire, Asked, Outbox, PIPELINE_BYTES, Redis};

pub(crate) const BATCH: Knob =
    Knob::new("batch", 256, "Messages in one RPUSH and one BLMPOP; 1 shows what a command costs.");

/// A list, pushed at one end and popped at the other.
pub struct RedisList {
    place: Place,
    redis: Redis,
}

impl Lab for RedisList {
    const TRANSPORT: &'static str = "redis";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[BATCH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        wire::remove_keys(place).await
    }
}

impl OneWay for RedisList {
    type Sender = ListSender;
    type Receiver = ListReceiver;

    async fn sender(&self) -> Result<ListSender> {
        ListSender::to(&self.place, &self.redis, list(&self.place)).await
    }

    async fn receiver(&self) -> Result<ListReceiver> {
        Ok(ListReceiver {
            connection: self.redis.connect_to_wait().await?,
            list: list(&self.place),
            count: self.place.knob(BATCH).max(1),
            popped: VecDeque::new(),
            asked: Asked::nothing(),
        })
    }
}

/// Pushes at the tail of a list.
pub struct ListSender {
    outbox: Outbox,
    list: String,
    count: usize,
    batch: Vec<Bytes>,
    bytes: usize,
}

impl ListSender {
    pub(crate) async fn to(place: &Place, redis: &Redis, list: String) -> Result<Self> {
        let (outbox, count) = (Outbox::new(redis.connect().await?), place.knob(BATCH));
        Ok(Self { outbox, list, count, batch: Vec::new(), bytes: 0 })
    }

    async fn push(&mut self) -> Result<()> {
        self.outbox.room().await?;
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        let push = pipeline.cmd("RPUSH").arg(&self.list);
        for body in self.batch.drain(..) {
            push.arg(&body[..]);
        }
        self.bytes = 0;
        self.outbox.put(pipeline)
    }
}

impl Sender for ListSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.bytes += body.len();
        self.batch.push(body);
        if self.batch.len() >= self.count || self.bytes >= PIPELINE_BYTES {
            self.push().await
        } else {
            Ok(())
        }
    }

    /// Redis answers a push when the list has it: more than written, confirmed.
    async fn flush(&mut self) -> Result<()> {
        self.push().await?;
        self.outbox.drain().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}

/// Pops at the head of the list.
pub struct ListReceiver {
    connection: MultiplexedConnection,
    list: String,
    count: usize,
    popped: VecDeque<Vec<u8>>,
    asked: Asked<Vec<Vec<u8>>>,
}

impl Receiver for ListReceiver {
    /// Never `None`: a list does not know who may still push.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        while self.popped.is_empty() {
            let pop = || wire::take(self.connection.clone(), self.list.clone(), self.count);
            self.popped = self.asked.or_ask(pop).await?.into();
        }
        Ok(self.popped.pop_front().map(Bytes::from))
    }
}

fn list(place: &Place) -> String {
    format!("{}:list", place.name())
}
