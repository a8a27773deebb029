//! Taking items off the lists of a queue on Redis, and settling them: a
//! consumer's items are always on a list of its own, until they are acked.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult};

use crate::lab::Place;
use crate::wire::lease::{Lease, Lists};
use crate::wire::redis::{Asked, Outbox, Redis};

/// Acks in one pipeline.
const ACKS: usize = 128;

/// Moves items to a list of its own, and removes them there when they are done with.
pub(crate) struct Taker {
    lists: Lists,
    connection: MultiplexedConnection,
    outbox: Outbox,
    settled: Pipeline,
    taken: VecDeque<(Vec<u8>, u32)>,
    asked: Asked<Vec<(Vec<u8>, u32)>>,
    /// Items on our list: handed out and unsettled, or about to be.
    held: usize,
    prefetch: usize,
    /// How many items came the last time: a quiet queue is not asked for hundreds.
    came: usize,
    wait: Duration,
    lease: Lease,
}

impl Taker {
    /// Joins with a lease of its own. `wait` is how long it waits at an empty
    /// queue before it looks for items to deliver again.
    pub(crate) async fn join(
        place: &Place,
        redis: &Redis,
        prefetch: u16,
        [lease, wait]: [Duration; 2],
    ) -> Result<Self> {
        let shared = redis.connect().await?;
        let (lists, lease) = Lists::join(place, lease, shared.clone()).await?;
        Ok(Self {
            lists,
            connection: redis.connect_to_wait().await?,
            outbox: Outbox::new(shared),
            settled: redis::pipe(),
            taken: VecDeque::new(),
            asked: Asked::nothing(),
            held: 0,
            prefetch: usize::from(prefetch).max(1),
            came: 0,
            wait,
            lease,
        })
    }

    /// The next item, and its attempt. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<(Bytes, u32)> {
        loop {
            if let Some((item, attempt)) = self.taken.pop_front() {
                return Ok((item.into(), attempt));
            }
            self.write().await?;
            // One of them is asked of the list of redeliveries, which is mostly empty.
            let count = ((self.came + 1) * 2).min(self.prefetch - self.held);
            if count == 0 && !self.asked.is_asked() {
                // All we may hold is handed out. Settling needs `&mut self`, so
                // whoever waits here has given this future up by then.
                return std::future::pending().await;
            }
            let take = || take(self.connection.clone(), self.lists.clone(), count, self.wait);
            self.taken = self.asked.or_ask(take).await?.into();
            self.held += self.taken.len();
            self.came = self.taken.len();
        }
    }

    /// `LREM` removes the first item with this body: of two alike, either will do.
    pub(crate) async fn ack(&mut self, item: Bytes) -> Result<()> {
        self.held -= 1;
        self.settled.cmd("LREM").arg(&self.lists.own).arg(1).arg(&item[..]);
        if self.settled.len() >= ACKS { self.write().await } else { Ok(()) }
    }

    /// Back to the list of those to be delivered again.
    pub(crate) async fn nack(&mut self, item: Bytes) -> Result<()> {
        self.held -= 1;
        // Both or neither: the item may not vanish in between, nor double.
        self.settled.atomic();
        self.settled.cmd("LREM").arg(&self.lists.own).arg(1).arg(&item[..]);
        self.settled.cmd("RPUSH").arg(&self.lists.again).arg(&item[..]);
        if self.settled.len() >= ACKS { self.write().await } else { Ok(()) }
    }

    /// Redis knows all that was settled.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.write().await?;
        self.outbox.drain().await
    }

    /// Puts back what is unsettled.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.flush().await?;
        // What was asked for may still come onto our list: wait, it is not long.
        if self.asked.is_asked() {
            self.asked.or_ask(|| std::future::ready(Ok(Vec::new()))).await?;
        }
        self.lists.leave(self.lease, self.outbox.connection()).await
    }

    async fn write(&mut self) -> Result<()> {
        self.outbox.room().await?;
        if self.settled.is_empty() {
            return Ok(());
        }
        self.outbox.put(std::mem::replace(&mut self.settled, redis::pipe()))
    }
}

/// Up to `count` items, each with its attempt: first one of those to be
/// delivered again, then new ones, in one pipeline; waits only for new ones.
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
