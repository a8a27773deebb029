//! One-way over a Redis list: pushed at the tail, popped at the head.
//!
//! Wire: the sender pushes (`RPUSH`, up to `batch` messages with one command), the receiver pops
//! (`BLMPOP`, up to `batch` at once) and waits while the list is empty. The list is `PLACE:list`,
//! an item is a message's body, and popping removes it.
//!
//! Confirms: only that the list has a message, not that somebody took it: `flush` returns when
//! Redis has answered every `RPUSH`. `send` returns when the message waits for its command, and
//! waits itself while eight commands are not answered.
//!
//! Survives: a receiver that is late, is slow or dies: what it has not popped waits on the list.
//! After a cut connection or a restart of Redis, the recovery layer (`labs/src/recovery/`) connects
//! and joins again; for the messages, see Loses.
//!
//! Loses: what a receiver had popped and not handled when it died or its connection was cut, up to
//! a batch; what a sender had not flushed when it died or its connection was cut; everything on the
//! list when Redis dies, unless it runs with `appendonly yes`.
//!
//! Run it: `just lab oneway-redis`. Watch it: `redis-cli LLEN PLACE:list`.

use std::collections::VecDeque;

use anyhow::Result;
use bytes::Bytes;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::redis::{self as wire, PIPELINE_BYTES, Pipelines, Redis, ResumableRequest, WAIT};

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
    const BROKER_SINCE: Option<(u32, u32)> = Some((7, 0));
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
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
            pop: ResumableRequest::none(),
        })
    }
}

/// Pushes at the tail of a list.
pub struct ListSender {
    pipelines: Pipelines,
    list: String,
    /// Messages in one command.
    count: usize,
    /// Accepted messages that wait to be pushed together, and their bytes.
    batch: Vec<Bytes>,
    bytes: usize,
}

impl ListSender {
    pub(crate) async fn to(place: &Place, redis: &Redis, list: String) -> Result<Self> {
        let (pipelines, count) = (Pipelines::new(redis.connect().await?), place.knob(BATCH));
        Ok(Self { pipelines, list, count, batch: Vec::new(), bytes: 0 })
    }

    async fn push(&mut self) -> Result<()> {
        self.pipelines.room().await?;
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        let push = pipeline.cmd("RPUSH").arg(&self.list);
        for body in self.batch.drain(..) {
            push.arg(&body[..]);
        }
        self.bytes = 0;
        self.pipelines.put(pipeline)
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
        self.pipelines.drain().await
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
    /// The `BLMPOP` that waits for items.
    pop: ResumableRequest<Vec<Vec<u8>>>,
}

impl Receiver for ListReceiver {
    /// Never `None`: a list does not know who may still push.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        while self.popped.is_empty() {
            let pop = || pop(self.connection.clone(), self.list.clone(), self.count);
            self.popped = self.pop.resume_or(pop).await?.into();
        }
        Ok(self.popped.pop_front().map(Bytes::from))
    }
}

/// Takes up to `count` items from the head of the list; waits a second while it is empty.
async fn pop(mut redis: MultiplexedConnection, list: String, count: usize) -> RedisResult<Vec<Vec<u8>>> {
    let mut pop = redis::cmd("BLMPOP");
    pop.arg(WAIT.as_secs_f32()).arg(1).arg(list).arg("LEFT").arg("COUNT").arg(count);
    let popped: Option<(redis::Value, Vec<Vec<u8>>)> = pop.query_async(&mut redis).await?;
    Ok(popped.map(|(_list, items)| items).unwrap_or_default())
}

fn list(place: &Place) -> String {
    format!("{}:list", place.name())
}
