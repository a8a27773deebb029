//! Publish/subscribe over Redis channels, which store nothing.
//!
//! Wire: the publisher writes `PUBLISH CHANNEL BODY`, `batch` commands in one write; the channel is
//! `PLACE:TOPIC`. A subscriber sends `SUBSCRIBE` for one channel, or `PSUBSCRIBE` for a glob. Redis
//! copies each message to every subscriber that matches at that moment, in order for each
//! publisher.
//!
//! Confirms: a subscription: `subscriber` returns when Redis has confirmed it. Events are not
//! confirmed: `publish` returns when the command is in the buffer, and `batch` of them are written
//! at once; `flush` returns when the commands are written. A write waits while more than 7 batches
//! are unanswered. `close` returns when Redis has answered all commands, that is, has queued the
//! copies.
//!
//! Survives: the death of a publisher or a subscriber: the others go on. After a cut connection or
//! a restart of Redis, the recovery layer (`labs/src/recovery/`) connects and joins again; for the
//! events, see Loses.
//!
//! Loses: what is published while a subscriber is away, also while it joins again; what is on its
//! way when a connection is cut, or when a side or Redis dies. Under overload, Redis disconnects a
//! subscriber that falls behind by more than `client-output-buffer-limit pubsub` (by default 32 MB,
//! or 8 MB for a minute), and what waited for it is lost.
//!
//! Run it: `just lab pubsub-redis`. Break it: `just break run late-subscriber`. Watch it:
//! `redis-cli PSUBSCRIBE 'PLACE:*'`.

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::redis::resp::{RespReader, RespWriter};
use crate::wire::redis::{PIPELINE_BYTES, Redis, literally};

const BATCH: Knob = Knob::new("batch", 256, "PUBLISH commands in one pipeline; 1 writes each of them alone.");
/// Pipelines in flight: Redis works on them while the next one is filled.
const IN_FLIGHT: usize = 8;

/// Channels named after the place and the topic.
pub struct RedisChannels {
    place: Place,
    redis: Redis,
}

impl Lab for RedisChannels {
    const TRANSPORT: &'static str = "redis";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Disconnects;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[BATCH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    /// A channel is gone when its last subscriber is.
    async fn remove(_place: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for RedisChannels {
    const FILTERS: &'static [FilterKind] =
        &[FilterKind::All, FilterKind::Exact, FilterKind::Prefix, FilterKind::Glob];
    type Publisher = ChannelPublisher;
    type Subscriber = ChannelSubscriber;

    async fn publisher(&self) -> Result<ChannelPublisher> {
        Ok(ChannelPublisher {
            commands: RespWriter::to(self.redis.socket().await?),
            prefix: prefix(&self.place).len(),
            channel: prefix(&self.place),
            batch: self.place.knob(BATCH).max(1),
        })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<ChannelSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let channels = prefix(&self.place);
        let ours = literally(&channels);
        let (command, channel) = match filter {
            Filter::Exact(topic) => ("SUBSCRIBE", format!("{channels}{topic}")),
            Filter::Prefix(text) => ("PSUBSCRIBE", format!("{ours}{}*", literally(text))),
            Filter::Glob(glob) => ("PSUBSCRIBE", format!("{ours}{glob}")),
            _ => ("PSUBSCRIBE", format!("{ours}*")),
        };
        let mut socket = self.redis.socket().await?;
        socket.write_all(&redis::cmd(command).arg(channel).get_packed_command()).await?;
        let mut replies = RespReader::of(socket);
        // Redis's confirmation: from here on, nothing is missed.
        replies.last_two().await.with_context(|| format!("cannot subscribe to {filter}"))?;
        Ok(ChannelSubscriber { replies, prefix: channels.len(), topics: TopicReader::new(&self.place) })
    }
}

/// Publishes in pipelines, of which several are in flight.
pub struct ChannelPublisher {
    commands: RespWriter,
    channel: String,
    /// How much of `channel` is the same for every topic.
    prefix: usize,
    batch: usize,
}

impl Publisher for ChannelPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.channel.truncate(self.prefix);
        self.channel.push_str(topic.as_str());
        self.commands.put(&[b"PUBLISH", self.channel.as_bytes(), &body]);
        if self.commands.unwritten() >= self.batch || self.commands.bytes() >= PIPELINE_BYTES {
            self.write().await
        } else {
            Ok(())
        }
    }

    /// Written, and not yet answered: answers are read when more is written, and the last of
    /// them when the publisher closes.
    async fn flush(&mut self) -> Result<()> {
        self.write().await
    }

    /// Waits until no command is unanswered: Redis answers a `PUBLISH` when it has queued the copies.
    async fn close(mut self) -> Result<()> {
        self.write().await?;
        self.commands.answered(0).await
    }
}

impl ChannelPublisher {
    /// Waits until at most 7 batches are unanswered, then writes the next one.
    async fn write(&mut self) -> Result<()> {
        self.commands.write(self.batch * (IN_FLIGHT - 1)).await
    }
}

/// Reads Redis's protocol itself, one message at a time. The crate's own stream would read
/// ahead into an unbounded channel: a slow subscriber would fill its own memory, and Redis would
/// not disconnect it.
pub struct ChannelSubscriber {
    replies: RespReader,
    /// How much of a channel's name is the place's.
    prefix: usize,
    topics: TopicReader,
}

impl Subscriber for ChannelSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let (channel, body) = self.replies.last_two().await?;
            // Anybody can publish to any channel: one that is not a topic's is skipped.
            if let Some(topic) = self.topics.read(channel.get(self.prefix..).unwrap_or_default()) {
                return Ok(Some(Event { topic, body }));
            }
        }
    }
}

fn prefix(place: &Place) -> String {
    format!("{}:", place.name())
}
