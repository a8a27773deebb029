//! A queue on Redis lists, by the reliable-queue idiom: an item is always on some list.
//!
//! Wire: the producer pushes at the tail of the queue (`RPUSH`). A consumer moves an item from the head
//! of the queue to a list of its own in one step (`LMOVE`; `BLMOVE` waits), and an ack removes it there
//! (`LREM`). Each consumer renews a key that expires: its lease. When the key is gone, the other
//! consumers move the items of that consumer to a second list, of items to be delivered again; a nack
//! moves an item there, too. There an item has its next attempt in front (`2 task`). One that has
//! failed `max-attempts` times goes to the stream `PLACE:dead` instead (`XADD`).
//!
//! Confirms: a message when Redis has answered its `RPUSH`. Acks are batched, up to 128 commands, until
//! a `flush` or until `next` has handed out all it has read.
//!
//! Survives: kill -9 of a consumer: its items are back after `lease-ms`. Kill -9 of Redis with
//! `appendonly yes` and `appendfsync` `always` or `no`: both write to the kernel before Redis answers.
//! A power cut with `appendfsync always`. A cut connection loses nothing: the recovery layer
//! (`labs/src/recovery/`) connects and joins again, and what was not confirmed or not acked is sent
//! again, and may come twice. After a restart of Redis the roles join again, too.
//!
//! Loses: messages that were not confirmed when the producer died. Without `appendonly yes`, everything
//! when Redis dies; with `appendfsync everysec` (its default), what it confirmed while the disk was
//! busy, because only then does it answer before it writes. The items of a consumer that stalls for
//! longer than its lease may be handled twice, too.
//!
//! Run it: `just lab queue-redis`. Break it: `just break run ack-too-early`. Watch it:
//! `redis-cli LLEN PLACE:queue`.

pub(crate) mod dead;
mod lease;

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::{AttemptLimit, Consumer, Delivery, Depth, MAX_ATTEMPTS, NACKED, Producer, Queue};
use crate::wire::redis::{self as wire, Pipelines, Redis, ResumableRequest};
pub use dead::DeadStream;
pub(crate) use lease::queue;
use lease::{Lease, Lists, to_deliver_again, without_attempt};

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
    const KNOBS: &'static [Knob] = &[LEASE_MS, WAIT_MS, MAX_ATTEMPTS];

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
    type DeadLetters = DeadStream;

    async fn producer(&self) -> Result<ListProducer> {
        Ok(ListProducer { connection: self.redis.connect().await?, queue: lease::queue(&self.place) })
    }

    async fn consumer(&self, prefetch: u16) -> Result<ListConsumer> {
        ListConsumer::join(&self.place, &self.redis, prefetch, AttemptLimit::of(&self.place)).await
    }

    async fn dead_letters(&self) -> Result<DeadStream> {
        let queue = lease::queue(&self.place);
        DeadStream::open(&self.place, &self.redis, move |transaction, body| {
            transaction.cmd("RPUSH").arg(&queue).arg(body);
        })
        .await
    }

    async fn depth(&self) -> Result<Option<Depth>> {
        let mut connection = self.redis.connect().await?;
        let length = redis::cmd("LLEN").arg(lease::queue(&self.place)).query_async(&mut connection).await;
        Ok(Some(Depth { count: length.context("LLEN failed")?, asked: "LLEN: items that nobody has taken" }))
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

/// An item that was taken and is not settled.
#[derive(Clone)]
pub struct TakenItem {
    /// As it is on our list: of a redelivery, with its attempt in front.
    entry: Bytes,
    body: Bytes,
    attempt: u32,
}

/// Moves items to a list of its own, and removes each when it is acked; a receipt is the item.
pub struct ListConsumer {
    lists: Lists,
    /// For `BLMOVE`, which waits: a connection of its own.
    connection: MultiplexedConnection,
    /// Acks in flight.
    acks: Pipelines,
    /// Acks that wait to be sent together.
    settled: Pipeline,
    /// Items on our lists that were not handed out yet, and whether each is a redelivery.
    taken: VecDeque<(Vec<u8>, bool)>,
    /// The request for more items.
    request: ResumableRequest<Vec<(Vec<u8>, bool)>>,
    /// Items on our lists: handed out and unsettled, or about to be.
    held: usize,
    prefetch: usize,
    /// How many items came the last time: a quiet queue is not asked for hundreds.
    came: usize,
    wait: Duration,
    lease: Lease,
    place: Place,
}

impl ListConsumer {
    /// Also the receiving end of `pipeline/redis.rs`.
    pub(crate) async fn join(
        place: &Place,
        redis: &Redis,
        prefetch: u16,
        limit: AttemptLimit,
    ) -> Result<Self> {
        let ms = |knob| Duration::from_millis(place.knob(knob).max(1) as u64);
        let shared = redis.connect().await?;
        let (lists, lease) = Lists::join(place, ms(LEASE_MS), limit, shared.clone()).await?;
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
            place: place.clone(),
        })
    }

    /// The commands that remove an item from our list.
    fn remove(&mut self, entry: &[u8], again: bool) {
        let own = if again { &self.lists.own_again } else { &self.lists.own };
        // `LREM` removes the first item with this body: of two alike, either will do.
        self.settled.cmd("LREM").arg(own).arg(1).arg(entry);
    }

    async fn write_acks(&mut self) -> Result<()> {
        self.acks.room().await?;
        if self.settled.is_empty() {
            return Ok(());
        }
        self.acks.put(std::mem::replace(&mut self.settled, redis::pipe()))
    }
}

