//! The lists of a queue on Redis, and the lease by which a consumer keeps its
//! own: a key that expires unless it is renewed. Whoever finds a consumer
//! without one puts the items of that consumer back, or aside: their attempt has failed.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use super::dead::dead;
use crate::lab::Place;
use crate::queue::{AttemptLimit, UNSETTLED};

/// Moves up to 256 items from a consumer's list to those to be delivered again, in their order,
/// each with its next attempt in front; one that has failed too often goes to the dead letters. A
/// script, because `LMOVE` cannot change an item on its way: Redis runs it whole or not at all, and
/// several may do this at once. Returns how many items it has moved.
///
/// `KEYS`: the list, those to be delivered again, the dead letters. `ARGV`: 1 where the list's items
/// have their attempt in front; the limit, 0 for none; the reason.
const PUT_BACK: &str = "
local moved = 0
while moved < 256 do
    local item = redis.call('RPOP', KEYS[1])
    if not item then break end
    local attempt, body = 1, item
    if ARGV[1] == '1' then
        local space = string.find(item, ' ', 1, true)
        attempt = space and tonumber(string.sub(item, 1, space - 1))
        body = space and string.sub(item, space + 1)
    end
    local limit = tonumber(ARGV[2])
    if not attempt then
        redis.call('LPUSH', KEYS[2], item)
    elseif limit > 0 and attempt >= limit then
        redis.call('XADD', KEYS[3], '*', 'body', body, 'attempts', attempt, 'reason', ARGV[3])
    else
        redis.call('LPUSH', KEYS[2], (attempt + 1) .. ' ' .. body)
    end
    moved = moved + 1
end
return moved
";

/// The list of items not yet taken.
pub(crate) fn queue(place: &Place) -> String {
    format!("{}:queue", place.name())
}

/// An item as it is on the list of those to be delivered again: which attempt the next one is, a
/// space, the body.
pub(super) fn to_deliver_again(attempt: u32, body: &[u8]) -> Vec<u8> {
    [attempt.to_string().as_bytes(), b" ", body].concat()
}

/// The attempt and the body of such an item. `None` if no lab wrote it.
pub(super) fn without_attempt(entry: &Bytes) -> Option<(u32, Bytes)> {
    let space = entry.iter().position(|byte| *byte == b' ')?;
    let attempt = std::str::from_utf8(&entry[..space]).ok()?.parse().ok().filter(|attempt| *attempt > 1)?;
    Some((attempt, entry.slice(space + 1..)))
}

/// The keys of a queue, as one consumer sees them.
#[derive(Clone)]
pub(crate) struct Lists {
    place: String,
    me: String,
    /// Items not yet taken.
    pub(super) queue: String,
    /// Items to be delivered again, each with its attempt in front.
    pub(super) again: String,
    /// Items this consumer has taken from the queue and not settled.
    pub(super) own: String,
    /// Items that it has taken from those to be delivered again, and not settled.
    pub(super) own_again: String,
    /// The dead letters.
    pub(super) dead: String,
    pub(super) limit: AttemptLimit,
}

impl Lists {
    /// The lists of a new consumer, and its lease.
    pub(crate) async fn join(
        place: &Place,
        lease: Duration,
        limit: AttemptLimit,
        mut redis: MultiplexedConnection,
    ) -> Result<(Self, Lease)> {
        let name = place.name();
        let mut number = redis::cmd("INCR");
        let number = number.arg(format!("{name}:joined")).query_async(&mut redis).await;
        let number: u64 = number.context("cannot join the queue")?;
        let lists = Self {
            queue: queue(place),
            again: format!("{name}:again"),
            own: held(&name, number, ""),
            own_again: held(&name, number, AGAIN),
            dead: dead(place),
            limit,
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

    /// Puts back the items on a consumer's lists. Several may do this at once: each item moves once.
    async fn put_back(&self, redis: &mut MultiplexedConnection, consumer: &str) -> RedisResult<()> {
        let limit = self.limit.get().unwrap_or(0);
        // Those that were redeliveries already come first, as they did before.
        for (suffix, counted) in [("", 0), (AGAIN, 1)] {
            let mut back = redis::cmd("EVAL");
            back.arg(PUT_BACK).arg(3).arg(held(&self.place, consumer, suffix)).arg(&self.again);
            back.arg(&self.dead).arg(counted).arg(limit).arg(UNSETTLED);
            while back.query_async::<usize>(redis).await? > 0 {}
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

/// How the name of the list ends that a consumer's redeliveries are on.
const AGAIN: &str = ":again";

/// The list of a consumer's items.
fn held(place: &str, consumer: impl std::fmt::Display, suffix: &str) -> String {
    format!("{place}:held:{consumer}{suffix}")
}

/// Renewed until it is dropped; the items stay the consumer's until it expires.
pub(crate) struct Lease(JoinHandle<()>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_its_attempt_in_front() {
        for (attempt, body) in [(2, &b"task"[..]), (u32::MAX, b" 3 \0\xff"), (7, b"")] {
            let item = Bytes::from(to_deliver_again(attempt, body));
            assert_eq!(without_attempt(&item), Some((attempt, Bytes::from(body))));
        }
        for foreign in ["", "task", "many tasks", "1 task", "-2 task", "4294967296 task", " task"] {
            assert_eq!(without_attempt(&Bytes::from(foreign)), None, "{foreign}");
        }
    }
}
