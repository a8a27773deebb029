//! The lines between the supervisor and a role: one JSON object a line, on the
//! role's stdin and stdout. Nothing in them ties a role to this host.

mod by_hand;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use labs::catalog::Pattern;
use labs::lab::BrokerAddress;
use serde::{Deserialize, Serialize};

use super::message_text::MessageText;
use super::open_address;
use crate::measure::clock;
use crate::measure::cost::Usage;
use crate::results::{Interval, Load};
pub use by_hand::{AckWhen, Burst, Flush, Work};

/// The kind of a role in its pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the patterns' own words; see the contracts in `labs`")]
pub enum Kind {
    Sender,
    Receiver,
    Requester,
    Responder,
    Publisher,
    Subscriber,
    Ventilator,
    Worker,
    Sink,
    Producer,
    Consumer,
}

impl Kind {
    /// Whether it offers the load.
    pub const fn sends(self) -> bool {
        matches!(self, Self::Sender | Self::Requester | Self::Publisher | Self::Ventilator | Self::Producer)
    }

    /// Every role.
    pub const ALL: [Self; 11] = [
        Self::Sender,
        Self::Receiver,
        Self::Requester,
        Self::Responder,
        Self::Publisher,
        Self::Subscriber,
        Self::Ventilator,
        Self::Worker,
        Self::Sink,
        Self::Producer,
        Self::Consumer,
    ];

    /// The name on the command line and in results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::Requester => "requester",
            Self::Responder => "responder",
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
            Self::Ventilator => "ventilator",
            Self::Worker => "worker",
            Self::Sink => "sink",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    /// The namespaces of the place this role binds where the peers talk directly. The
    /// control channel is only there when roles are played by hand.
    pub const fn binds(self, measured: bool) -> &'static [&'static str] {
        match self {
            Self::Receiver | Self::Responder | Self::Publisher | Self::Producer => &[""],
            Self::Ventilator => &["tasks"],
            Self::Sink if measured => &["results"],
            Self::Sink => &["results", "control"],
            _ => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The roles of a pattern: who offers messages, who passes them on, who ends them.
pub const fn kinds(pattern: Pattern) -> &'static [Kind] {
    match pattern {
        Pattern::OneWay => &[Kind::Sender, Kind::Receiver],
        Pattern::RequestReply => &[Kind::Requester, Kind::Responder],
        Pattern::PubSub | Pattern::Durable => &[Kind::Publisher, Kind::Subscriber],
        Pattern::Pipeline => &[Kind::Ventilator, Kind::Worker, Kind::Sink],
        Pattern::Queue => &[Kind::Producer, Kind::Consumer],
    }
}

/// In the place of an IP address to bind: the one that the name of the role's own host stands for.
pub const HOST: &str = "host";

/// The first line a role gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Init {
    /// The lab's name.
    pub lab: String,
    /// What this role does.
    pub kind: Kind,
    /// Its number among those of its kind.
    pub index: usize,
    /// How many senders there are.
    pub senders: usize,
    /// How many receivers there are.
    pub receivers: usize,
    /// The run's number: every message carries it.
    pub run: u32,
    /// The place's name; no other run uses it.
    pub name: String,
    /// The broker's address. Its open form is for the role's stdin and for nothing else.
    #[serde(with = "open_address")]
    pub address: Option<BrokerAddress>,
    /// Knobs set from outside.
    pub knobs: BTreeMap<String, usize>,
    /// Addresses to bind, by namespace; for a role that is started again.
    pub bind: BTreeMap<String, String>,
    /// The filter of a subscriber, where one was asked for.
    pub filter: Option<String>,
    /// The measurement; `None` for a role played by hand.
    pub measure: Option<Measure>,
    /// A role played by hand reports bodies without the spaces at their end.
    #[serde(default)]
    pub brief: bool,
    /// By how much this host's clock is ahead of the supervisor's, ns: the role's times are the
    /// supervisor's.
    #[serde(default)]
    pub clock_ahead_ns: i64,
    /// The role was killed and is started again: it goes on with the account that it has, and
    /// sends no probes, nor waits for them.
    #[serde(default)]
    pub restarted: bool,
}

impl Init {
    /// A role that is played by hand at the place `name`: the only one of its kind, as far as it knows.
    pub fn by_hand(lab: &str, kind: Kind, index: usize, name: String) -> Self {
        Self {
            lab: lab.to_owned(),
            kind,
            index,
            senders: 1,
            receivers: 1,
            run: 0,
            name,
            address: None,
            knobs: BTreeMap::new(),
            bind: BTreeMap::new(),
            filter: None,
            measure: None,
            brief: false,
            clock_ahead_ns: 0,
            restarted: false,
        }
    }

    /// The role's name: `sender-0`. Its account is kept under it.
    pub fn role(&self) -> String {
        format!("{}-{}", self.kind, self.index)
    }
}

