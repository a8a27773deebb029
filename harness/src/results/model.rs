//! `run.json`: a whole run, what was asked for, and its cells.

use std::collections::BTreeMap;

use anyhow::Result;
use labs::catalog::Pattern;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Capacity, Host, Load, LoadKind, Noise, Objective, Part, Summary, Sweep, Trial, Versions};

/// The pattern of cells that are no lab but the wire beneath labs.
pub const FLOOR: &str = "floor";
/// The lab of the cell that is a plain TCP socket with replies, which measures a round trip by one
/// clock wherever roles run.
pub const ECHO: &str = "floor-reqrep-tcp";

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
    pub cells: Vec<BenchmarkCase>,
    /// What each lab can sustain, for loads of the kind `capacity` and `sweep`.
    #[serde(default)]
    pub capacities: Vec<Capacity>,
    /// Latency against load, for loads of the kind `sweep`.
    #[serde(default)]
    pub sweeps: Vec<Sweep>,
    /// Labs that were asked for and could not run, with the reason.
    pub skipped: Vec<Skipped>,
    /// Where each broker came from: `program`, `wheel` or `embedded` for a private one; the
    /// address without login for the user's own. Empty in result sets that do not say it.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
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
    /// The result sets that were compared.
    pub from: Vec<String>,
    /// The share of their figures whose own intervals overlapped, 0 to 1.
    pub agreed: f64,
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
    /// Trials of each benchmark case.
    pub trials: usize,
    /// Warm-up before each measurement, seconds.
    pub warmup_s: f64,
    /// Measured time of each trial, in seconds, seconds.
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
    /// Whether every single message was recorded, in `CELL.TRIAL.messages.csv` of the raw data.
    #[serde(default)]
    pub record: bool,
    /// When the private broker was paused (SIGSTOP) in each trial; null: never.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// Roles that were started elsewhere: the command in front of each one's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub launch: BTreeMap<String, String>,
    /// The program on the other side; null: at the same path as here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_program: Option<String>,
    /// The address that binding roles listened at; null: loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
}

impl Plan {
    /// The names of the fields in which another plan differs.
    pub fn differences(&self, other: &Self) -> Result<Vec<String>> {
        let fields = |plan: &Self| {
            serde_json::to_value(plan).map(|value| value.as_object().cloned().unwrap_or_default())
        };
        let (mine, theirs) = (fields(self)?, fields(other)?);
        let differ = mine.into_iter().filter(|(name, value)| theirs.get(name) != Some(value));
        Ok(differ.map(|(name, _)| name).collect())
    }
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
pub struct BenchmarkCase {
    /// Unique in the run, and the stem of its files of raw data: `pubsub-redis.64B.1x1.max`.
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

impl BenchmarkCase {
    /// How many trials were good. Of one, there is no interval.
    pub fn good_trials(&self) -> usize {
        self.trials.iter().filter(|trial| trial.failed.is_none()).count()
    }

    /// Whether it is not a lab but a wire floor.
    pub fn is_floor(&self) -> bool {
        self.pattern == FLOOR
    }

    /// Whether messages of one sender are to arrive in the order in which they were sent. Several
    /// consumers or workers overtake each other, and so do replies.
    pub fn promises_order(&self) -> bool {
        match Pattern::ALL.into_iter().find(|pattern| pattern.as_str() == self.pattern) {
            Some(Pattern::OneWay | Pattern::PubSub | Pattern::Durable) => true,
            Some(Pattern::Queue) => self.receivers == 1,
            Some(Pattern::RequestReply | Pattern::Pipeline) | None => false,
        }
    }

    /// Whether it is a lab's, and one of the plan's own: not part of a search or a sweep.
    pub fn is_answer(&self) -> bool {
        !self.is_floor() && self.part_of.is_none()
    }
}

impl Run {
    /// What the wire floor beneath a cell came to.
    pub fn floor(&self, cell: &BenchmarkCase) -> Option<&Summary> {
        let wanted = cell.floor.as_ref()?;
        self.cells.iter().find(|floor| floor.id == *wanted)?.summary.as_ref()
    }

    /// The share of the wire's throughput that a cell reaches, at maximum load.
    pub fn share(&self, cell: &BenchmarkCase) -> Option<f64> {
        let wire = self.floor(cell)?.throughput_per_s.median;
        let own = cell.summary.as_ref()?.throughput_per_s.median;
        (wire > 0.0 && cell.load.kind == LoadKind::Max).then_some(own / wire)
    }

    /// How many times the wire's a cell's median response time is, at a rate.
    pub fn times(&self, cell: &BenchmarkCase) -> Option<f64> {
        let wire = self.floor(cell)?.response_ns.p50?;
        let own = cell.summary.as_ref()?.response_ns.p50?;
        (wire > 0 && cell.load.kind == LoadKind::Rate).then_some(own as f64 / wire as f64)
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

/// Result sets made before senders and receivers could be axes have one number.
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
