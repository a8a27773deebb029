//! Durable subscribers on a Redis stream: the log of `pubsub/redis_stream.rs`,
//! and a consumer group for each identifier. Redis keeps the group's position
//! and what of it is pending, so whoever comes back under the identifier takes
//! over what was not acked, and reads on.
//!
//! A log has no owner that would empty it: the publisher drops what every group
//! has acked, and keeps the newest `trim-every` events for those who just
//! listen. A durable subscriber who stays away keeps all since it left, in
//! memory; forget it. Redis compares no topics: what a filter does not want
//! crosses the wire, and is acked unseen.
//!
//! Survives: kill -9 of a subscriber; with `appendonly yes`, and `appendfsync`
//! not `everysec`, that of Redis. What was acked and not flushed comes again.
//!
//! Run it: `just lab durable-redis-stream`. Watch it: `redis-cli XINFO GROUPS PLACE:stream`.

use anyhow::Result;
use bytes::Bytes;

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::redis_stream::{REPLAY, RedisStream as Log, StreamSubscriber};
use crate::pubsub::{Event, PubSub, Publisher};
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::redis::{self as wire, Redis};
use crate::wire::stream::{self, Appender, Joining, Member, stream};
use crate::wire::trim::Trimmer;

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
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] =
        &[PREFETCH, TRIM_EVERY, REPLAY, stream::BATCH, stream::CLAIM_MS, stream::LOOK_MS];

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
            appender: Appender::new(&self.place, &self.redis).await?,
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
        let joining = Joining {
            stream: stream(&self.place),
            group: id.to_owned(),
            from: "$",
            prefetch: self.place.knob(PREFETCH),
            alone: true,
            delete: false,
        };
        let member = Member::join(&self.place, &self.redis, joining).await?;
        Ok(DurableSubscriber { member, filter: filter.clone(), topics: TopicReader::default() })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        let (mut redis, stream) = (self.redis.connect().await?, stream(&self.place));
        // Where there is no stream, nobody has a group, and to destroy one is an error.
        if redis::cmd("EXISTS").arg(&stream).query_async(&mut redis).await? {
            redis::cmd("XGROUP").arg("DESTROY").arg(stream).arg(id).exec_async(&mut redis).await?;
        }
        Ok(())
    }
}

/// Appends to the log, and keeps it as short as the durable subscribers let it.
pub struct LogPublisher {
    appender: Appender,
    trimmer: Trimmer,
    stream: String,
    trim_every: usize,
    untrimmed: usize,
}

impl Publisher for LogPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let fields: [(&str, &[u8]); 2] = [("topic", topic.as_str().as_bytes()), ("body", &body)];
        self.appender.append(&self.stream, None, &fields).await?;
        self.untrimmed += 1;
        if self.untrimmed >= self.trim_every {
            self.untrimmed = 0;
            self.trimmer.trim().await?;
        }
        Ok(())
    }

    /// Confirmed: Redis has answered with the identifier of every entry.
    async fn flush(&mut self) -> Result<()> {
        self.appender.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.appender.flush().await
    }
}

/// The one member of the group that bears its identifier.
pub struct DurableSubscriber {
    member: Member,
    filter: Filter,
    topics: TopicReader,
}

impl Consumer for DurableSubscriber {
    type Item = Event;
    type Receipt = String;

    async fn next(&mut self) -> Result<Option<Delivery<Event, String>>> {
        loop {
            let (mut entry, attempt) = self.member.next().await?;
            if let (Some(topic), Some(body)) = (entry.take("topic"), entry.take("body")) {
                let topic = self.topics.read(&topic)?;
                if self.filter.matches(&topic) {
                    return Ok(Some(Delivery { item: Event { topic, body }, attempt, receipt: entry.id }));
                }
            }
            self.member.ack(entry.id).await?;
        }
    }

    async fn ack(&mut self, receipt: String) -> Result<()> {
        self.member.ack(receipt).await
    }

    async fn nack(&mut self, receipt: String) -> Result<()> {
        self.member.nack(receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.member.flush().await
    }

    async fn close(self) -> Result<()> {
        self.member.close().await
    }
}
