//! The lists of a queue on Redis, and the lease by which a consumer keeps its
//! own: a key that expires unless it is renewed. Whoever finds a consumer
//! without one puts the items of that consumer back.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use crate::lab::Place;

/// The list of items not yet taken.
pub(crate) fn queue(place: &Place) -> String {
    format!("{}:queue", place.name())
}

/// The keys of a queue, as one consumer sees them.
#[derive(Clone)]
pub(crate) struct Lists {
    place: String,
    me: String,
    /// Items not yet taken.
    pub(crate) queue: String,
    /// Items to be delivered again.
    pub(crate) again: String,
    /// Items this consumer has taken and not settled.
    pub(crate) own: String,
}

impl Lists {
    /// The lists of a new consumer, and its lease.
    pub(crate) async fn join(
        place: &Place,
        lease: Duration,
        mut redis: MultiplexedConnection,
    ) -> Result<(Self, Lease)> {
        let name = place.name();
        let mut number = redis::cmd("INCR");
        let number = number.arg(format!("{name}:joined")).query_async(&mut redis).await;
        let number: u64 = number.context("cannot join the queue")?;
        let lists = Self {
            queue: queue(place),
            again: format!("{name}:again"),
            own: format!("{name}:held:{number}"),
            me: number.to_string(),
            place: name,
        };
        lists.renew(&mut redis, lease).await.context("cannot get a lease")?;
        lists.reclaim(&mut redis).await.context("cannot put back what consumers left that have gone")?;
        let task = tokio::spawn(lists.clone().keep(redis, lease));
        Ok((lists, Lease(task)))
    }

    /// Puts back what is on our list. `redis` is the connection that renewed
    /// the lease, or a last renewal might overtake this.
    pub(crate) async fn leave(self, lease: Lease, mut redis: MultiplexedConnection) -> Result<()> {
        drop(lease);
        self.put_back(&mut redis, &self.me).await.context("cannot leave the queue")
    }

    async fn keep(self, mut redis: MultiplexedConnection, lease: Duration) {
        // An error is no news to the consumer: its own next command fails, too.
        while self.renew(&mut redis, lease).await.is_ok() && self.reclaim(&mut redis).await.is_ok() {
            tokio::time::sleep(lease / 3).await;
        }
    }

    async fn renew(&self, redis: &mut MultiplexedConnection, lease: Duration) -> RedisResult<()> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SADD").arg(self.consumers()).arg(&self.me);
        pipeline.cmd("SET").arg(self.alive(&self.me)).arg("").arg("PX").arg(lease.as_millis() as u64);
        pipeline.exec_async(redis).await
    }

    async fn reclaim(&self, redis: &mut MultiplexedConnection) -> RedisResult<()> {
        let others: Vec<String> = redis::cmd("SMEMBERS").arg(self.consumers()).query_async(redis).await?;
        for other in others {
            let alive: bool = redis::cmd("EXISTS").arg(self.alive(&other)).query_async(redis).await?;
            if !alive {
                self.put_back(redis, &other).await?;
            }
        }
        Ok(())
    }

    /// Moves, in their order, the items on a consumer's list to those to be
    /// delivered again. Several may do this at once: each item moves once.
    async fn put_back(&self, redis: &mut MultiplexedConnection, consumer: &str) -> RedisResult<()> {
        let held = format!("{}:held:{consumer}", self.place);
        loop {
            let mut back = redis::cmd("LMOVE");
            back.arg(&held).arg(&self.again).arg("RIGHT").arg("LEFT");
            if back.query_async::<Option<Vec<u8>>>(redis).await?.is_none() {
                break;
            }
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("DEL").arg(self.alive(consumer));
        pipeline.cmd("SREM").arg(self.consumers()).arg(consumer);
        pipeline.exec_async(redis).await
    }

    fn consumers(&self) -> String {
        format!("{}:consumers", self.place)
    }

    fn alive(&self, consumer: &str) -> String {
        format!("{}:alive:{consumer}", self.place)
    }
}

/// Renewed until it is dropped; the items stay the consumer's until it expires.
pub(crate) struct Lease(JoinHandle<()>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.abort();
    }
}
