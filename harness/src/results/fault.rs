//! Runs under faults: what was done to a lab, what became of its messages, and the verdict.
//!
//! All times are ns from the common start of the run's roles, unless they say otherwise.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Host, Versions};

/// The version of the format of [`FaultSet`]; older ones are read, newer ones refused.
pub const FAULT_SCHEMA: u32 = 1;
/// The length of an interval of [`FaultRun::series`], ns.
pub const FAULT_INTERVAL_NS: u64 = 50_000_000;
/// The most messages in the event record of a run.
pub const MOST_MESSAGES: usize = 200;

/// The faults of the scorecard, in the order of its columns.
pub const SCORED_FAULTS: [&str; 9] = [
    "sender-kill",
    "sender-restart",
    "receiver-kill",
    "receiver-restart",
    "broker-restart",
    "broker-pause",
    "link-cut",
    "link-blackhole",
    "link-tear",
];

/// All runs of one `faults.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct FaultSet {
    /// The version of this format.
    pub schema: u32,
    /// The machine.
    pub host: Host,
    /// What ran.
    pub versions: Versions,
    /// Every run, in the order made.
    pub runs: Vec<FaultRun>,
}

/// One run of one lab under one fault or several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct FaultRun {
    /// The lab.
    pub lab: String,
    /// Its pattern.
    pub pattern: String,
    /// Its transport.
    pub transport: String,
    /// The broker in between, if any.
    #[serde(default)]
    pub broker: Option<String>,
    /// What the run was held to: `at-most-once`, `at-least-once`, `durable`.
    pub guarantee: String,
    /// Why this is less than the lab's own guarantee, where it is.
    #[serde(default)]
    pub guarantee_note: Option<String>,
    /// What was done, in the order of time. A fault that does not apply is here, too, with all times 0.
    pub faults: Vec<Injected>,
    /// The seed of everything random in it.
    pub seed: u64,
    /// Offered load, messages a second over all senders.
    pub rate_per_s: f64,
    /// Declared message size, bytes.
    pub size: u64,
    /// Senders.
    pub senders: usize,
    /// Receivers; workers, for a pipeline.
    pub receivers: usize,
    /// The command that repeats it.
    pub command: String,
    /// How long it took.
    pub times: FaultTimes,
    /// What became of the messages.
    pub counts: FaultCounts,
    /// What each interval of 50 ms saw, from the common start on.
    #[serde(default)]
    pub series: Vec<FaultInterval>,
    /// Whether the lab kept its promise.
    pub verdict: Verdict,
    /// The reason for the verdict, one sentence.
    pub why: String,
    /// The smallest proof of a broken promise.
    #[serde(default)]
    pub witness: Option<Witness>,
    /// The event record: at most 200 messages, those at the fault first.
    #[serde(default)]
    pub messages: Vec<MessageFate>,
    /// What roles and the fault engine did, in the order of time.
    #[serde(default)]
    pub events: Vec<FaultEvent>,
}

/// One fault that was injected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Injected {
    /// Its name, `broker-restart`.
    pub fault: String,
    /// Whom it hit: `receiver-0`, `broker`, `link`.
    #[serde(default)]
    pub target: String,
    /// When it should have begun, ns.
    pub asked_ns: u64,
    /// When it had begun, ns: the signal was sent, or the proxy had been told.
    pub began_ns: u64,
    /// When it was over, ns. The same as `began_ns` for a kill or a cut; the new process's start, for a restart.
    pub healed_ns: u64,
}

/// How long a fault was felt. Null: it never came to that, or it cannot be said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct FaultTimes {
    /// From the fault's begin to the first role that noticed it, error, or missed deadline, ns.
    pub detect_ns: Option<u64>,
    /// The longest time between two confirmations (receipts, where nothing is confirmed) around the fault, ns.
    pub without_service_ns: Option<u64>,
    /// From the fault's end until response times were again within twice their p99 before it, ns.
    pub recover_ns: Option<u64>,
    /// Most messages due and not yet received at one moment, from the fault's begin on; only those that
    /// were received in the end.
    pub backlog: Option<u64>,
    /// From the fault's end until the backlog was as small as before the fault, ns.
    pub drain_ns: Option<u64>,
}

/// What became of the messages. `sent`, `confirmed` and `refused` count messages; for
/// publish/subscribe, the others count deliveries, one a subscriber.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default)]
pub struct FaultCounts {
    /// Handed to the client, what it refused included.
    pub sent: u64,
    /// Confirmed by the other side; 0 where nothing is confirmed.
    pub confirmed: u64,
    /// Distinct messages received.
    pub received: u64,
    /// The client said no.
    pub refused: u64,
    /// Not received, and never confirmed.
    pub unconfirmed_lost: u64,
    /// Not received although confirmed, by the time of the confirmation.
    pub confirmed_lost: Positions,
    /// Not received when the drain failed: perhaps lost, perhaps still stored.
    pub unaccounted: u64,
    /// Not confirmed when the sender was killed, and not received.
    pub indeterminate: u64,
    /// Received again.
    pub duplicated: u64,
    /// Of these, marked as redelivered by the transport.
    pub duplicated_marked: u64,
    /// Received for the first time after a later one of the same sender.
    pub reordered: u64,
    /// Times that a role connected again.
    pub reconnects: u64,
}

