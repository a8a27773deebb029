//! A queue on a Redis stream: a log whose entries are handed out by a consumer group.
//!
//! Wire: the producer appends an entry (`XADD`). A consumer group delivers each entry to one of its consumers
//! (`XREADGROUP`) and remembers who has it (the *pending entries list*), until that consumer acks it
//! (`XACK`); `XDEL` right after the ack keeps the stream from growing. A consumer that finds an entry pending
//! for `claim-ms` takes it over (`XAUTOCLAIM`), with Redis's own count of deliveries. A nack sets an entry's
//! idle time to `claim-ms` (`XCLAIM … IDLE`), so the next consumer that looks takes it over. An entry that
//! has failed `max-attempts` times goes to the stream `PLACE:dead` instead (`XADD`, `XACK` and `XDEL` in one
//! transaction).
//!
//! Confirms: a message when Redis has answered its `XADD`. Acks are batched, up to 128, until a `flush` or
//! until `next` has handed out all it has read.
//!
//! Survives: kill -9 of a consumer: its entries are delivered again after `claim-ms`, when a consumer next
//! looks (every `look-ms`). Kill -9 of Redis with `appendonly yes` and `appendfsync` `always` or `no`: both
//! write to the kernel before Redis answers. A power cut with `appendfsync always`. A cut connection loses
//! nothing: the recovery layer (`labs/src/recovery/`) connects and joins again, and what was not confirmed or
//! not acked is sent again, and may come twice. After a restart of Redis the roles join again, too.
//!
//! Loses: messages that were not confirmed when the producer died. Without `appendonly yes`, everything when
//! Redis dies; with `appendfsync everysec` (its default), what it confirmed while the disk was busy, because
//! only then does it answer before it writes. An entry also comes again if it is not acked within `claim-ms`
//! of its delivery: waiting in the consumer behind others counts, and the lab never extends the time.
//!
//! Run it: `just lab queue-redis-stream`. Watch it: `redis-cli XINFO GROUPS PLACE:stream`.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::redis::dead::{self, DeadStream};
use crate::queue::{
    AttemptLimit, Consumer, Delivery, Depth, MAX_ATTEMPTS, NACKED, Producer, Queue, UNSETTLED,
};
use crate::wire::redis::group::{self, ACKS, Group, LookTimer};
use crate::wire::redis::stream::{Entry, stream};
use crate::wire::redis::{self as wire, Pipelines, Redis, ResumableRequest};

const GROUP: &str = "consumers";

/// One stream with one consumer group.
pub struct RedisStream {
    place: Place,
    redis: Redis,
}

impl Lab for RedisStream {
    const TRANSPORT: &'static str = "redis-stream";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const BROKER_SINCE: Option<(u32, u32)> = Some((6, 2));
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[group::CLAIM_MS, group::LOOK_MS, MAX_ATTEMPTS];

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
    type DeadLetters = DeadStream;

    async fn producer(&self) -> Result<StreamProducer> {
        Ok(StreamProducer { connection: self.redis.connect().await?, stream: stream(&self.place) })
    }

    async fn consumer(&self, prefetch: u16) -> Result<StreamConsumer> {
        StreamConsumer::join(&self.place, &self.redis, prefetch, AttemptLimit::of(&self.place)).await
    }

    async fn dead_letters(&self) -> Result<DeadStream> {
        let stream = stream(&self.place);
        DeadStream::open(&self.place, &self.redis, move |transaction, body| {
            transaction.cmd("XADD").arg(&stream).arg("*").arg("body").arg(body);
        })
        .await
    }

