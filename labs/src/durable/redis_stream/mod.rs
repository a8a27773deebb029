//! Durable subscribers on a Redis stream: one log, and a consumer group for each identifier.
//!
//! Wire: the publisher appends an entry with the fields `topic` and `body` (`XADD`, many in one pipeline), as
//! in `pubsub/redis_stream.rs`. The one consumer of an identifier's group reads (`XREADGROUP`) and acks
//! (`XACK`); Redis keeps the group's position and its pending entries. Redis compares no topics: every event
//! goes to every subscriber, and an event that its filter does not match is acked without being handed out.
//!
//! Confirms: an event when Redis has answered its `XADD`; `flush` waits for all answers.
//!
//! Survives: kill -9 of a subscriber: one that comes back takes over what it had not acked (`XAUTOCLAIM`),
//! and reads on. Kill -9 of Redis with `appendonly yes` and `appendfsync` `always` or `no`: both write to the
//! kernel before Redis answers. An absence of any length: all events since then stay in memory, until the
//! subscriber is forgotten (`XGROUP DESTROY`). The publisher removes what every group has acked, and keeps
//! the newest `trim-every` events for plain subscribers (`trim.rs`). A cut connection loses nothing: the
//! recovery layer (`labs/src/recovery/`) connects and joins again, and what was not flushed or not acked is
//! sent again, and may come twice. After a restart of Redis the roles join again, too.
//!
//! Loses: events that were not confirmed when the publisher died. Without `appendonly yes`, everything when
//! Redis dies; with `appendfsync everysec` (its default), what it confirmed while the disk was busy, because
//! only then does it answer before it writes. An event also comes again if it is not acked within `claim-ms`
//! of its delivery: waiting in the consumer behind others counts, and the lab never extends the time.
//!
//! Run it: `just lab durable-redis-stream`. Watch it: `redis-cli XINFO GROUPS PLACE:stream`.

mod trim;

use std::collections::VecDeque;

use anyhow::Result;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::redis_stream::{REPLAY, RedisStream as Log, StreamSubscriber, event};
use crate::pubsub::{Event, PubSub, Publisher};
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::redis::group::{self, ACKS, Group, LookTimer};
use crate::wire::redis::stream::{self, Entry, stream};
use crate::wire::redis::{self as wire, CommandBatch, Pipelines, Redis, ResumableRequest};
use trim::Trimmer;

const PREFETCH: Knob = Knob::new("prefetch", 256, "Deliveries a subscriber may hold unsettled.");
const TRIM_EVERY: Knob = Knob::new(
    "trim-every",
    100_000,
    "Events published between two removals of what every subscriber has acked.",
);

/// One stream, and a consumer group for every durable subscriber.
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
    const KNOBS: &'static [Knob] =
        &[PREFETCH, TRIM_EVERY, REPLAY, stream::BATCH, group::CLAIM_MS, group::LOOK_MS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        wire::remove_keys(place).await
    }
}

impl PubSub for RedisStream {
    const FILTERS: &'static [FilterKind] = Log::FILTERS;
    type Publisher = LogPublisher;
    type Subscriber = StreamSubscriber;