/// Where the confirmed messages lie that were lost, by the time of their confirmation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default)]
pub struct Positions {
    /// Confirmed before the first fault began: what was stored is gone.
    pub beginning: u64,
    /// Confirmed from then to the end of the last fault.
    pub middle: u64,
    /// Confirmed after that.
    pub end: u64,
}

impl Positions {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.beginning.saturating_add(self.middle).saturating_add(self.end)
    }
}

/// What 50 ms saw: numbers of messages (receipts, for `received`). Written as `[sent, confirmed,
/// received]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(from = "[u64; 3]", into = "[u64; 3]")]
pub struct FaultInterval {
    /// Handed to the client.
    pub sent: u64,
    /// Confirmed.
    pub confirmed: u64,
    /// Received, duplicates included.
    pub received: u64,
}

/// Whether a lab kept its promise under a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It did.
    Kept,
    /// It did not; there is a witness.
    Broke,
    /// Too little happened to say.
    #[default]
    CannotTell,
    /// The guarantee does not cover this fault. It was measured too.
    NotPromised,
    /// The lab has nothing that this fault could hit. Nothing ran.
    DoesNotApply,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 5] =
        [Self::Kept, Self::Broke, Self::CannotTell, Self::NotPromised, Self::DoesNotApply];

    /// The words used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broke => "broke",
            Self::CannotTell => "cannot tell",
            Self::NotPromised => "not promised",
            Self::DoesNotApply => "does not apply",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The proof of a broken promise: one message, and what was done when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Witness {
    /// What it proves, one sentence.
    pub what: String,
    /// The message.
    pub message: MessageFate,
    /// What happened to it and around it, in the order of time.
    pub steps: Vec<WitnessStep>,
}

/// One step of a witness.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct WitnessStep {
    /// When, ns.
    #[serde(rename = "at_ns")]
    pub at: u64,
    /// What happened.
    pub what: String,
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What became of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct MessageFate {
    /// The number of its sender.
    pub producer: u32,
    /// Its number among that sender's messages.
    pub sequence: u64,
    /// When it was to be sent, ns.
    #[serde(rename = "due_ns")]
    pub due: u64,
    /// When it was handed to the client, ns; missing: it was not.
    #[serde(rename = "sent_ns", skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// When it was confirmed, ns; missing: it was not.
    #[serde(rename = "confirmed_ns", skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<u64>,
    /// The client said no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refused: bool,
    /// It was in flight when its sender was killed: sent perhaps, confirmed perhaps.
    #[serde(default, skip_serializing_if = "is_false")]
    pub indeterminate: bool,
    /// Every time it was received, in the order of time.
    pub receipts: Vec<Received>,
}

/// One receipt of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Received {
    /// The number of the receiver (requester, for request/reply).
    pub receiver: u32,
    /// When, ns.
    #[serde(rename = "at_ns")]
    pub at: u64,
    /// Whether the transport marked it as a redelivery.
    #[serde(default, rename = "redelivered", skip_serializing_if = "is_false")]
    pub marked: bool,
    /// When it was acknowledged, ns; missing: it was not, or this transport knows no acknowledgements.
    #[serde(default, rename = "acked_ns", skip_serializing_if = "Option::is_none")]
    pub acked: Option<u64>,
}

/// Something that a role or the fault engine did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct FaultEvent {
    /// When, ns.
    #[serde(rename = "at_ns")]
    pub at: u64,
    /// Who: `receiver-0`, `broker`, `link`, or `engine`.
    pub who: String,
    /// What.
    pub what: EventKind,
    /// More about it: the fault's name, or the error.
    #[serde(default)]
    pub detail: String,
}

/// What a role or the fault engine did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The engine: a fault began.
    Began,
    /// The engine: a fault was over.
    Healed,
    /// The process was killed.
    Killed,
    /// A new process of it was started.
    StartedAgain,
    /// The process was stopped.
    Paused,
    /// The process goes on.
    Resumed,
    /// The role noticed that its connection is lost.
    Noticed,
    /// The role has connected again.
    Reconnected,
    /// The role ended with an error.
    Failed,
    /// Something that this version of the program does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl EventKind {
    /// The words used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Began => "fault began",
            Self::Healed => "fault over",
            Self::Killed => "killed",
            Self::StartedAgain => "started again",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Noticed => "noticed that its connection was lost",
            Self::Reconnected => "connected again",
            Self::Failed => "failed",
            Self::Other => "did something else",
        }
    }
}

impl FaultRun {
    /// Its faults as one text: `broker-restart`, `link-cut+receiver-kill`.
    pub fn fault(&self) -> String {
        self.faults.iter().map(|injected| injected.fault.as_str()).collect::<Vec<_>>().join("+")
    }

    /// Its anchor in the report of its set: `queue-redis.link-cut.7`.
    pub fn id(&self) -> String {
        format!("{}.{}.{}", self.lab, self.fault(), self.seed)
    }
}

impl FaultSet {
    /// The run of a lab under a fault with a seed, if it was made.
    pub fn find(&self, lab: &str, fault: &str, seed: u64) -> Option<&FaultRun> {
        self.runs.iter().find(|run| run.lab == lab && run.seed == seed && run.fault() == fault)
    }

    /// Adds a run, in the place of one of the same lab, fault and seed.
    pub fn put(&mut self, run: FaultRun) {
        match self.runs.iter_mut().find(|known| known.id() == run.id()) {
            Some(known) => *known = run,
            None => self.runs.push(run),
        }
    }
}
