//! A lab's entry in the catalog.

use std::collections::BTreeMap;
use std::fmt;

use crate::lab::{Broker, BrokerFeature, Guarantee, Join, Knob, Lab, Overload, Recovery};
use crate::pipeline::Sharing;
use crate::queue::Confirmed;
use crate::reqrep::Matching;
use crate::topic::FilterKind;

/// The five patterns, and publish/subscribe with durable subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// Sender to receiver, nothing comes back.
    OneWay,
    /// A question and its answer.
    RequestReply,
    /// One to all who listen.
    PubSub,
    /// Tasks shared among workers, results collected.
    Pipeline,
    /// A queue answers for the message until it is done with.
    Queue,
    /// One to all who listen, and to those who were away.
    Durable,
}

impl Pattern {
    /// Every pattern, in reading order.
    pub const ALL: [Self; 6] =
        [Self::OneWay, Self::RequestReply, Self::PubSub, Self::Pipeline, Self::Queue, Self::Durable];

    /// The first word of a lab's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneWay => "oneway",
            Self::RequestReply => "reqrep",
            Self::PubSub => "pubsub",
            Self::Pipeline => "pipeline",
            Self::Queue => "queue",
            Self::Durable => "durable",
        }
    }

    /// Whether every receiver gets every message.
    pub const fn is_fan_out(self) -> bool {
        matches!(self, Self::PubSub | Self::Durable)
    }

    /// How many of the receivers get each message.
    pub const fn copies(self, receivers: usize) -> u64 {
        if self.is_fan_out() { receivers as u64 } else { 1 }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The description of a lab in the catalog.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `pubsub-redis`.
    pub name: String,
    /// The pattern it implements.
    pub pattern: Pattern,
    /// The transport it runs over.
    pub transport: &'static str,
    /// Distinguishes it from another lab of the same pattern and transport.
    pub variant: Option<&'static str>,
    /// The broker it needs.
    pub broker: Option<Broker>,
    /// The oldest version of the broker that has what the lab needs.
    pub broker_since: Option<(u32, u32)>,
    /// What it needs that not every broker of this protocol has.
    pub broker_features: &'static [BrokerFeature],
    /// What survives.
    pub guarantee: Guarantee,
    /// What happens when the receiver is too slow.
    pub overload: Overload,
    /// Whether joining is confirmed.
    pub join: Join,
    /// Who opens a lost connection again.
    pub recovery: Recovery,
    /// What can be set from outside, with `--set`.
    pub knobs: &'static [Knob],
    /// The file to read, from the top of the project.
    pub source: String,
    /// What labs of its pattern differ in.
    pub particular: Particular,
    /// Whether this build has it; see [`feature`].
    pub built_in: bool,
}

/// What labs of one pattern differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Particular {
    /// Nothing: one-way.
    None,
    /// How a reply finds its request.
    Matching(Matching),
    /// Which filters a subscriber may have.
    Filters(&'static [FilterKind]),
    /// Who decides which worker gets a task.
    Sharing(Sharing),
    /// Who answers for a message that is confirmed.
    Confirmed(Confirmed),
}

impl fmt::Display for Particular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Matching(matching) => write!(f, "matching: {matching}"),
            Self::Filters(kinds) => {
                let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
                write!(f, "filters: {}", kinds.join(", "))
            }
            Self::Sharing(sharing) => write!(f, "sharing: {sharing}"),
            Self::Confirmed(confirmed) => write!(f, "confirmed: {confirmed}"),
        }
    }
}

impl Entry {
    /// The entry of a lab.
    pub fn of<L: Lab>(pattern: Pattern, particular: Particular) -> Self {
        Self {
            name: name::<L>(pattern),
            pattern,
            transport: L::TRANSPORT,
            variant: L::VARIANT,
            broker: L::BROKER,
            broker_since: L::BROKER_SINCE,
            broker_features: L::BROKER_FEATURES,
            guarantee: L::GUARANTEE,
            overload: L::OVERLOAD,
            join: L::JOIN,
            recovery: L::RECOVERY,
            knobs: L::KNOBS,
            source: source::<L>(),
            particular,
            built_in: true,
        }
    }

    /// What it promises with these settings, and why, where that is less than [`Entry::guarantee`].
    pub fn weaker(&self, set: &BTreeMap<String, usize>) -> Option<(Guarantee, String)> {
        let weaker = self.knobs.iter().filter_map(|knob| {
            let (value, guarantee) = knob.weaker?;
            let is_set = set.get(knob.name) == Some(&value);
            let why = || format!("with {}={value} it promises {guarantee}", knob.name);
            (is_set && guarantee < self.guarantee).then(|| (guarantee, why()))
        });
        weaker.min_by_key(|(guarantee, _)| *guarantee)
    }

    /// Whether its roles have to be in one process.
    pub fn in_process(&self) -> bool {
        self.transport == "inproc"
    }

    /// Whether its roles have to be on one host: in one process, or at one file system.
    pub fn one_host(&self) -> bool {
        self.in_process() || self.transport == "unix"
    }
}

/// The lab's name: pattern, transport, variant.
pub fn name<L: Lab>(pattern: Pattern) -> String {
    match L::VARIANT {
        Some(variant) => format!("{pattern}-{}-{variant}", L::TRANSPORT),
        None => format!("{pattern}-{}", L::TRANSPORT),
    }
}

/// Labs that need more than one file: each is a folder, whose `mod.rs` tells the mechanism.
const FOLDERS: [&str; 9] = [
    "durable/redis_stream",
    "queue/jetstream",
    "queue/mqtt",
    "queue/rabbitmq",
    "queue/redis",
    "queue/stomp",
    "queue/tcp",
    "queue/zeromq",
    "reqrep/http",
];

/// `labs::pubsub::redis::RedisChannels` is read in `labs/src/pubsub/redis.rs`.
fn source<L: Lab>() -> String {
    let path = std::any::type_name::<L>();
    let module = path.rsplit_once("::").map_or(path, |(module, _)| module);
    let (krate, rest) = module.split_once("::").unwrap_or((module, "lib"));
    let path = rest.replace("::", "/");
    let file = if FOLDERS.contains(&path.as_str()) { "/mod.rs" } else { ".rs" };
    format!("{krate}/src/{path}{file}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::table::TABLE;

    #[test]
    fn a_setting_can_make_a_lab_promise_less() {
        let weaker = |lab: &str, knob: &str, value: usize| {
            let row = TABLE.iter().find(|row| row.name == lab).expect("it is in the catalog");
            row.entry().weaker(&[(knob.to_owned(), value)].into()).map(|(guarantee, _)| guarantee)
        };
        let less = [
            ("queue-rabbitmq", "delivery-mode", 1),
            ("queue-rabbitmq", "durable-queue", 0),
            ("durable-rabbitmq", "delivery-mode", 1),
            ("queue-stomp", "persistent", 0),
            ("durable-stomp", "persistent", 0),
        ];
        for (lab, knob, value) in less {
            assert_eq!(weaker(lab, knob, value), Some(Guarantee::AtLeastOnce), "{lab} {knob}={value}");
            let usual = if knob == "delivery-mode" { 2 } else { 1 };
            assert_eq!(weaker(lab, knob, usual), None, "{lab} {knob}={usual}");
        }
        // Without it, the operating system has the messages: kill -9 loses none.
        assert_eq!(weaker("queue-tcp", "fsync", 0), None);
        for row in &TABLE {
            assert_eq!(row.entry().weaker(&BTreeMap::new()), None, "{}", row.name);
        }
    }
}