/// Up to `count` items: first one of those to be delivered again (`true`), then new ones, in one
/// pipeline; waits only for new ones.
async fn take(
    mut redis: MultiplexedConnection,
    lists: Lists,
    count: usize,
    wait: Duration,
) -> RedisResult<Vec<(Vec<u8>, bool)>> {
    let mut moves = redis::pipe();
    moves.cmd("LMOVE").arg(&lists.again).arg(&lists.own_again).arg("LEFT").arg("RIGHT");
    for _ in 1..count {
        moves.cmd("LMOVE").arg(&lists.queue).arg(&lists.own).arg("LEFT").arg("RIGHT");
    }
    let moved: Vec<Option<Vec<u8>>> = moves.query_async(&mut redis).await?;
    let again = std::iter::once(true).chain(std::iter::repeat(false));
    let mut taken: Vec<_> =
        moved.into_iter().zip(again).filter_map(|(item, again)| Some((item?, again))).collect();
    if taken.is_empty() {
        let mut next = redis::cmd("BLMOVE");
        next.arg(&lists.queue).arg(&lists.own).arg("LEFT").arg("RIGHT").arg(wait.as_secs_f64());
        let item: Option<Vec<u8>> = next.query_async(&mut redis).await?;
        taken.extend(item.map(|item| (item, false)));
    }
    Ok(taken)
}

impl Consumer for ListConsumer {
    type Item = Bytes;
    type Receipt = TakenItem;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, TakenItem>>> {
        loop {
            if let Some((entry, again)) = self.taken.pop_front() {
                let entry = Bytes::from(entry);
                let (attempt, body) = match again.then(|| without_attempt(&entry)) {
                    None => (1, entry.clone()),
                    Some(Some((attempt, body))) => (attempt, body),
                    Some(None) => {
                        // Another program pushed it there. It would come again.
                        self.place.message_skipped("an item to be delivered again without its attempt");
                        self.held -= 1;
                        self.remove(&entry, again);
                        continue;
                    }
                };
                let receipt = TakenItem { entry, body: body.clone(), attempt };
                return Ok(Some(Delivery { item: body, attempt, receipt }));
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

    async fn ack(&mut self, TakenItem { entry, attempt, .. }: TakenItem) -> Result<()> {
        self.held -= 1;
        self.remove(&entry, attempt > 1);
        if self.settled.len() >= ACKS { self.write_acks().await } else { Ok(()) }
    }

    /// Back to the list of those to be delivered again, or to the dead letters.
    async fn nack(&mut self, TakenItem { entry, body, attempt }: TakenItem) -> Result<()> {
        self.held -= 1;
        // Both or neither: the item may not vanish in between, nor double.
        self.settled.atomic();
        self.remove(&entry, attempt > 1);
        if self.lists.limit.is_reached(attempt) {
            dead::bury(&mut self.settled, &self.lists.dead, &body, attempt, NACKED);
        } else {
            let again = to_deliver_again(attempt.saturating_add(1), &body);
            self.settled.cmd("RPUSH").arg(&self.lists.again).arg(again);
        }
        if self.settled.len() >= ACKS { self.write_acks().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        self.write_acks().await?;
        self.acks.drain().await
    }

    /// Puts back what is unsettled.
    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        // What was asked for may still come onto our lists: wait, it is not long.
        if self.request.is_open() {
            self.request.resume_or(|| std::future::ready(Ok(Vec::new()))).await?;
        }
        self.lists.leave(self.lease, self.acks.connection()).await
    }
}
