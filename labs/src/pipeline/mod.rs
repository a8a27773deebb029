//! Pipeline: a ventilator distributes tasks, workers share them, and a sink collects the
//! results.
//!
//! Shape: 1 ventilator, N workers, 1 sink. Peer to peer, ventilator and sink
//! bind, so that workers can come and go.
//!
//! What the constants of [`Lab`] mean here:
//!
//! - `GUARANTEE` covers tasks and results after `flush`. At most once: a worker that crashes
//!   loses the tasks it holds. At least once: another worker gets them, so a task may be done
//!   twice. Durable: tasks and results also survive kill -9 of the broker.
//! - `OVERLOAD`: when workers or the sink are too slow, `send` waits, messages are dropped, or
//!   the broker stores them.
//! - `JOIN` is confirmed in every lab: when `pull` returns, this end can receive tasks or
//!   results.
//!
//! Errors are transient or final as in [`crate::oneway`] and [`crate::queue`], whose ends these are.

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

/// Results that a sink has and has not acknowledged, at most. There is one sink, which shares with
/// nobody.
pub const RESULTS_UNACKED: usize = 1024;

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
    /// Each worker in turn, even if it does not keep up.
    RoundRobin,
    /// The worker that asks next: a slow worker gets fewer tasks.
    OnDemand,
    /// A random worker.
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
    /// How tasks are assigned to workers.
    const SHARING: Sharing;
    /// The sending end of a stage.
    type Push: Sender + 'static;
    /// The receiving end of a stage; its receipt is `()` if nothing is acknowledged.
    type Pull: Consumer<Item = Bytes> + 'static;
    /// The same transport's publish/subscribe, in the namespace `control`: carries
    /// `stop` from the sink to the workers.
    type Control: PubSub;
    /// Joins a stage at its sending end.
    async fn push(&self, stage: Stage) -> Result<Self::Push>;
    /// Joins a stage at its receiving end.
    async fn pull(&self, stage: Stage) -> Result<Self::Pull>;
}
