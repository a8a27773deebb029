//! A pipeline over Redis lists: a queue of tasks and a queue of results.
//!
//! Wire: the sending end pushes at the tail (`RPUSH`); it is the sender of `oneway/redis.rs`. The
//! receiving end is the consumer of `queue/redis/mod.rs`: it moves items to a list of its own
//! (`LMOVE`; `BLMOVE` waits), and an ack removes an item there (`LREM`). Tasks go to the worker
//! that asks next, a few at a time (`prefetch`). The signal to stop the workers goes through
//! `pubsub/redis.rs`.
//!
//! Confirms: a task or a result when Redis has answered its `RPUSH`; `flush` waits for all answers.
//! By the contract, a worker flushes its result before it acks the task.
//!
//! Survives: kill -9 of a worker or of the sink: what it held goes to another, or to its successor,
//! when its lease has expired (`lease-ms`). A cut connection loses nothing: the recovery layer
//! (`labs/src/recovery/`) connects and joins again, and what was not flushed or not acked is sent
//! again, and may come twice. After a restart of Redis the roles join again, too.
//!
//! Loses: tasks and results that were not confirmed when the process that sent them died;
//! everything when Redis dies, unless it runs with `appendonly yes`. The tasks of a worker that
//! stalls for longer than its lease may be done twice, too.
//!
//! Run it: `just lab pipeline-redis`. Watch it: `redis-cli LLEN PLACE.tasks:queue`.

use anyhow::Result;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::redis::{BATCH, ListSender};
use crate::pipeline::{Pipeline, RESULTS_UNACKED, Sharing, Stage};
use crate::pubsub::redis::RedisChannels;
use crate::queue::AttemptLimit;
use crate::queue::redis::{LEASE_MS, ListConsumer, WAIT_MS, queue};
use crate::wire::redis::{self as wire, Redis};

const PREFETCH: Knob = Knob::new(
    "prefetch",
    32,
    "Tasks a worker holds at once: fewer are shared more evenly, more save round trips.",
);

/// Two queues, and the control channel (`pubsub/redis.rs`).
pub struct RedisLists {
    place: Place,
    redis: Redis,
}

impl Lab for RedisLists {
    const TRANSPORT: &'static str = "redis";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const BROKER_SINCE: Option<(u32, u32)> = Some((7, 0));
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[PREFETCH, BATCH, LEASE_MS, WAIT_MS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        for stage in [Stage::Tasks, Stage::Results] {
            wire::remove_keys(&place.namespace(stage.namespace())).await?;
        }
        RedisChannels::remove(&place.namespace("control")).await
    }
}

impl Pipeline for RedisLists {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = ListSender;
    type Pull = ListConsumer;
    type Control = RedisChannels;

    async fn push(&self, stage: Stage) -> Result<ListSender> {
        let place = self.place.namespace(stage.namespace());
        ListSender::to(&place, &self.redis, queue(&place)).await
    }

    async fn pull(&self, stage: Stage) -> Result<ListConsumer> {
        let prefetch = match stage {
            Stage::Tasks => self.place.knob(PREFETCH),
            Stage::Results => RESULTS_UNACKED,
        };
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        let place = self.place.namespace(stage.namespace());
        ListConsumer::join(&place, &self.redis, prefetch, AttemptLimit::NEVER).await
    }
}
