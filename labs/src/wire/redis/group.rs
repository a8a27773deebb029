//! A consumer group of a Redis stream, as one of its consumers sees it. Redis
//! remembers for each group which entry was delivered to which consumer, how
//! often, and when (the *pending entries list*), until the entry is acked.
//!
//! A lab creates the group (`XGROUP CREATE`), reads (`XREADGROUP`), takes over
//! old entries (`XAUTOCLAIM`), acks (`XACK`) and gives back (`XCLAIM`). Here are
//! the questions about the list (`XPENDING`), and when to ask them.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamPendingCountReply;
use tokio::time::Instant;

use super::stream::Entry;
use crate::lab::{Knob, Place};

pub(crate) const CLAIM_MS: Knob =
    Knob::new("claim-ms", 3_000, "An entry that is not acked for so long goes to another consumer, ms.");
pub(crate) const LOOK_MS: Knob =
    Knob::new("look-ms", 100, "Pause between looks for entries that were not acked, ms.");
/// Acks in one command.
pub(crate) const ACKS: usize = 128;

/// The names that a consumer's commands need, and the times.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) stream: String,
    pub(crate) name: String,
    /// Our own name within the group.
    pub(crate) consumer: String,
    /// An entry that is pending for so long may be taken over.
    pub(crate) claim_ms: usize,
    /// A read of new entries waits at most so long.
    pub(crate) look_ms: usize,
}

impl Group {
    /// Joins a group that exists. Each consumer has a number that no other had.
    pub(crate) async fn join(
        place: &Place,
        redis: &mut MultiplexedConnection,
        stream: String,
        name: &str,
    ) -> Result<Self> {
        let mut number = redis::cmd("INCR");
        number.arg(format!("{}:joined", place.name()));
        let number: u64 = number.query_async(redis).await.context("cannot join the group")?;
        let (claim_ms, look_ms) = (place.knob(CLAIM_MS), place.knob(LOOK_MS).max(1));
        Ok(Self { stream, name: name.to_owned(), consumer: format!("consumer-{number}"), claim_ms, look_ms })
    }

    /// Entries that `XAUTOCLAIM` has taken over, each with its number of deliveries, this one
    /// included. The answer to `XAUTOCLAIM` does not have this number; the pending list does.
    pub(crate) async fn with_attempts(
        &self,
        redis: &mut MultiplexedConnection,
        claimed: Vec<Entry>,
    ) -> RedisResult<Vec<(Entry, u32)>> {
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        let mut counts = redis::pipe();
        for entry in &claimed {
            counts.cmd("XPENDING").arg(&self.stream).arg(&self.name).arg(&entry.id).arg(&entry.id).arg(1);
        }
        let counts: Vec<StreamPendingCountReply> = counts.query_async(redis).await?;
        let attempts = counts.iter().map(|of| of.ids.first().map_or(2, |entry| entry.times_delivered as u32));
        Ok(claimed.into_iter().zip(attempts).collect())
    }

    /// Up to 1000 entries that are pending with us, and were not given back.
    pub(crate) async fn unsettled(&self, redis: &mut MultiplexedConnection) -> Result<Vec<String>> {
        let mut pending = redis::cmd("XPENDING");
        pending.arg(&self.stream).arg(&self.name).arg("-").arg("+").arg(1000).arg(&self.consumer);
        let pending: StreamPendingCountReply =
            pending.query_async(redis).await.context("cannot list what is pending")?;
        // An entry that was given back looks as if it had been pending for `claim_ms`.
        let ours = pending.ids.into_iter().filter(|entry| entry.last_delivered_ms < self.claim_ms);
        Ok(ours.map(|entry| entry.id).collect())
    }

    /// When to look for old entries: now, and then every `look_ms`.
    pub(crate) fn timer(&self) -> LookTimer {
        LookTimer { next: Instant::now(), every: Duration::from_millis(self.look_ms as u64) }
    }
}

/// The answer to `XGROUP CREATE`. It is no failure that the group exists: another consumer was
/// first, or this one was here before.
pub(crate) fn created(answer: RedisResult<()>) -> Result<()> {
    match answer {
        Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
        created => created.context("cannot create the consumer group"),
    }
}

/// Says when it is time to look for old entries again.
pub(crate) struct LookTimer {
    next: Instant,
    every: Duration,
}

impl LookTimer {
    /// Whether it is time. If so, the next time is one interval later.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.next <= now;
        if due {
            self.next = now + self.every;
        }
        due
    }
}