    async fn publisher(&self) -> Result<LogPublisher> {
        Ok(LogPublisher {
            commands: CommandBatch::new(self.redis.connect().await?, self.place.knob(stream::BATCH)),
            trimmer: Trimmer::of(stream(&self.place), self.redis.connect().await?),
            stream: stream(&self.place),
            trim_every: self.place.knob(TRIM_EVERY).max(1),
            untrimmed: 0,
        })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<StreamSubscriber> {
        StreamSubscriber::join(&self.place, &self.redis, filter).await
    }
}

impl DurablePubSub for RedisStream {
    type Durable = DurableSubscriber;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<DurableSubscriber> {
        let (mut connection, stream) = (self.redis.connect().await?, stream(&self.place));
        // From `$`: a new group begins with what is published from now on.
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&stream).arg(id).arg("$").arg("MKSTREAM");
        group::created(create.exec_async(&mut connection).await)?;
        let group = Group::join(&self.place, &mut connection, stream, id).await?;
        Ok(DurableSubscriber {
            look: group.timer(),
            group,
            connection: self.redis.connect_to_wait().await?,
            acks: Pipelines::new(connection),
            acked: Vec::new(),
            nacked: Vec::new(),
            taken: VecDeque::new(),
            request: ResumableRequest::none(),
            held: 0,
            prefetch: self.place.knob(PREFETCH).max(1),
            left_behind: Some("0-0".to_owned()),
            filter: filter.clone(),
            topics: TopicReader::new(&self.place),
        })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        let (mut redis, stream) = (self.redis.connect().await?, stream(&self.place));
        // Without a stream there are no groups, and `XGROUP DESTROY` would be an error.
        if redis::cmd("EXISTS").arg(&stream).query_async(&mut redis).await? {
            redis::cmd("XGROUP").arg("DESTROY").arg(stream).arg(id).exec_async(&mut redis).await?;
        }
        Ok(())
    }
}

/// Appends to the log, and keeps it as short as the durable subscribers let it.
pub struct LogPublisher {
    commands: CommandBatch,
    trimmer: Trimmer,
    stream: String,
    trim_every: usize,
    untrimmed: usize,
}

impl Publisher for LogPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let mut add = redis::cmd("XADD");
        add.arg(&self.stream).arg("*").arg("topic").arg(topic.as_str()).arg("body").arg(&body[..]);
        self.commands.put(add, topic.as_str().len() + body.len()).await?;
        self.untrimmed += 1;
        if self.untrimmed >= self.trim_every {
            self.untrimmed = 0;
            self.trimmer.trim().await?;
        }
        Ok(())
    }

    /// Confirmed: Redis has answered with the identifier of every entry.
    async fn flush(&mut self) -> Result<()> {
        self.commands.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.commands.flush().await
    }
}

/// The one consumer of its identifier's group; a receipt is the entry's identifier.
pub struct DurableSubscriber {
    group: Group,
    /// For `XREADGROUP`, which waits: a connection of its own.
    connection: MultiplexedConnection,
    /// Acks in flight.
    acks: Pipelines,
    /// Identifiers that wait to be acked or nacked together.
    acked: Vec<String>,
    nacked: Vec<String>,
    /// Entries that were read and not handed out yet, each with its attempt.
    taken: VecDeque<(Entry, u32)>,
    /// The request for more entries.
    request: ResumableRequest<Taken>,
    /// Entries that are pending with us: handed out and unsettled, or about to be.
    held: usize,
    prefetch: usize,
    look: LookTimer,
    /// Where to go on with what this subscriber had not acked when it left; `None` when all of
    /// it has been taken over.
    left_behind: Option<String>,
    filter: Filter,
    topics: TopicReader,
}

/// Entries, each with its attempt, and where to go on with what was left behind.
type Taken = (Vec<(Entry, u32)>, Option<String>);

impl Consumer for DurableSubscriber {
    type Item = Event;
    type Receipt = String;

    async fn next(&mut self) -> Result<Option<Delivery<Event, String>>> {
        loop {
            while let Some((mut entry, attempt)) = self.taken.pop_front() {
                if let Some(item) = event(&mut entry, &mut self.topics)
                    && self.filter.matches(&item.topic)
                {
                    return Ok(Some(Delivery { item, attempt, receipt: entry.id }));
                }
                // Not wanted, or not an event: it would come again.
                self.ack(entry.id).await?;
            }
            self.write_acks().await?;
            let count = self.prefetch - self.held;
            if count == 0 && !self.request.is_open() {
                // This subscriber holds all it may. To settle an event the caller has to drop
                // this future first, because `ack` needs `&mut self`.
                return std::future::pending().await;
            }
            let take = || {
                let (redis, look) = (self.connection.clone(), self.look.is_due());
                take(self.group.clone(), redis, count, self.left_behind.clone(), look)
            };
            let (taken, left_behind) = self.request.resume_or(take).await?;
            self.held += taken.len();
            self.taken = taken.into();
            self.left_behind = left_behind;
        }
    }