    async fn depth(&self) -> Result<Option<Depth>> {
        let mut connection = self.redis.connect().await?;
        let length = redis::cmd("XLEN").arg(stream(&self.place)).query_async(&mut connection).await;
        Ok(Some(Depth { count: length.context("XLEN failed")?, asked: "XLEN: entries that are not settled" }))
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
        // The connection is shared: what other sends append travels in the same write.
        let mut connection = self.connection.clone();
        let mut add = redis::cmd("XADD");
        add.arg(&self.stream).arg("*").arg("body").arg(&body[..]);
        add.exec_async(&mut connection).await.context("the entry is not confirmed")
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// An entry that was handed out and is not settled.
#[derive(Clone)]
pub struct PendingEntry {
    id: String,
    body: Bytes,
    attempt: u32,
}

/// One consumer of the group; a receipt is the entry.
pub struct StreamConsumer {
    group: Group,
    /// For `XREADGROUP`, which waits: a connection of its own.
    connection: MultiplexedConnection,
    /// Acks in flight.
    acks: Pipelines,
    /// Identifiers that wait to be acked or nacked together.
    acked: Vec<String>,
    nacked: Vec<String>,
    /// Entries that wait to be put aside, each with the reason.
    dead: Vec<(PendingEntry, &'static str)>,
    limit: AttemptLimit,
    /// Entries that were read and not handed out yet, each with its attempt.
    taken: VecDeque<(Entry, u32)>,
    /// The request for more entries.
    request: ResumableRequest<Vec<(Entry, u32)>>,
    /// Entries that are pending with us: handed out and unsettled, or about to be.
    held: usize,
    prefetch: usize,
    look: LookTimer,
    place: Place,
}

impl StreamConsumer {
    /// Also the receiving end of `pipeline/redis_stream.rs`.
    pub(crate) async fn join(
        place: &Place,
        redis: &Redis,
        prefetch: u16,
        limit: AttemptLimit,
    ) -> Result<Self> {
        let (mut connection, stream) = (redis.connect().await?, stream(place));
        // From `0`: a queue also delivers what came before its first consumer.
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&stream).arg(GROUP).arg("0").arg("MKSTREAM");
        group::created(create.exec_async(&mut connection).await)?;
        let group = Group::join(place, &mut connection, stream, GROUP).await?;
        Ok(Self {
            look: group.timer(),
            group,
            connection: redis.connect_to_wait().await?,
            acks: Pipelines::new(connection),
            acked: Vec::new(),
            nacked: Vec::new(),
            dead: Vec::new(),
            limit,
            taken: VecDeque::new(),
            request: ResumableRequest::none(),
            held: 0,
            prefetch: usize::from(prefetch).max(1),
            place: place.clone(),
        })
    }

    /// Writes the acks and nacks that wait. Cancel-safe.
    async fn write_acks(&mut self) -> Result<()> {
        self.acks.room().await?;
        let Group { stream, consumer, claim_ms, .. } = &self.group;
        let mut pipeline = redis::pipe();
        if !self.acked.is_empty() {
            pipeline.cmd("XACK").arg(stream).arg(GROUP).arg(&self.acked);
            pipeline.cmd("XDEL").arg(stream).arg(&self.acked);
            self.acked.clear();
        }
        if !self.nacked.is_empty() {
            // The entries look as if they had been pending for `claim-ms`, so that the next who
            // looks takes them over. JUSTID: Redis does not count this as a delivery.
            let claim = pipeline.cmd("XCLAIM").arg(stream).arg(GROUP).arg(consumer).arg(0);
            claim.arg(std::mem::take(&mut self.nacked)).arg("IDLE").arg(*claim_ms).arg("JUSTID");
        }
        if !self.dead.is_empty() {
            // All or nothing: no entry may vanish in between, nor stay in both streams.
            pipeline.atomic();
            let dead = dead::dead(&self.place);
            for (entry, reason) in self.dead.drain(..) {
                dead::bury(&mut pipeline, &dead, &entry.body, entry.attempt, reason);
                pipeline.cmd("XACK").arg(stream).arg(GROUP).arg(&entry.id);
                pipeline.cmd("XDEL").arg(stream).arg(&entry.id);
            }
        }
        if pipeline.is_empty() { Ok(()) } else { self.acks.put(pipeline) }
    }

    /// An entry that has failed too often.
    async fn put_aside(&mut self, entry: PendingEntry, reason: &'static str) -> Result<()> {
        self.held -= 1;
        self.dead.push((entry, reason));
        if self.dead.len() >= ACKS { self.write_acks().await } else { Ok(()) }
    }
}

/// Up to `count` entries, each with its attempt: when it is time to look for them, old ones that
/// nobody has settled; otherwise new ones, for which it waits up to `look-ms`.
async fn take(
    group: Group,
    mut redis: MultiplexedConnection,
    count: usize,
    look: bool,
) -> RedisResult<Vec<(Entry, u32)>> {
    let Group { stream, consumer, claim_ms, look_ms, .. } = &group;
    if look {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(stream).arg(GROUP).arg(consumer).arg(*claim_ms).arg("0-0").arg("COUNT").arg(count);
        let (_, claimed) = Entry::claimed(claim.query_async(&mut redis).await?);
        let claimed = group.with_attempts(&mut redis, claimed).await?;
        if !claimed.is_empty() {
            return Ok(claimed);
        }
    }
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(GROUP).arg(consumer).arg("COUNT").arg(count).arg("BLOCK").arg(*look_ms);
    // `>`: entries that were never delivered to any consumer of the group.
    let new: Value = read.arg("STREAMS").arg(stream).arg(">").query_async(&mut redis).await?;
    Ok(Entry::list_of_one_stream(new).into_iter().map(|entry| (entry, 1)).collect())
}

impl Consumer for StreamConsumer {
    type Item = Bytes;
    type Receipt = PendingEntry;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, PendingEntry>>> {
        loop {
            if let Some((mut entry, attempt)) = self.taken.pop_front() {
                if let Some(body) = entry.take("body") {
                    let failed = attempt.saturating_sub(1);
                    let pending = PendingEntry { id: entry.id, body: body.clone(), attempt };
                    if self.limit.is_reached(failed) {
                        // The last failed attempt was not nacked (a nack puts the entry aside at once):
                        // its consumer has gone, or has not acked within `claim-ms`.
                        self.put_aside(PendingEntry { attempt: failed, ..pending }, UNSETTLED).await?;
                        continue;
                    }
                    return Ok(Some(Delivery { item: body, attempt, receipt: pending }));
                }
                // Another program appended it, or somebody deleted it: there is nothing to deliver,
                // and it would come again.
                self.place.message_skipped("an entry without the field `body`");
                self.ack(PendingEntry { id: entry.id, body: Bytes::new(), attempt }).await?;
                continue;
            }
            self.write_acks().await?;
            let count = self.prefetch - self.held;
            if count == 0 && !self.request.is_open() {
                // This consumer holds all it may. To settle an entry the caller has to drop
                // this future first, because `ack` needs `&mut self`.
                return std::future::pending().await;
            }
            let take = || take(self.group.clone(), self.connection.clone(), count, self.look.is_due());
            self.taken = self.request.resume_or(take).await?.into();
            self.held += self.taken.len();
        }
    }

    async fn ack(&mut self, receipt: PendingEntry) -> Result<()> {
        self.held -= 1;
        self.acked.push(receipt.id);
        if self.acked.len() >= ACKS { self.write_acks().await } else { Ok(()) }
    }

    async fn nack(&mut self, receipt: PendingEntry) -> Result<()> {
        if self.limit.is_reached(receipt.attempt) {
            return self.put_aside(receipt, NACKED).await;
        }
        self.held -= 1;
        self.nacked.push(receipt.id);
        if self.nacked.len() >= ACKS { self.write_acks().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        self.write_acks().await?;
        self.acks.drain().await
    }

    /// Nacks what is unsettled. Our name stays in the group: deleting it would delete what is
    /// pending with it, before anybody could take that over.
    async fn close(mut self) -> Result<()> {
        // Entries that were asked for may still come: wait for them, it does not take long.
        if self.request.is_open() {
            self.request.resume_or(|| std::future::ready(Ok(Vec::new()))).await?;
        }
        self.flush().await?;
        loop {
            self.nacked = self.group.unsettled(&mut self.connection).await?;
            if self.nacked.is_empty() {
                return Ok(());
            }
            self.flush().await?;
        }
    }
}
