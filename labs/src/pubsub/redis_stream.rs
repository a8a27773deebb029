//! Publish/subscribe over a Redis stream, a log of recent events. With the knob `replay`, a subscriber
//! also hears earlier events.
//!
//! Wire: the publisher appends an entry with the fields `topic` and `body` (`XADD … MAXLEN ~ N`, many
//! in one pipeline). Every subscriber reads from a position that it keeps itself (`XREAD … BLOCK`):
//! Redis does not know who listens, and compares no topics. So every event goes to every subscriber, in
//! one order, and each picks what matches.
//!
//! Confirms: an event for the log, not for a subscriber: `flush` returns when Redis has answered every
//! `XADD`. `subscriber` returns when it knows its position in the log, and misses nothing from there.
//!
//! Survives: a slow subscriber, while it is behind by less than the length of the log. The death of a
//! publisher or a subscriber: the log and the others go on. Kill -9 of Redis with `appendonly yes` and
//! `appendfsync` `always` or `no`: both write to the kernel before Redis answers. After a cut
//! connection or a restart of Redis, the recovery layer (`labs/src/recovery/`) connects and joins
//! again; for the events, see Loses.
//!
//! Loses: the position of a subscriber that dies or whose connection is cut: it starts again at the end
//! of the log, and with `replay` only one that is started again replays. What a publisher had not
//! flushed then. Under overload, the oldest events when the log is longer than `high-water`, for every
//! subscriber that has not read them; nobody is told. Without `appendonly yes`, the log when Redis
//! dies; with `appendfsync everysec` (its default), the newest entries, because it may answer before it
//! writes.
//!
//! Run it: `just lab pubsub-redis-stream`. Watch it: `redis-cli XRANGE PLACE:stream - + COUNT 10`.

use std::collections::VecDeque;

use anyhow::Result;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::redis::stream::{self, Entry, stream};
use crate::wire::redis::{self as wire, CommandBatch, Redis, ResumableRequest, WAIT};

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
    const BROKER_SINCE: Option<(u32, u32)> = Some((5, 0));
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Drops;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
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
        let (connection, batch) = (self.redis.connect().await?, self.place.knob(stream::BATCH));
        Ok(StreamPublisher {
            commands: CommandBatch::new(connection, batch),
            stream: stream(&self.place),
            most,
        })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<StreamSubscriber> {
        StreamSubscriber::join(&self.place, &self.redis, filter).await
    }
}

/// Appends to the log.
pub struct StreamPublisher {
    commands: CommandBatch,
    stream: String,
    /// Entries that stay in the log, approximately.
    most: usize,
}

impl Publisher for StreamPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let mut add = redis::cmd("XADD");
        // Approximately (`~`): Redis removes whole nodes of a hundred entries.
        add.arg(&self.stream).arg("MAXLEN").arg("~").arg(self.most).arg("*");
        add.arg("topic").arg(topic.as_str()).arg("body").arg(&body[..]);
        self.commands.put(add, topic.as_str().len() + body.len()).await
    }

    /// Confirmed: Redis has answered with the identifier of every entry.
    async fn flush(&mut self) -> Result<()> {
        self.commands.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.commands.flush().await
    }
}

/// Reads the log, and picks what its filter wants.
pub struct StreamSubscriber {
    connection: MultiplexedConnection,
    stream: String,
    filter: Filter,
    /// The last entry that was read.
    position: String,
    /// Entries that were read and not looked at yet.
    entries: VecDeque<Entry>,
    /// The `XREAD` that waits for entries.
    read: ResumableRequest<Vec<Entry>>,
    topics: TopicReader,
}

impl StreamSubscriber {
    pub(crate) async fn join(place: &Place, redis: &Redis, filter: &Filter) -> Result<Self> {
        let (mut connection, stream) = (redis.connect_to_wait().await?, stream(place));
        let position = match place.knob(REPLAY) {
            // One that joins again has replayed already: at most once is promised.
            since if since == 0 || place.joined_before() => {
                let mut last = redis::cmd("XREVRANGE");
                last.arg(&stream).arg("+").arg("-").arg("COUNT").arg(1);
                let last: Value = last.query_async(&mut connection).await?;
                Entry::list(last).pop().map_or_else(|| "0-0".to_owned(), |entry| entry.id)
            }
            // Start just before `since`: the largest possible identifier of the millisecond before it.
            since => format!("{}-{}", since - 1, u64::MAX),
        };
        let (filter, topics) = (filter.clone(), TopicReader::new(place));
        let (entries, read) = (VecDeque::new(), ResumableRequest::none());
        Ok(Self { connection, stream, filter, position, entries, read, topics })
    }
}

impl Subscriber for StreamSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            while let Some(mut entry) = self.entries.pop_front() {
                if let Some(event) = event(&mut entry, &mut self.topics)
                    && self.filter.matches(&event.topic)
                {
                    return Ok(Some(event));
                }
            }
            let read = || read(self.connection.clone(), self.stream.clone(), self.position.clone());
            self.entries = self.read.resume_or(read).await?.into();
            if let Some(last) = self.entries.back() {
                self.position.clone_from(&last.id);
            }
        }
    }
}

/// The event that an entry holds. What another program appended may have no topic or no body: it
/// is counted as skipped.
pub(crate) fn event(entry: &mut Entry, topics: &mut TopicReader) -> Option<Event> {
    let (Some(topic), Some(body)) = (entry.take("topic"), entry.take("body")) else {
        return topics.skip("an entry without the fields `topic` and `body`");
    };
    Some(Event { topic: topics.read(&topic)?, body })
}

/// The entries after `position`; waits a second while there are none.
async fn read(mut redis: MultiplexedConnection, stream: String, position: String) -> RedisResult<Vec<Entry>> {
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT")
        .arg(BATCH)
        .arg("BLOCK")
        .arg(WAIT.as_millis() as u64)
        .arg("STREAMS")
        .arg(stream)
        .arg(position);
    read.query_async(&mut redis).await.map(Entry::list_of_one_stream)
}
