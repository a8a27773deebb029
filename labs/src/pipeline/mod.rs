//! Pipeline: a ventilator hands out tasks, workers share them, a sink
//! collects the results.
//!
//! Shape: 1 ventilator, N workers, 1 sink. Peer to peer, ventilator and sink
//! bind, so that workers can come and go.

use std::fmt;

use anyhow::Result;
use bytes::Bytes;

use crate::lab::Lab;
use crate::oneway::Sender;
use crate::pubsub::PubSub;
use crate::queue::Consumer;

pub mod inproc;
#[cfg(feature = "nats")]
pub mod jetstream;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "redis")]
pub mod redis_stream;
#[cfg(feature = "stomp")]
pub mod stomp;
pub mod tcp;
pub mod unix;
#[cfg(feature = "zeromq")]
pub mod zeromq;

/// Which of the two stages an end belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Ventilator to workers.
    Tasks,
    /// Workers to sink.
    Results,
}

impl Stage {
    /// The namespace of the place where the stage runs.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Results => "results",
        }
    }
}

/// Who decides which worker gets a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Each in turn, whether it keeps up or not.
    RoundRobin,
    /// Whoever asks next: a slow worker gets less.
    OnDemand,
    /// By chance.
    Random,
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundRobin => "round-robin",
            Self::OnDemand => "on demand",
            Self::Random => "random",
        })
    }
}

/// The pipeline contract.
///
/// Who joins what: the ventilator `push(Tasks)`, a worker `pull(Tasks)` and
/// `push(Results)`, the sink `pull(Results)`. A worker flushes a result before
/// it acks the task the result came from.
pub trait Pipeline: Lab {
    /// How tasks are shared out.
    const SHARING: Sharing;
    /// The end that hands on.
    type Push: Sender;
    /// The end that takes; its receipt is `()` where nothing is acknowledged.
    type Pull: Consumer<Item = Bytes>;
    /// The same transport's publish/subscribe, in the namespace `control`: carries
    /// `stop` from the sink to the workers.
    type Control: PubSub;
    /// Joins a stage at its handing end.
    async fn push(&self, stage: Stage) -> Result<Self::Push>;
    /// Joins a stage at its taking end.
    async fn pull(&self, stage: Stage) -> Result<Self::Pull>;
}
