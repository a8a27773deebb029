//! One trial: its figures in `run.json`, and its raw recording.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Flag, Load, LoadKind, Noise, Paused};

/// One trial of a cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Trial {
    /// 0, 1, 2 …
    pub index: usize,
    /// Place in the random order of all trials.
    pub position: usize,
    /// Seed of this trial's arrivals.
    pub seed: u64,
    /// Measured time, seconds; 0 in result sets that do not say it, where it is the plan's.
    #[serde(default)]
    pub seconds: f64,
    /// Why it failed; null for a good trial.
    pub failed: Option<String>,
    /// Received in the measured window, messages a second. For publish/subscribe all subscribers together.
    pub throughput_per_s: f64,
    /// Messages due in the measured time, over all senders; 0 in a closed loop.
    #[serde(default)]
    pub due: u64,
    /// Messages sent and not yet received when the measured time began and when
    /// it ended (deliveries, for publish/subscribe). A backlog that grows says
    /// that the load is more than the lab sustains.
    #[serde(default)]
    pub backlog: [u64; 2],
    /// For loads of the kind `drain`: how the backlog was filled and drained.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// What became of every message, warm-up and drain included.
    pub counts: Counts,
    /// Latency from the scheduled time.
    pub response_ns: Percentiles,
    /// Latency from the send.
    pub service_ns: Percentiles,
    /// From scheduled time to send.
    pub lag_ns: Percentiles,
    /// The pacer's own error, from the time it was asked to wake at to the wake-up: the part of lag
    /// that does not come from waiting for the lab. Null where nothing was paced, as in a closed loop.
    #[serde(default)]
    pub pacer_ns: Option<Percentiles>,
    /// From send to confirmation, where the pattern has one.
    pub confirm_ns: Option<Percentiles>,
    /// Where the time of a pipeline's messages went, at a rate.
    #[serde(default)]
    pub hops_ns: Option<Hops<Percentiles>>,
    /// Results that each worker of a pipeline handed on, worker 0 first, warm-up
    /// and drain included; empty for other patterns.
    #[serde(default)]
    pub shares: Vec<u64>,
    /// What it cost, by role (`sender`, `receiver`, `worker` … and `broker`).
    pub cost: BTreeMap<String, Cost>,
    /// Share of the CPU time of the whole trial (roles, broker, harness) that the harness itself
    /// used in the measured time: its process that supervises, and senders that look whether a
    /// full window has room. 0 to 1; null where it was not measured.
    #[serde(default)]
    pub harness_cpu: Option<f64>,
    /// What was going on beside it.
    pub noise: Noise,
    /// What is not to be believed about it.
    pub flags: Vec<Flag>,
    /// When the broker stood still, where that was asked for.
    #[serde(default)]
    pub paused: Option<Paused>,
    /// The roles that ran elsewhere, each with its host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<RoleHost>,
    /// How far from the truth times may be that were taken on both sides of a network, ns; null
    /// where all were taken by one clock. Times are withheld where it exceeds a tenth of their p50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_bound_ns: Option<u64>,
}

impl Trial {
    /// 1, 2, 3 …, for a reader; a result set that somebody else wrote may hold any index.
    pub fn number(&self) -> usize {
        self.index.saturating_add(1)
    }

    /// Whether most of the messages that were received in the measured time, at full speed, had been
    /// sent before it: fewer than half as many were sent in it as were received. Then the senders' CPU
    /// time is not the cost of these messages, and the throughput says how fast stored messages are
    /// consumed. It says nothing of a baseline, which does not record when it sends.
    pub fn is_sent_before(&self, load: &Load) -> bool {
        let received = self.throughput_per_s * self.seconds;
        // A publication to two subscribers is received twice.
        let of_each = self.counts.sent as f64 / (self.counts.received.max(1)) as f64;
        load.kind == LoadKind::Max && (self.lag_ns.count as f64) < 0.5 * received * of_each
    }
}

/// Where a role ran that was started elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct RoleHost {
    /// The role: `receiver-0`.
    pub role: String,
    /// The host's name, its CPU and how many logical CPUs it has.
    pub host: String,
    /// As its kernel names it.
    pub cpu: String,
    /// Logical CPUs.
    pub cores: usize,
    /// Its clock less that of the host that measured, ns.
    pub clock_offset_ns: i64,
    /// How far from the truth that may be, ns: half of the shortest round trip, and the drift over
    /// the trial.
    pub clock_bound_ns: u64,
    /// How quiet it was while the role ran.
    #[serde(default)]
    pub noise: Noise,
}

/// A backlog: queued up while no consumer took anything, then drained. The
/// trial's `throughput_per_s` is the rate of draining.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Drain {
    /// Messages that were queued up.
    pub messages: u64,
    /// From the first send to the last confirmation, seconds.
    pub fill_s: f64,
    /// From the consumers' start to the last message received, seconds.
    pub drain_s: f64,
}

