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

use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic};
use crate::wire::redis::{PIPELINE_BYTES, Redis, literally};

/// `PUBLISH` commands in one pipeline: 1 waits for nothing and writes each alone.
const BATCH: usize = 256;
/// Pipelines written and not yet answered: Redis works while the next is filled.
const ON_THEIR_WAY: usize = 8;
/// How much a subscriber reads at once. It reads only when it has nothing left,
/// so what it cannot handle waits at Redis, whose limit then decides.
const READ_BYTES: usize = 64 * 1024;

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
            socket: self.redis.socket().await?,
            prefix: prefix(&self.place).len(),
            channel: prefix(&self.place),
            batch: self.place.knob("batch", BATCH).max(1),
            commands: BytesMut::new(),
            unwritten: 0,
            unanswered: 0,
            answers: BytesMut::new(),
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
        let mut subscriber =
            ChannelSubscriber { socket, channels, unread: BytesMut::new(), latest: Topic::new("none")? };
        // Redis's confirmation: from here on, nothing is missed.
        subscriber.reply().await.with_context(|| format!("cannot subscribe to {filter}"))?;
        Ok(subscriber)
    }
}

/// Publishes in pipelines. It writes Redis's protocol by hand, as the subscriber
/// reads it: a command of the crate costs more than Redis needs to handle it.
pub struct ChannelPublisher {
    socket: TcpStream,
    channel: String,
    /// How much of `channel` is the same for every topic.
    prefix: usize,
    batch: usize,
    commands: BytesMut,
    /// Commands in `commands`, and commands written that Redis has not answered.
    unwritten: usize,
    unanswered: usize,
    answers: BytesMut,
}

impl ChannelPublisher {
    async fn write(&mut self) -> Result<()> {
        // What Redis has to say must be read, or it would stop listening.
        self.answered(self.batch * (ON_THEIR_WAY - 1)).await?;
        self.socket.write_all(&self.commands).await.context("lost the connection to Redis")?;
        self.commands.clear();
        self.unanswered += std::mem::take(&mut self.unwritten);
        Ok(())
    }

    /// Waits until at most `left` commands are not answered.
    async fn answered(&mut self, left: usize) -> Result<()> {
        while self.unanswered > left {
            let read =
                self.socket.read_buf(&mut self.answers).await.context("lost the connection to Redis")?;
            ensure!(read > 0, "Redis has closed the connection");
            // An answer is `:COPIES`, on a line of its own.
            while let Some((_, _, end)) = header(&self.answers, 0)? {
                self.answers.advance(end);
                self.unanswered -= 1;
            }
        }
        Ok(())
    }
}

impl Publisher for ChannelPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.channel.truncate(self.prefix);
        self.channel.push_str(topic.as_str());
        self.commands.put_slice(b"*3\r\n$7\r\nPUBLISH\r\n");
        for part in [self.channel.as_bytes(), &body] {
            write!(self.commands, "${}\r\n", part.len())?;
            self.commands.put_slice(part);
            self.commands.put_slice(b"\r\n");
        }
        self.unwritten += 1;
        if self.unwritten >= self.batch || self.commands.len() >= PIPELINE_BYTES {
            self.write().await
        } else {
            Ok(())
        }
    }

    /// Redis answers a `PUBLISH` when it has queued the copies: so these are written.
    async fn flush(&mut self) -> Result<()> {
        self.write().await?;
        self.answered(0).await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}

/// Reads Redis's protocol by hand: the crate's own stream would read on into an
/// unbounded channel, and a slow subscriber would fill its memory instead of
/// being cut off.
pub struct ChannelSubscriber {
    socket: TcpStream,
    channels: String,
    unread: BytesMut,
    /// Events on one topic come in runs: its text is checked once a run.
    latest: Topic,
}

impl ChannelSubscriber {
    /// The last two strings of the next reply: its channel and its body.
    async fn reply(&mut self) -> Result<(Bytes, Bytes)> {
        loop {
            if let Some(reply) = split_reply(&mut self.unread)? {
                return Ok(reply);
            }
            if self.unread.capacity() - self.unread.len() < READ_BYTES / 8 {
                self.unread.reserve(READ_BYTES);
            }
            let read =
                self.socket.read_buf(&mut self.unread).await.context("lost the connection to Redis")?;
            ensure!(read > 0, "Redis has cut this subscriber off: it fell too far behind, or Redis stopped");
        }
    }
}

impl Subscriber for ChannelSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        let (channel, body) = self.reply().await?;
        let topic = channel.get(self.channels.len()..).context("a message from another place's channel")?;
        if topic != self.latest.as_str().as_bytes() {
            self.latest = Topic::new(std::str::from_utf8(topic).context("a channel that is not text")?)?;
        }
        Ok(Some(Event { topic: self.latest.clone(), body }))
    }
}

/// Splits off one whole reply: `*3 message CHANNEL BODY`, `*4 pmessage PATTERN
/// CHANNEL BODY`, or the confirmation of a subscription, which ends in a number.
fn split_reply(unread: &mut BytesMut) -> Result<Option<(Bytes, Bytes)>> {
    let Some((_, parts, mut at)) = header(unread, 0)? else { return Ok(None) };
    let (mut channel, mut body) = (0..0, 0..0);
    for _ in 0..parts {
        let Some((kind, number, start)) = header(unread, at)? else { return Ok(None) };
        let length = if kind == b'$' { number } else { 0 };
        channel = std::mem::replace(&mut body, start..start + length);
        at = if kind == b'$' { start + length + 2 } else { start };
    }
    if unread.len() < at {
        return Ok(None);
    }
    let reply = unread.split_to(at).freeze();
    Ok(Some((reply.slice(channel), reply.slice(body))))
}

/// A kind and a number, as in `$64\r\n`, and where the next thing starts.
fn header(unread: &[u8], at: usize) -> Result<Option<(u8, usize, usize)>> {
    let rest = unread.get(at..).unwrap_or_default();
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = std::str::from_utf8(&rest[..end]).context("Redis sent what is not its protocol")?;
    if let Some(error) = line.strip_prefix('-') {
        bail!("Redis refused: {}", error.trim_end());
    }
    let number = line.get(1..).and_then(|digits| digits.trim_end().parse().ok());
    let number = number.with_context(|| format!("Redis sent `{line}` where a number was due"))?;
    Ok(Some((rest[0], number, at + end + 1)))
}

fn prefix(place: &Place) -> String {
    format!("{}:", place.name())
}
