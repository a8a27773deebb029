//! A queue on a Redis stream: `XADD` appends, a consumer group hands each entry
//! to one of its consumers and remembers who has it (the pending entries list),
//! `XACK` forgets it, and `XDEL` right after keeps the stream from growing.
//!
//! Whoever finds an entry that has been pending for `CLAIM_MS` takes it over
//! (`XAUTOCLAIM`): that is how the entries of a consumer that died, and those
//! of one that is too slow, come again, with Redis's own count of deliveries. A
//! nack makes an entry look that old at once.
//!
//! Survives: kill -9 of a consumer; with `appendonly yes` that of Redis, unless
//! `appendfsync everysec`, the default, has put off writing because the disk is
//! busy; with `appendfsync always` a power cut. An entry handled for longer
//! than `CLAIM_MS` is handled twice.
//!
//! Run it: `just lab queue-redis-stream`. Watch it: `redis-cli XINFO GROUPS PLACE:stream`.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamPendingCountReply, StreamReadReply};
use redis::{RedisResult, Value};
use tokio::time::Instant;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::queue::{Consumer, Delivery, Producer, Queue};
use crate::wire::redis::{self as wire, Asked, Outbox, Redis};

/// An entry pending for longer than this goes to whoever asks, in milliseconds.
const CLAIM_MS: usize = 3_000;
/// How often to look for such entries, in milliseconds.
const LOOK_MS: usize = 100;
/// Acks in one command.
const ACKS: usize = 128;
const GROUP: &str = "consumers";

/// One stream with one consumer group.
pub struct RedisStream {
    place: Place,
    redis: Redis,
}

impl Lab for RedisStream {
    const TRANSPORT: &'static str = "redis-stream";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        wire::remove_keys(place).await
    }
}

impl Queue for RedisStream {
    type Producer = StreamProducer;
    type Consumer = StreamConsumer;

    async fn producer(&self) -> Result<StreamProducer> {
        Ok(StreamProducer { connection: self.redis.connect().await?, stream: stream(&self.place) })
    }

    async fn consumer(&self, prefetch: u16) -> Result<StreamConsumer> {
        let mut connection = self.redis.connect().await?;
        let stream = stream(&self.place);
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&stream).arg(GROUP).arg("0").arg("MKSTREAM");
        match create.exec_async(&mut connection).await {
            Err(error) if error.code() == Some("BUSYGROUP") => {} // Another consumer was first.
            created => created.context("cannot create the consumer group")?,
        }
        let mut number = redis::cmd("INCR");
        number.arg(format!("{}:joined", self.place.name()));
        let me: u64 = number.query_async(&mut connection).await.context("cannot join the group")?;
        Ok(StreamConsumer {
            group: Group {
                stream,
                me: format!("consumer-{me}"),
                claim_ms: self.place.knob("claim-ms", CLAIM_MS),
                look_ms: self.place.knob("look-ms", LOOK_MS).max(1),
            },
            connection: self.redis.connect_to_wait().await?,
            outbox: Outbox::new(connection),
            acked: Vec::new(),
            nacked: Vec::new(),
            came: VecDeque::new(),
            asked: Asked::nothing(),
            held: 0,
            prefetch: usize::from(prefetch).max(1),
            look_at: Instant::now(),
        })
    }
}

/// Appends to the stream.
pub struct StreamProducer {
    connection: MultiplexedConnection,
    stream: String,
}

