//! The result bundle: what a run leaves behind, and how it is written so that
//! nothing finished is ever lost.
//!
//! `run.json` holds everything a reader needs; `raw/` holds each trial's
//! histograms (HdrHistogram V2, deflated, base64: what other tools read too)
//! and its interval series. The file is replaced atomically after every trial.

mod disk;
mod load;
pub mod private;
mod search;

use std::collections::BTreeMap;

use anyhow::Result;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use disk::Bundle;
pub use load::{Arrivals, Load, LoadKind};
pub use search::{Attempt, Capacity, Objective, Part, Point, Purpose, Step, Subject, Sweep};

/// The version of the result format; older ones are read, newer ones refused.
pub const SCHEMA: u32 = 2;

/// The pattern of cells that are no lab but the wire beneath labs.
pub const FLOOR: &str = "floor";

/// A whole run: `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Run {
    /// The version of this format.
    pub schema: u32,
    /// The run's name: the last part of its folder's name.
    pub name: String,
    /// When it began, RFC 3339 with offset.
    pub created: String,
    /// The seed of everything random in it: order, arrivals, bootstrap.
    pub seed: u64,
    /// Whether every planned trial was made (or has failed for a reason).
    pub complete: bool,
    /// The machine.
    pub host: Host,
    /// What ran.
    pub versions: Versions,
    /// How quiet the machine was before the first trial.
    pub noise: Noise,
    /// What was asked for.
    pub plan: Plan,
    /// One cell for each lab, size, shape, setting of the axes, and load.
    pub cells: Vec<Cell>,
    /// What each lab can sustain, for loads of the kind `capacity` and `sweep`.
    #[serde(default)]
    pub capacities: Vec<Capacity>,
    /// Latency against load, for loads of the kind `sweep`.
    #[serde(default)]
    pub sweeps: Vec<Sweep>,
    /// Labs that were asked for and could not run, with the reason.
    pub skipped: Vec<Skipped>,
    /// By how much its intervals were widened; null: they are as the bootstrap gave them.
    #[serde(default)]
    pub widening: Option<Widening>,
}

/// How much wider than the bootstrap's the intervals of a run are, because runs
/// of the same plan on the same machine were seen to differ by more than their
/// trials do. Written by `lab agree --save`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Widening {
    /// Each end of an interval is this many times as far from the figure, by the logarithm.
    pub factor: f64,
    /// No interval's half is taken to be less than this before that, as a share of the figure.
    pub least: f64,
    /// The bundles that were compared.
    pub from: Vec<String>,
    /// The share of their figures whose own intervals overlapped, 0 to 1.
    pub agreed: f64,
}

/// The machine a run was made on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Host {
    /// Host name.
    pub name: String,
    /// CPU model as the kernel names it.
    pub cpu: String,
    /// Logical CPUs this process may use.
    pub cores: usize,
    /// Kernel release and architecture.
    pub kernel: String,
    /// Installed memory, bytes.
    pub memory_bytes: u64,
    /// CPU frequency governor, where the kernel shows one.
    pub governor: Option<String>,
    /// The kernel's clock source: `tsc` is cheap to read, others may not be.
    pub clocksource: Option<String>,
    /// The hypervisor's mark, where the CPU shows one.
    pub virtualized: bool,
    /// Load averages (1, 5, 15 minutes) at the start.
    pub load: [f64; 3],
    /// CPUs' worth of time that the control group allows; null: no limit.
    #[serde(default)]
    pub cpu_quota: Option<f64>,
    /// Whether several logical CPUs share a core (hyper-threading); null where the kernel does not say.
    #[serde(default)]
    pub smt: Option<bool>,
    /// Whether the CPU may exceed its base frequency for a while; null where the kernel does not say.
    #[serde(default)]
    pub turbo: Option<bool>,
    /// NUMA nodes: with more than one, memory is near for some CPUs and far for others.
    #[serde(default)]
    pub numa_nodes: Option<usize>,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    #[serde(default)]
    pub hugepages: Option<String>,
    /// How much later than asked for the kernel may wake a thread to save power, ns. It holds for sleeps
    /// and timeouts, not for the timers that pace.
    #[serde(default)]
    pub timer_slack_ns: Option<u64>,
    /// Settings of TCP and of sockets, by their sysctl names.
    #[serde(default)]
    pub network: BTreeMap<String, String>,
    /// What kind of container this is, if it is one.
    #[serde(default)]
    pub container: Option<String>,
    /// What kind of virtual machine, where it says so.
    #[serde(default)]
    pub hypervisor: Option<String>,
    /// Whether it runs on its battery; null where there is none.
    #[serde(default)]
    pub on_battery: Option<bool>,
}

/// What ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Versions {
    /// This program's version.
    pub lab: String,
    /// Its source revision, `-dirty` when it had uncommitted changes.
    pub git: Option<String>,
    /// The compiler it was built with.
    pub rustc: String,
    /// How it was built: `release`, or `debug`, whose speeds say nothing; then the level of optimisation.
    #[serde(default)]
    pub profile: String,
    /// Broker name to version, as the broker says it.
    pub brokers: BTreeMap<String, String>,
    /// Broker name to its settings in effect, as read back or as given to a private one.
    #[serde(default)]
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
    /// Client library to version.
    pub crates: BTreeMap<String, String>,
}

