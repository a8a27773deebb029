//! A pipeline over Redis streams: one of tasks, one of results, each with a
//! consumer group: the queue of `queue/redis_stream.rs`, twice. The log of
//! `pubsub/redis_stream.rs` carries `stop`.
//!
//! Tasks go to whoever asks next. Promises: the tasks of a worker that dies go
//! to another when they have been pending for `claim-ms`, and since a result is
//! confirmed before its task is acked, no result is lost; some may come twice.
//! Survives kill -9 of Redis, with `appendonly yes` and `appendfsync` not
//! `everysec`. A task that takes longer than `claim-ms` is done twice.
//!
//! Run it: `just lab pipeline-redis-stream`. Watch it: `redis-cli XPENDING PLACE.tasks:stream consumers`.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::Sender;
use crate::pipeline::{Pipeline, Sharing, Stage};
use crate::pubsub;
use crate::queue::redis_stream::StreamConsumer;
use crate::wire::redis::{self as wire, Redis};
use crate::wire::stream::{self, Appender, stream};

const PREFETCH: Knob = Knob::new(
    "prefetch",
    32,
    "Tasks a worker holds at once: fewer are shared more evenly, more save round trips.",
);

/// Two streams with a group each, and a log.
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
    const KNOBS: &'static [Knob] = &[PREFETCH, stream::BATCH, stream::CLAIM_MS, stream::LOOK_MS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        for part in [Stage::Tasks.namespace(), Stage::Results.namespace(), "control"] {
            wire::remove_keys(&place.namespace(part)).await?;
        }
        Ok(())
    }
}

impl Pipeline for RedisStream {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = StreamPush;
    type Pull = StreamConsumer;
    type Control = pubsub::redis_stream::RedisStream;

    async fn push(&self, stage: Stage) -> Result<StreamPush> {
        let place = self.place.namespace(stage.namespace());
        Ok(StreamPush { appender: Appender::new(&place, &self.redis).await?, stream: stream(&place) })
    }

    async fn pull(&self, stage: Stage) -> Result<StreamConsumer> {
        let prefetch = match stage {
            Stage::Tasks => self.place.knob(PREFETCH),
            // There is one sink, and nobody to share with.
            Stage::Results => 1024,
        };
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        StreamConsumer::join(&self.place.namespace(stage.namespace()), &self.redis, prefetch).await
    }
}

/// Appends to the stream of a stage.
pub struct StreamPush {
    appender: Appender,
    stream: String,
}

impl Sender for StreamPush {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.appender.append(&self.stream, None, &[("body", &body)]).await
    }

    /// Confirmed: Redis has answered with the identifier of every entry.
    async fn flush(&mut self) -> Result<()> {
        self.appender.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.appender.flush().await
    }
}