/// What became of the messages. Numbers are messages; for publish/subscribe,
/// `received`, `lost` and what follows count deliveries, one a subscriber.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Counts {
    /// Handed to the client, what it refused included.
    pub sent: u64,
    /// Distinct messages received.
    pub received: u64,
    /// Deliveries expected, not refused, and not received.
    pub lost: u64,
    /// The client said no.
    pub refused: u64,
    /// Lost, and never confirmed.
    pub unconfirmed_lost: u64,
    /// Lost although confirmed.
    pub confirmed_lost: u64,
    /// Not confirmed when a role was killed, and not received: lost or on the way.
    pub indeterminate: u64,
    /// Received again.
    pub duplicated: u64,
    /// Marked as redelivered by the transport, received before or not.
    pub redelivered: u64,
    /// Received after a later one of the same sender.
    pub reordered: u64,
    /// How far back the furthest reordered one was, messages.
    pub reorder_distance: u64,
    /// Checksum or header wrong.
    pub corrupt: u64,
    /// Belonged to another run or role.
    pub misrouted: u64,
    /// Missing when the trial failed: they may be lost, or still be in the broker's store or on
    /// the way. Such messages are not called lost.
    #[serde(default)]
    pub unaccounted: u64,
    /// Peers that broke the protocol and were disconnected, by all roles.
    #[serde(default)]
    pub peers_disconnected: u64,
    /// Messages that no lab wrote, skipped by all roles.
    #[serde(default)]
    pub messages_skipped: u64,
    /// Received before it was sent, by the clock: an error, counted.
    pub negative: u64,
    /// Times the window was given up because nothing moved.
    pub window_resets: u64,
}

/// Percentiles in nanoseconds. One that is withheld for too few samples is
/// null: pX needs at least 10/(1-X) of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Percentiles {
    /// Median.
    pub p50: Option<u64>,
    /// 90th.
    pub p90: Option<u64>,
    /// 99th.
    pub p99: Option<u64>,
    /// 99.9th.
    pub p999: Option<u64>,
    /// Maximum.
    pub max: Option<u64>,
    /// Mean.
    #[serde(default)]
    pub mean: Option<u64>,
    /// Samples.
    pub count: u64,
}

/// The way of a pipeline's messages, hop by hop. The first three of a message
/// sum up to its response time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Hops<T> {
    /// From due at the ventilator to taken by a worker; the ventilator's lag is part of it.
    pub task_queued: T,
    /// From taken to the result handed on, by the worker.
    pub worked: T,
    /// From handed on to received by the sink.
    pub result_queued: T,
    /// From received to settled by the sink, which acknowledges in batches.
    pub collected: T,
}

impl<T> Hops<T> {
    /// The hops in the order of time, each with its name.
    pub fn named(&self) -> [(&'static str, &T); 4] {
        [
            ("task queued", &self.task_queued),
            ("worked", &self.worked),
            ("result queued", &self.result_queued),
            ("collected", &self.collected),
        ]
    }

    /// The same of each hop.
    pub fn map<U>(&self, each: impl Fn(&T) -> U) -> Hops<U> {
        Hops {
            task_queued: each(&self.task_queued),
            worked: each(&self.worked),
            result_queued: each(&self.result_queued),
            collected: each(&self.collected),
        }
    }
}

/// What a role (all its instances together) or the broker cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Cost {
    /// CPU time, user and system, per message the receivers got, ns.
    pub cpu_ns_per_msg: f64,
    /// Context switches per message; null where they cannot be read.
    pub switches_per_msg: Option<f64>,
    /// Peak resident memory, bytes.
    pub rss_bytes: u64,
    /// Calls that hand bytes to the kernel (`write`, `writev`, `send`, `sendto`, `sendmsg`), on sockets,
    /// pipes and files, per message; null where they cannot be counted.
    #[serde(default)]
    pub writes_per_msg: Option<f64>,
    /// Bytes that the kernel took in them, per message, the protocol's own included; null where they
    /// cannot be counted.
    #[serde(default)]
    pub bytes_per_msg: Option<f64>,
    /// Times a role asked for memory, per message; null for brokers.
    #[serde(default)]
    pub allocations_per_msg: Option<f64>,
}

/// One trial's raw recording: `CELL.TRIAL.json` of the raw data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Raw {
    /// HdrHistogram of response times in ns, V2 deflated, base64; empty text: no samples.
    pub response: String,
    /// Of service times.
    pub service: String,
    /// Of lag.
    pub lag: String,
    /// Of the pacer's error.
    #[serde(default)]
    pub pacer: String,
    /// Of confirmation times.
    pub confirm: String,
    /// Of a pipeline's hops, at a rate.
    #[serde(default)]
    pub hops: Option<Hops<String>>,
    /// Length of an interval of `series`, ns.
    pub interval_ns: u64,
    /// Where the measured window begins, in ns from the start of `series`.
    pub measure_from_ns: u64,
    /// What each interval saw, from the common start on.
    pub series: Vec<Interval>,
}

/// What one interval of a trial saw, over all receivers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Interval {
    /// Messages received.
    pub received: u64,
    /// Largest response time of them, ns; 0 where none was received.
    pub max_ns: u64,
    /// Sum of their response times, ns, for the mean.
    pub sum_ns: u64,
    /// Messages that were due in it, over all senders; 0 in a closed loop.
    #[serde(default)]
    pub offered: u64,
}
