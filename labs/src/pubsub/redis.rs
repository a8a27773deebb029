//! Publish/subscribe over Redis channels: Redis copies each `PUBLISH` to
//! whoever has subscribed to the channel, or to a glob that matches it, at
//! that moment, and keeps nothing.
//!
//! Promises: order per publisher, and that a subscriber is live when
//! `subscriber` returns. Loses: what is published while nobody listens; and a
//! subscriber who falls behind by more than `client-output-buffer-limit pubsub`
//! (32 MB) is cut off, with all that was waiting for it.
//!
//! Run it: `just lab pubsub-redis`. Listen in: `redis-cli PSUBSCRIBE 'PLACE:*'`.

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::redis::{PIPELINE_BYTES, Redis, literally};
use crate::wire::resp::{Commands, Replies};

const BATCH: Knob = Knob::new("batch", 256, "PUBLISH commands in one pipeline; 1 writes each of them alone.");
/// Pipelines written and not yet answered: Redis works while the next is filled.
const ON_THEIR_WAY: usize = 8;

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
            commands: Commands::to(self.redis.socket().await?),
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
        let mut replies = Replies::of(socket);
        // Redis's confirmation: from here on, nothing is missed.
        replies.last_two().await.with_context(|| format!("cannot subscribe to {filter}"))?;
        Ok(ChannelSubscriber { replies, prefix: channels.len(), topics: TopicReader::default() })
    }
}

/// Publishes in pipelines, of which several are on their way.
pub struct ChannelPublisher {
    commands: Commands,
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

    /// Written is not answered: what Redis has to say is read as the next are
    /// written, and to the end when this closes.
    async fn flush(&mut self) -> Result<()> {
        self.write().await
    }

    /// Redis answers a `PUBLISH` when it has queued the copies.
    async fn close(mut self) -> Result<()> {
        self.write().await?;
        self.commands.answered(0).await
    }
}

impl ChannelPublisher {
    async fn write(&mut self) -> Result<()> {
        self.commands.write(self.batch * (ON_THEIR_WAY - 1)).await
    }
}

/// Reads Redis's protocol by hand: the crate's own stream would read on into an
/// unbounded channel, and a slow subscriber would fill its memory instead of
/// being cut off.
pub struct ChannelSubscriber {
    replies: Replies,
    /// How much of a channel's name is the place's.
    prefix: usize,
    topics: TopicReader,
}

impl Subscriber for ChannelSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        let (channel, body) = self.replies.last_two().await?;
        let topic = channel.get(self.prefix..).context("a message from another place's channel")?;
        Ok(Some(Event { topic: self.topics.read(topic)?, body }))
    }
}

fn prefix(place: &Place) -> String {
    format!("{}:", place.name())
}
