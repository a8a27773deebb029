//! A pipeline over Redis streams: a stream of tasks and a stream of results, each with one consumer group.
//!
//! Wire: the sending end appends (`XADD`, many in one pipeline). The receiving end is the consumer of
//! `queue/redis_stream.rs`: it reads (`XREADGROUP`), acks (`XACK` and `XDEL`), and takes over entries that
//! have been pending for `claim-ms` (`XAUTOCLAIM`). Tasks go to the worker that asks next, a few at a time
//! (`prefetch`). The signal to stop the workers goes through `pubsub/redis_stream.rs`.
//!
//! Confirms: a task or a result when Redis has answered its `XADD`; `flush` waits for all answers. By the
//! contract, a worker flushes its result before it acks the task.
//!
//! Survives: kill -9 of a worker or of the sink: what it held goes to another, or to its successor, after
//! `claim-ms`, when one next looks (every `look-ms`). Kill -9 of Redis with `appendonly yes` and
//! `appendfsync` `always` or `no`: both write to the kernel before Redis answers. A cut connection loses
//! nothing: the recovery layer (`labs/src/recovery/`) connects and joins again, and what was not flushed or
//! not acked is sent again, and may come twice. After a restart of Redis the roles join again, too.
//!
//! Loses: tasks and results that were not confirmed when the process that sent them died. Without
//! `appendonly yes`, everything when Redis dies; with `appendfsync everysec` (its default), what it confirmed
//! while the disk was busy, because only then does it answer before it writes. A task also comes again if it
//! is not acked within `claim-ms` of its delivery: waiting in the consumer behind others counts, and the lab
//! never extends the time.
//!
//! Run it: `just lab pipeline-redis-stream`. Watch it: `redis-cli XPENDING PLACE.tasks:stream consumers`.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::Sender;
use crate::pipeline::{Pipeline, RESULTS_UNACKED, Sharing, Stage};
use crate::pubsub;
use crate::queue::AttemptLimit;
use crate::queue::redis_stream::StreamConsumer;
use crate::wire::redis::stream::{self, stream};
use crate::wire::redis::{self as wire, CommandBatch, Redis, group};

const PREFETCH: Knob = Knob::new(
    "prefetch",
    32,
    "Tasks a worker holds at once: fewer are shared more evenly, more save round trips.",
);

/// Two streams with a group each, and the control channel's log (`pubsub/redis_stream.rs`).
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
    const KNOBS: &'static [Knob] = &[PREFETCH, stream::BATCH, group::CLAIM_MS, group::LOOK_MS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        for namespace in [Stage::Tasks.namespace(), Stage::Results.namespace(), "control"] {
            wire::remove_keys(&place.namespace(namespace)).await?;
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
        let (connection, batch) = (self.redis.connect().await?, place.knob(stream::BATCH));
        Ok(StreamPush { commands: CommandBatch::new(connection, batch), stream: stream(&place) })
    }

    async fn pull(&self, stage: Stage) -> Result<StreamConsumer> {
        let prefetch = match stage {
            Stage::Tasks => self.place.knob(PREFETCH),
            Stage::Results => RESULTS_UNACKED,
        };
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        let place = self.place.namespace(stage.namespace());
        StreamConsumer::join(&place, &self.redis, prefetch, AttemptLimit::NEVER).await
    }
}

/// Appends to the stream of a stage.
pub struct StreamPush {
    commands: CommandBatch,
    stream: String,
}

impl Sender for StreamPush {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        let mut add = redis::cmd("XADD");
        add.arg(&self.stream).arg("*").arg("body").arg(&body[..]);
        self.commands.put(add, body.len()).await
    }

    /// Confirmed: Redis has answered with the identifier of every entry.
    async fn flush(&mut self) -> Result<()> {
        self.commands.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.commands.flush().await
    }
}