/// How quiet the machine was: an idle thread's oversleep, measured before the first trial.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Noise {
    /// Median oversleep of a 1 ms sleep, ns.
    pub oversleep_p50_ns: u64,
    /// 99th percentile of it, ns.
    pub oversleep_p99_ns: u64,
    /// Its maximum, ns.
    pub oversleep_max_ns: u64,
    /// Share of CPU time stolen by the hypervisor meanwhile, 0 to 1.
    pub steal: f64,
    /// Share of the machine's CPU time used by others meanwhile, 0 to 1.
    pub foreign_cpu: f64,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Plan {
    /// `quick`, `standard`, `full`, or the plan file's name.
    pub name: String,
    /// Names and globs of labs.
    pub labs: Vec<String>,
    /// Declared message sizes, bytes.
    pub sizes: Vec<u64>,
    /// Loads each lab is put under.
    pub loads: Vec<Load>,
    /// Trials of each cell.
    pub trials: usize,
    /// Warm-up before each measurement, seconds.
    pub warmup_s: f64,
    /// Measured time of each trial, seconds.
    pub seconds: f64,
    /// Longest wait for what is in flight at the end, seconds.
    pub drain_s: f64,
    /// Senders (requesters, publishers, producers) of a trial: one number, or an axis.
    #[serde(deserialize_with = "one_or_many")]
    pub senders: Vec<usize>,
    /// Receivers (responders, subscribers, workers, consumers) of a trial: one number, or an axis.
    #[serde(deserialize_with = "one_or_many")]
    pub receivers: Vec<usize>,
    /// Most messages sent and not yet received by the slowest receiver, for `max` loads; null: no bound.
    pub window: Option<u64>,
    /// Knobs set from outside to one value for all cells.
    pub knobs: BTreeMap<String, usize>,
    /// Knobs that are axes: every value makes cells of its own.
    #[serde(default)]
    pub axes: BTreeMap<String, Vec<usize>>,
    /// What a load must keep to be called sustainable, for `capacity` and `sweep`.
    #[serde(default)]
    pub objective: Objective,
    /// CPUs the roles were pinned to, where they were.
    pub cpus: Option<String>,
    /// Whether the wire floor beneath each lab was measured, too.
    #[serde(default)]
    pub floor: bool,
    /// Whether every single message was recorded, in `raw/CELL.TRIAL.messages.csv`.
    #[serde(default)]
    pub record: bool,
    /// When the private broker was made to stand still in each trial; null: never.
    #[serde(default)]
    pub pause: Option<Pause>,
}

/// A broker that stands still for a while, as one does that writes a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Pause {
    /// Seconds from the beginning of the measured time.
    pub at_s: f64,
    /// For how long, seconds.
    pub for_s: f64,
}

/// When a broker stood still, ns from the common start (warm-up included).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Paused {
    /// When it should have been stopped.
    pub asked_ns: u64,
    /// When every process of it had been sent SIGSTOP.
    pub began_ns: u64,
    /// When its processes were about to be sent SIGCONT.
    pub ended_ns: u64,
}

/// One lab under one load with one size and shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Cell {
    /// Unique in the run, and the stem of its files in `raw/`: `pubsub-redis.64B.1x1.max`.
    pub id: String,
    /// The lab.
    pub lab: String,
    /// Its pattern.
    pub pattern: String,
    /// Its transport.
    pub transport: String,
    /// Its variant.
    pub variant: Option<String>,
    /// What survives: `at-most-once`, `at-least-once`, `durable`.
    pub guarantee: String,
    /// Why the guarantee is lower than the lab's own, where it is.
    pub guarantee_note: Option<String>,
    /// What happens when the receiver is too slow: `waits`, `drops`, `disconnects`, `stores`.
    pub overload: String,
    /// The broker in between, if any.
    pub broker: Option<String>,
    /// Where the lab's code is read.
    pub source: String,
    /// Declared message size, bytes; a 32-byte header is part of it.
    pub size: u64,
    /// Senders.
    pub senders: usize,
    /// Receivers.
    pub receivers: usize,
    /// The load.
    pub load: Load,
    /// Knobs the lab read, with their values.
    pub knobs: BTreeMap<String, usize>,
    /// Of these, the ones that are axes of the plan: what sets this cell apart.
    #[serde(default)]
    pub set: BTreeMap<String, usize>,
    /// The search or sweep it was made for; null for a cell of the plan's own.
    #[serde(default)]
    pub part_of: Option<Part>,
    /// Every trial, in the order made.
    pub trials: Vec<Trial>,
    /// What the good trials say together; null while there is none.
    pub summary: Option<Summary>,
    /// The cell of the wire floor beneath it: bytes encoded beforehand, through
    /// plain sockets, over the same transport at the same size and load. Floors
    /// are cells of the pattern `floor`. They keep no account: `lost` is how many
    /// more were sent than received, and their other counts stay 0.
    #[serde(default)]
    pub floor: Option<String>,
}