    async fn ack(&mut self, receipt: String) -> Result<()> {
        self.held -= 1;
        self.acked.push(receipt);
        if self.acked.len() >= ACKS { self.write_acks().await } else { Ok(()) }
    }

    async fn nack(&mut self, receipt: String) -> Result<()> {
        self.held -= 1;
        self.nacked.push(receipt);
        if self.nacked.len() >= ACKS { self.write_acks().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        self.write_acks().await?;
        self.acks.drain().await
    }

    /// Nacks what is unsettled. The consumer stays in the group: deleting it would delete what
    /// is pending with it, before its successor could take that over.
    async fn close(mut self) -> Result<()> {
        // Entries that were asked for may still come: wait for them, it does not take long.
        if self.request.is_open() {
            self.request.resume_or(|| std::future::ready(Ok((Vec::new(), None)))).await?;
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

impl DurableSubscriber {
    /// Writes the acks and nacks that wait. Cancel-safe.
    async fn write_acks(&mut self) -> Result<()> {
        self.acks.room().await?;
        let Group { stream, name, consumer, claim_ms, .. } = &self.group;
        let mut pipeline = redis::pipe();
        if !self.acked.is_empty() {
            // Without `XDEL`: other groups may still need the entry.
            pipeline.cmd("XACK").arg(stream).arg(name).arg(&self.acked);
            self.acked.clear();
        }
        if !self.nacked.is_empty() {
            // The entries look as if they had been pending for `claim-ms`, and are delivered again
            // at the next look. JUSTID: Redis does not count this as a delivery.
            let claim = pipeline.cmd("XCLAIM").arg(stream).arg(name).arg(consumer).arg(0);
            claim.arg(std::mem::take(&mut self.nacked)).arg("IDLE").arg(*claim_ms).arg("JUSTID");
        }
        if pipeline.is_empty() { Ok(()) } else { self.acks.put(pipeline) }
    }
}

/// Up to `count` entries: first what this subscriber left behind, however short the time; then,
/// when it is time to look for them, old ones; otherwise new ones, for which it waits up to
/// `look-ms`.
async fn take(
    group: Group,
    mut redis: MultiplexedConnection,
    count: usize,
    mut left_behind: Option<String>,
    look: bool,
) -> RedisResult<Taken> {
    while let Some(from) = left_behind {
        let (next, claimed) = claim(&group, &mut redis, 0, &from, count).await?;
        left_behind = (next != "0-0").then_some(next);
        if !claimed.is_empty() {
            return Ok((claimed, left_behind));
        }
    }
    if look {
        let (_, claimed) = claim(&group, &mut redis, group.claim_ms, "0-0", count).await?;
        if !claimed.is_empty() {
            return Ok((claimed, None));
        }
    }
    let Group { stream, name, consumer, look_ms, .. } = &group;
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(name).arg(consumer).arg("COUNT").arg(count).arg("BLOCK").arg(*look_ms);
    // `>`: entries that were never delivered to this group.
    let new: Value = read.arg("STREAMS").arg(stream).arg(">").query_async(&mut redis).await?;
    Ok((Entry::list_of_one_stream(new).into_iter().map(|entry| (entry, 1)).collect(), None))
}

/// Takes over what has been pending for `idle_ms`, from this identifier on. Also says where to
/// go on; `0-0` if that was all.
async fn claim(
    group: &Group,
    redis: &mut MultiplexedConnection,
    idle_ms: usize,
    from: &str,
    count: usize,
) -> RedisResult<(String, Vec<(Entry, u32)>)> {
    let mut claim = redis::cmd("XAUTOCLAIM");
    claim.arg(&group.stream).arg(&group.name).arg(&group.consumer).arg(idle_ms);
    claim.arg(from).arg("COUNT").arg(count);
    let (next, claimed) = Entry::claimed(claim.query_async(redis).await?);
    Ok((next, group.with_attempts(redis, claimed).await?))
}