impl Producer for StreamProducer {
    /// Confirmed: Redis has answered with the entry's identifier.
    async fn send(&self, body: Bytes) -> Result<()> {
        let mut connection = self.connection.clone();
        let mut add = redis::cmd("XADD");
        add.arg(&self.stream).arg("*").arg("body").arg(&body[..]);
        add.exec_async(&mut connection).await.context("the entry is not confirmed")
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// One consumer of the group.
pub struct StreamConsumer {
    group: Group,
    connection: MultiplexedConnection,
    outbox: Outbox,
    acked: Vec<String>,
    nacked: Vec<String>,
    came: VecDeque<(StreamId, u32)>,
    asked: Asked<Vec<(StreamId, u32)>>,
    /// Entries that are pending with us: handed out and unsettled, or about to be.
    held: usize,
    prefetch: usize,
    look_at: Instant,
}

impl Consumer for StreamConsumer {
    type Item = Bytes;
    type Receipt = String;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, String>>> {
        loop {
            if let Some((entry, attempt)) = self.came.pop_front() {
                let body = entry.map.into_iter().find(|(field, _)| field == "body").map(|(_, body)| body);
                let Some(Value::BulkString(body)) = body else {
                    // Not one of ours, or deleted by hand: nothing to deliver, now or later.
                    self.ack(entry.id).await?;
                    continue;
                };
                return Ok(Some(Delivery { item: body.into(), attempt, receipt: entry.id }));
            }
            self.write_settled().await?;
            let count = self.prefetch - self.held;
            if count == 0 && !self.asked.is_asked() {
                // All we may hold is handed out. Settling needs `&mut self`, so
                // whoever waits here has given this future up by then.
                return std::future::pending().await;
            }
            let look = self.look_at <= Instant::now();
            if look && !self.asked.is_asked() {
                self.look_at = Instant::now() + Duration::from_millis(self.group.look_ms as u64);
            }
            let ask = || self.group.clone().take(self.connection.clone(), count, look);
            self.came = self.asked.or_ask(ask).await?.into();
            self.held += self.came.len();
        }
    }

    async fn ack(&mut self, receipt: String) -> Result<()> {
        self.held -= 1;
        self.acked.push(receipt);
        if self.acked.len() >= ACKS { self.write_settled().await } else { Ok(()) }
    }

    async fn nack(&mut self, receipt: String) -> Result<()> {
        self.held -= 1;
        self.nacked.push(receipt);
        if self.nacked.len() >= ACKS { self.write_settled().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        self.write_settled().await?;
        self.outbox.drain().await
    }

    /// The consumer's name stays in the group: to delete it would delete what
    /// is pending with it, before anybody could claim that.
    async fn close(mut self) -> Result<()> {
        // What was asked for may still come: wait for it, it is not long.
        if self.asked.is_asked() {
            self.asked.or_ask(|| std::future::ready(Ok(Vec::new()))).await?;
        }
        self.flush().await?;
        loop {
            let mut pending = redis::cmd("XPENDING");
            pending.arg(&self.group.stream).arg(GROUP).arg("-").arg("+").arg(1000).arg(&self.group.me);
            let pending: StreamPendingCountReply = pending.query_async(&mut self.connection).await?;
            // Those given back already are as old as they were made.
            let mine = pending.ids.into_iter().filter(|entry| entry.last_delivered_ms < self.group.claim_ms);
            self.nacked = mine.map(|entry| entry.id).collect();
            if self.nacked.is_empty() {
                return Ok(());
            }
            self.flush().await?;
        }
    }
}

impl StreamConsumer {
    async fn write_settled(&mut self) -> Result<()> {
        self.outbox.room().await?;
        let mut pipeline = redis::pipe();
        if !self.acked.is_empty() {
            pipeline.cmd("XACK").arg(&self.group.stream).arg(GROUP).arg(&self.acked);
            pipeline.cmd("XDEL").arg(&self.group.stream).arg(std::mem::take(&mut self.acked));
        }
        if !self.nacked.is_empty() {
            // JUSTID: this is no delivery, and does not count as one.
            let claim = pipeline.cmd("XCLAIM").arg(&self.group.stream).arg(GROUP).arg(&self.group.me).arg(0);
            claim.arg(std::mem::take(&mut self.nacked)).arg("IDLE").arg(self.group.claim_ms).arg("JUSTID");
        }
        if pipeline.is_empty() { Ok(()) } else { self.outbox.put(pipeline) }
    }
}

/// The group, as one consumer sees it.
#[derive(Clone)]
struct Group {
    stream: String,
    me: String,
    claim_ms: usize,
    look_ms: usize,
}

impl Group {
    /// Up to `count` entries, each with its attempt: old ones that nobody has
    /// settled, when it is time to look for them, else new ones.
    async fn take(
        self,
        mut redis: MultiplexedConnection,
        count: usize,
        look: bool,
    ) -> RedisResult<Vec<(StreamId, u32)>> {
        if look {
            let claimed = self.claim(&mut redis, count).await?;
            if !claimed.is_empty() {
                return Ok(claimed);
            }
        }
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.me).arg("COUNT").arg(count).arg("BLOCK").arg(self.look_ms);
        let new: Option<StreamReadReply> =
            read.arg("STREAMS").arg(&self.stream).arg(">").query_async(&mut redis).await?;
        let entries = new.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        Ok(entries.map(|entry| (entry, 1)).collect())
    }

    async fn claim(
        &self,
        redis: &mut MultiplexedConnection,
        count: usize,
    ) -> RedisResult<Vec<(StreamId, u32)>> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim
            .arg(&self.stream)
            .arg(GROUP)
            .arg(&self.me)
            .arg(self.claim_ms)
            .arg("0-0")
            .arg("COUNT")
            .arg(count);
        let claimed: StreamAutoClaimReply = claim.query_async(redis).await?;
        if claimed.claimed.is_empty() {
            return Ok(Vec::new());
        }
        // The reply does not say how often each was delivered; the list does.
        let mut counts = redis::pipe();
        for entry in &claimed.claimed {
            counts.cmd("XPENDING").arg(&self.stream).arg(GROUP).arg(&entry.id).arg(&entry.id).arg(1);
        }
        let counts: Vec<StreamPendingCountReply> = counts.query_async(redis).await?;
        let attempts = counts.iter().map(|of| of.ids.first().map_or(2, |entry| entry.times_delivered as u32));
        Ok(claimed.claimed.into_iter().zip(attempts).collect())
    }
}

fn stream(place: &Place) -> String {
    format!("{}:stream", place.name())
}