impl Cell {
    /// How many trials were good. Of one, there is no interval.
    pub fn good_trials(&self) -> usize {
        self.trials.iter().filter(|trial| trial.failed.is_none()).count()
    }

    /// Whether it is not a lab but a wire floor.
    pub fn is_floor(&self) -> bool {
        self.pattern == FLOOR
    }

    /// Whether it is a lab's, and one of the plan's own: not part of a search or a sweep.
    pub fn is_answer(&self) -> bool {
        !self.is_floor() && self.part_of.is_none()
    }
}

impl Run {
    /// What the wire floor beneath a cell came to.
    pub fn floor(&self, cell: &Cell) -> Option<&Summary> {
        let wanted = cell.floor.as_ref()?;
        self.cells.iter().find(|floor| floor.id == *wanted)?.summary.as_ref()
    }

    /// The share of the wire's throughput that a cell reaches, at maximum load.
    pub fn share(&self, cell: &Cell) -> Option<f64> {
        let wire = self.floor(cell)?.throughput_per_s.median;
        let own = cell.summary.as_ref()?.throughput_per_s.median;
        (wire > 0.0 && cell.load.kind == LoadKind::Max).then_some(own / wire)
    }

    /// How many times the wire's a cell's median response time is, at a rate.
    pub fn times(&self, cell: &Cell) -> Option<f64> {
        let wire = self.floor(cell)?.response_ns.p50?;
        let own = cell.summary.as_ref()?.response_ns.p50?;
        (wire > 0 && cell.load.kind == LoadKind::Rate).then_some(own as f64 / wire as f64)
    }
}

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
    /// Measured time, seconds; 0 in bundles that do not say it, where it is the plan's.
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
    /// What was going on beside it.
    pub noise: Noise,
    /// What is not to be believed about it.
    pub flags: Vec<Flag>,
    /// When the broker stood still, where that was asked for.
    #[serde(default)]
    pub paused: Option<Paused>,
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
    /// In flight when a role was killed: neither lost nor delivered can be said.
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

/// A median with a bootstrap interval (95 %) over the trials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Estimate {
    /// The median of the trials; for a percentile, that of their merged histogram.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// What the good trials of a cell say together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Summary {
    /// Received messages a second.
    pub throughput_per_s: Estimate,
    /// Sums over the trials (distance: the maximum).
    #[serde(flatten)]
    pub counts: Counts,
    /// From the merged histograms.
    pub response_ns: Percentiles,
    /// The p50 of `response_ns` with its interval; null where that is withheld.
    #[serde(default)]
    pub response_p50_ns: Option<Estimate>,
    /// The p99 of `response_ns` with its interval; null where that is withheld.
    #[serde(default)]
    pub response_p99_ns: Option<Estimate>,
    /// From the merged histograms.
    pub service_ns: Percentiles,
    /// From the merged histograms.
    pub lag_ns: Percentiles,
    /// From the merged histograms.
    #[serde(default)]
    pub pacer_ns: Option<Percentiles>,
    /// From the merged histograms.
    pub confirm_ns: Option<Percentiles>,
    /// From the merged histograms.
    #[serde(default)]
    pub hops_ns: Option<Hops<Percentiles>>,
    /// Sums over the trials, worker by worker; empty for other patterns than pipelines.
    #[serde(default)]
    pub shares: Vec<u64>,
    /// Medians over the trials.
    pub cost: BTreeMap<String, Cost>,
    /// Every flag that at least one good trial has, and `too-few-samples`.
    pub flags: Vec<Flag>,
}

/// Why a figure is not to be believed as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// The load generator, not the lab, set the figure.
    GeneratorLimited,
    /// The two halves of the measurement differ by more than a fifth.
    Unsteady,
    /// Too few samples for the 99th percentile.
    TooFewSamples,
    /// A message was received before it was sent, by the clock.
    NegativeLatency,
    /// Others used the machine, or the hypervisor took it away.
    NoisyMachine,
}

impl Flag {
    /// The name in results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GeneratorLimited => "generator-limited",
            Self::Unsteady => "unsteady",
            Self::TooFewSamples => "too-few-samples",
            Self::NegativeLatency => "negative-latency",
            Self::NoisyMachine => "noisy-machine",
        }
    }
}

/// A lab that was asked for and could not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Skipped {
    /// The lab.
    pub lab: String,
    /// Why, and what to do about it.
    pub reason: String,
}

/// One trial's raw recording: `raw/CELL.TRIAL.json`.
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

/// Bundles made before senders and receivers could be axes have one number.
fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(usize),
        Many(Vec<usize>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(one) => vec![one],
        Either::Many(many) => many,
    })
}

/// The JSON schema of `run.json`, generated from the types above.
#[cfg(feature = "schema")]
pub fn schema() -> Result<String> {
    disk::pretty(&schemars::schema_for!(Run))
}

/// The JSON schema of `run.json`, as it was generated and committed: CI holds it to the types.
#[cfg(not(feature = "schema"))]
pub fn schema() -> Result<String> {
    Ok(include_str!("../../docs/schema.json").to_owned())
}