/// How to measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measure {
    /// Where accounts are kept.
    pub accounts: PathBuf,
    /// The load.
    pub load: Load,
    /// Declared message size, bytes.
    pub size: usize,
    /// Seed of arrivals.
    pub seed: u64,
    /// Warm-up, ns.
    pub warmup_ns: u64,
    /// Measured time, ns.
    pub measure_ns: u64,
    /// Most messages sent and not yet received by the slowest receiver.
    pub window: Option<u64>,
    /// The role shares its process with others: cost is counted by thread.
    pub threads: bool,
    /// Every single message is noted.
    #[serde(default)]
    pub record: bool,
    /// The sender waits for each message to be received before the next, and
    /// forgets that it is late: see [`crate::trial::TrialOptions`].
    #[serde(default)]
    pub lockstep: bool,
}

/// A line from the supervisor to a role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
pub enum ToRole {
    /// Who you are.
    Init(Box<Init>),
    /// Where everyone listens, by namespace.
    Peers {
        /// Namespace to addresses.
        peers: BTreeMap<String, Vec<String>>,
    },
    /// The common start, ns of CLOCK_MONOTONIC.
    Go {
        /// When.
        start: u64,
    },
    /// The backlog is there: take it.
    Drain,
    /// Do something, by hand.
    #[serde(rename = "act")]
    Command(RoleCommand),
    /// Leave, and report.
    Stop,
}

/// A command for a role that is played by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum RoleCommand {
    /// Send, ask, publish: whatever the role does with a message.
    Say {
        /// The message.
        text: MessageText,
        /// The topic, for a publisher.
        topic: Option<String>,
    },
    /// Answer the oldest request that waits, for a responder.
    Reply {
        /// The reply.
        text: MessageText,
    },
    /// Settle the oldest delivery that is not settled.
    Ack,
    /// Give it back.
    Nack,
    /// From now on, settle (or answer) by itself, after this many milliseconds of work each.
    Auto {
        /// Work on each message, milliseconds.
        work_ms: u64,
    },
    /// The same, with more to say of how.
    Work(Work),
    /// Send many messages by itself.
    Burst(Burst),
    /// Ask, and give up when no reply has come in time.
    Ask {
        /// The request.
        text: MessageText,
        /// How long to wait, milliseconds.
        timeout_ms: u64,
    },
}

/// A line from a role to the supervisor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
pub enum FromRole {
    /// It listens here.
    Bound {
        /// The namespace.
        namespace: String,
        /// The address.
        address: String,
    },
    /// It has joined.
    Ready,
    /// It has sent all it will send.
    Done {
        /// Messages.
        sent: u64,
    },
    /// Something happened to a role that is played by hand.
    Event(Event),
    /// The last line of a role that has measured.
    Report(Box<Report>),
    /// The last line of a role that could not go on.
    Failed {
        /// Why, with all causes.
        error: String,
    },
}

/// What happened to a message in a role's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub what: What,
    /// The message.
    pub text: MessageText,
    /// Its topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The request that a reply belongs to, the task that a result came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Which delivery it was, for queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When it happened, ns of the clock; of what a role sends, when it began to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

impl Event {
    /// Something happens to `text` now. Make the event before a message is sent: otherwise its
    /// receiver may be earlier.
    pub fn new(what: What, text: impl Into<MessageText>) -> Self {
        let at = Some(clock::now());
        Self { what, text: text.into(), topic: None, about: None, attempt: None, at }
    }
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are those of `labs::lab`")]
pub enum What {
    Written,
    Confirmed,
    Received,
    Requested,
    Replied,
    Acked,
    Nacked,
    /// Done with, over a transport that acknowledges nothing.
    Finished,
    /// A producer has begun to send it.
    Sent,
    /// The work on it is done: its effect is there.
    Effect,
    /// It had its effect before, and gets no second one.
    Again,
    /// It could not be done; the text says why.
    Failed,
    /// A peer was disconnected or a message skipped; the text says why.
    Incident,
    /// The role has noticed that its connection is gone; the text says how.
    ConnectionLost,
    /// The role has opened its connection again.
    Reconnected,
    /// No more can come.
    Ended,
}

/// The measurements of a role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Messages received in the measured window.
    pub measured: u64,
    /// Histogram, encoded; see [`crate::results::Raw`].
    pub response: String,
    /// Histogram, encoded.
    pub service: String,
    /// Histogram, encoded.
    pub lag: String,
    /// Histogram, encoded.
    pub pacer: String,
    /// Histogram, encoded.
    pub confirm: String,
    /// The series of intervals.
    pub series: Vec<Interval>,
    /// For a backlog: from the first send to the last confirmation, or from the
    /// first look to the last message received; ns of the clock.
    #[serde(default)]
    pub span: Option<(u64, u64)>,
    /// The role's use of CPU and memory in the measured window.
    pub usage: Usage,
    /// CPU time that a sender spent on looking whether its full window has room, ns; warm-up
    /// included.
    #[serde(default)]
    pub window_cpu_ns: u64,
    /// Knobs that were read.
    pub knobs: BTreeMap<String, usize>,
}

#[cfg(test)]
mod tests;
