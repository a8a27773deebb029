//! Publish/subscribe over a Redis stream, a log of what was published lately:
//! `XADD` appends, and every subscriber reads on (`XREAD`) from a position that
//! it keeps itself: Redis does not know who listens.
//!
//! Promises: order, the same for all, and that a subscriber who falls behind by
//! less than the log is long misses nothing. Loses: the oldest events, when the
//! log is longer than `high-water`, for whoever has not read them yet; nobody is
//! told. Redis compares no topics here: every event goes to every subscriber,
//! who picks. With the knob `replay` a subscriber hears also what was before.
//!
//! Run it: `just lab pubsub-redis-stream`. Look back: `redis-cli XRANGE PLACE:stream - + COUNT 10`.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, TopicReader};
use crate::wire::redis::{self as wire, Asked, Redis};
use crate::wire::stream::{self, Appender, Entry, stream};

const HIGH_WATER: Knob =
    Knob::new("high-water", 100_000, "Events that stay in the log, approximately; the oldest are removed.");
pub(crate) const REPLAY: Knob = Knob::new(
    "replay",
    0,
    "Start of a subscriber: 0 for now, else milliseconds since 1970 (1: all that is stored).",
);
/// Events in one answer.
const BATCH: usize = 512;

/// One stream, of bounded length.
pub struct RedisStream {
    place: Place,
    redis: Redis,
}

impl Lab for RedisStream {
    const TRANSPORT: &'static str = "redis-stream";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Drops;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[HIGH_WATER, REPLAY, stream::BATCH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        wire::remove_keys(place).await
    }
}

impl PubSub for RedisStream {
    /// A reader of the log reads all of it, and leaves out what it does not want.
    const FILTERS: &'static [FilterKind] = &FilterKind::ALL;
    type Publisher = StreamPublisher;
    type Subscriber = StreamSubscriber;

    async fn publisher(&self) -> Result<StreamPublisher> {
        let most = self.place.knob(HIGH_WATER).max(1);
        let (appender, stream) = (Appender::new(&self.place, &self.redis).await?, stream(&self.place));
        Ok(StreamPublisher { appender, stream, most })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<StreamSubscriber> {
        StreamSubscriber::join(&self.place, &self.redis, filter).await
    }
}

/// Appends to the log.
pub struct StreamPublisher {
    appender: Appender,
    stream: String,
    most: usize,
}

impl Publisher for StreamPublisher {
    async fn publish(&mut self, topic: &crate::topic::Topic, body: Bytes) -> Result<()> {
        let fields: [(&str, &[u8]); 2] = [("topic", topic.as_str().as_bytes()), ("body", &body)];
        self.appender.append(&self.stream, Some(self.most), &fields).await
    }

    /// More than written: Redis has it in its log.
    async fn flush(&mut self) -> Result<()> {
        self.appender.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.appender.flush().await
    }
}

/// Reads the log, and picks what its filter wants.
pub struct StreamSubscriber {
    connection: MultiplexedConnection,
    stream: String,
    filter: Filter,
    /// The last entry that was read.
    position: String,
    came: VecDeque<Entry>,
    asked: Asked<Vec<Entry>>,
    topics: TopicReader,
}

impl StreamSubscriber {
    pub(crate) async fn join(place: &Place, redis: &Redis, filter: &Filter) -> Result<Self> {
        let (mut connection, stream) = (redis.connect_to_wait().await?, stream(place));
        let position = match place.knob(REPLAY) {
            0 => {
                let mut last = redis::cmd("XREVRANGE");
                let last: Value = last
                    .arg(&stream)
                    .arg("+")
                    .arg("-")
                    .arg("COUNT")
                    .arg(1)
                    .query_async(&mut connection)
                    .await?;
                Entry::list(last).pop().map_or_else(|| "0-0".to_owned(), |entry| entry.id)
            }
            // After the last entry that the millisecond before can have had.
            since => format!("{}-{}", since - 1, u64::MAX),
        };
        let (came, asked, topics) = (VecDeque::new(), Asked::nothing(), TopicReader::default());
        Ok(Self { connection, stream, filter: filter.clone(), position, came, asked, topics })
    }
}

impl Subscriber for StreamSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            while let Some(mut entry) = self.came.pop_front() {
                // What is not one of ours has no topic, and no body.
                let (Some(topic), Some(body)) = (entry.take("topic"), entry.take("body")) else { continue };
                let topic = self.topics.read(&topic)?;
                if self.filter.matches(&topic) {
                    return Ok(Some(Event { topic, body }));
                }
            }
            let read = || read(self.connection.clone(), self.stream.clone(), self.position.clone());
            self.came = self.asked.or_ask(read).await?.into();
            let last = self.came.back().context("Redis gave an answer without entries")?;
            self.position.clone_from(&last.id);
        }
    }
}

/// What comes after `position`; waits while there is nothing.
async fn read(mut redis: MultiplexedConnection, stream: String, position: String) -> RedisResult<Vec<Entry>> {
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(BATCH).arg("BLOCK").arg(0).arg("STREAMS").arg(stream).arg(position);
    read.query_async(&mut redis).await.map(Entry::list_of_one_stream)
}
