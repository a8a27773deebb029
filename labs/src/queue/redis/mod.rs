//! A queue on Redis lists, by the reliable-queue idiom: an item is always on some list.
//!
//! Wire: the producer pushes at the tail of the queue (`RPUSH`). A consumer moves an item from the
//! head of the queue to a list of its own in one step (`LMOVE`; `BLMOVE` waits), and an ack removes
//! it there (`LREM`). Each consumer renews a key that expires: its lease. When the key is gone, the
//! other consumers move the items of that consumer to a second list, of items to be delivered
//! again; a nack moves an item there, too.
//!
//! Confirms: a message when Redis has answered its `RPUSH`. Acks are batched, up to 128 commands,
//! until a `flush` or until no delivery waits.
//!
//! Survives: kill -9 of a consumer: its items are back after `lease-ms`. Kill -9 of Redis with
//! `appendonly yes` and `appendfsync` `always` or `no`. A power cut with `appendfsync always`. A
//! cut connection, and a restart of Redis: the recovery layer (`labs/src/recovery/`) connects and
//! joins again.
//!
//! Loses: messages that were not confirmed when the producer died. Without `appendonly yes`,
//! everything when Redis dies; with `appendfsync everysec` (its default), what it confirmed while
//! the disk was too busy to write it. A cut connection loses nothing; what was not confirmed or not
//! acked then comes again, and may come twice. An item that comes again has attempt 2, however
//! often. The items of a consumer that stalls for longer than its lease may be handled twice, too.
//!
//! Run it: `just lab queue-redis`. Watch it: `redis-cli LLEN PLACE:queue`.

mod lease;

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::{Consumer, Delivery, Producer, Queue};
use crate::wire::redis::{self as wire, Pipelines, Redis, ResumableRequest};
pub(crate) use lease::queue;
use lease::{Lease, Lists};

/// Commands that settle items, in one pipeline: an ack is one command, a nack is two.
const ACKS: usize = 128;

pub(crate) const LEASE_MS: Knob =
    Knob::new("lease-ms", 2_000, "A consumer without a sign of life for so long loses its items, ms.");
pub(crate) const WAIT_MS: Knob =
    Knob::new("wait-ms", 100, "Pause between looks for items to deliver again, at an empty queue, ms.");

/// A list, and one more for every consumer.
pub struct RedisList {
    place: Place,
    redis: Redis,
}

impl Lab for RedisList {
    const TRANSPORT: &'static str = "redis";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const BROKER_SINCE: Option<(u32, u32)> = Some((6, 2));
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
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
        Ok(ListProducer { connection: self.redis.connect().await?, queue: lease::queue(&self.place) })
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

/// Moves items to a list of its own, and removes each when it is acked; a receipt is the item's
/// body.
pub struct ListConsumer {
    lists: Lists,
    /// For `BLMOVE`, which waits: a connection of its own.
    connection: MultiplexedConnection,
    /// Acks in flight.
    acks: Pipelines,
    /// Acks that wait to be sent together.
    settled: Pipeline,
    /// Items on our list that were not handed out yet, with their attempt.
    taken: VecDeque<(Vec<u8>, u32)>,
    /// The request for more items.
    request: ResumableRequest<Vec<(Vec<u8>, u32)>>,
    /// Items on our list: handed out and unsettled, or about to be.
    held: usize,
    prefetch: usize,
    /// How many items came the last time: a quiet queue is not asked for hundreds.
    came: usize,
    wait: Duration,
    lease: Lease,
}

impl ListConsumer {
    pub(crate) async fn join(place: &Place, redis: &Redis, prefetch: u16) -> Result<Self> {
        let ms = |knob| Duration::from_millis(place.knob(knob).max(1) as u64);
        let shared = redis.connect().await?;
        let (lists, lease) = Lists::join(place, ms(LEASE_MS), shared.clone()).await?;
        Ok(Self {
            lists,
            connection: redis.connect_to_wait().await?,
            acks: Pipelines::new(shared),
            settled: redis::pipe(),
            taken: VecDeque::new(),
            request: ResumableRequest::none(),
            held: 0,
            prefetch: usize::from(prefetch).max(1),
            came: 0,
            wait: ms(WAIT_MS),
            lease,
        })
    }

    async fn write_acks(&mut self) -> Result<()> {
        self.acks.room().await?;
        if self.settled.is_empty() {
            return Ok(());
        }
        self.acks.put(std::mem::replace(&mut self.settled, redis::pipe()))
    }
}

/// Up to `count` items, each with its attempt: first one of those to be delivered again, then
/// new ones, in one pipeline; waits only for new ones.
async fn take(
    mut redis: MultiplexedConnection,
    lists: Lists,
    count: usize,
    wait: Duration,
) -> RedisResult<Vec<(Vec<u8>, u32)>> {
    let mut moves = redis::pipe();
    for from in std::iter::once(&lists.again).chain(std::iter::repeat_n(&lists.queue, count - 1)) {
        moves.cmd("LMOVE").arg(from).arg(&lists.own).arg("LEFT").arg("RIGHT");
    }
    let moved: Vec<Option<Vec<u8>>> = moves.query_async(&mut redis).await?;
    let attempts = std::iter::once(2).chain(std::iter::repeat(1));
    let mut taken: Vec<_> =
        moved.into_iter().zip(attempts).filter_map(|(item, n)| Some((item?, n))).collect();
    if taken.is_empty() {
        let mut next = redis::cmd("BLMOVE");
        next.arg(&lists.queue).arg(&lists.own).arg("LEFT").arg("RIGHT").arg(wait.as_secs_f64());
        let item: Option<Vec<u8>> = next.query_async(&mut redis).await?;
        taken.extend(item.map(|item| (item, 1)));
    }
    Ok(taken)
}

impl Consumer for ListConsumer {
    type Item = Bytes;
    type Receipt = Bytes;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, Bytes>>> {
        loop {
            if let Some((item, attempt)) = self.taken.pop_front() {
                let item = Bytes::from(item);
                return Ok(Some(Delivery { receipt: item.clone(), item, attempt }));
            }
            self.write_acks().await?;
            // One of them is asked of the list of redeliveries, which is mostly empty.
            let count = ((self.came + 1) * 2).min(self.prefetch - self.held);
            if count == 0 && !self.request.is_open() {
                // This consumer holds all it may. To settle an item the caller has to drop
                // this future first, because `ack` needs `&mut self`.
                return std::future::pending().await;
            }
            let take = || take(self.connection.clone(), self.lists.clone(), count, self.wait);
            self.taken = self.request.resume_or(take).await?.into();
            self.held += self.taken.len();
            self.came = self.taken.len();
        }
    }

    /// `LREM` removes the first item with this body: of two alike, either will do.
    async fn ack(&mut self, receipt: Bytes) -> Result<()> {
        self.held -= 1;
        self.settled.cmd("LREM").arg(&self.lists.own).arg(1).arg(&receipt[..]);
        if self.settled.len() >= ACKS { self.write_acks().await } else { Ok(()) }
    }

    /// Back to the list of those to be delivered again.
    async fn nack(&mut self, receipt: Bytes) -> Result<()> {
        self.held -= 1;
        // Both or neither: the item may not vanish in between, nor double.
        self.settled.atomic();
        self.settled.cmd("LREM").arg(&self.lists.own).arg(1).arg(&receipt[..]);
        self.settled.cmd("RPUSH").arg(&self.lists.again).arg(&receipt[..]);
        if self.settled.len() >= ACKS { self.write_acks().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        self.write_acks().await?;
        self.acks.drain().await
    }

    /// Puts back what is unsettled.
    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        // What was asked for may still come onto our list: wait, it is not long.
        if self.request.is_open() {
            self.request.resume_or(|| std::future::ready(Ok(Vec::new()))).await?;
        }
        self.lists.leave(self.lease, self.acks.connection()).await
    }
}
