//! The list of labs. Everything that walks labs walks this.
//!
//! A transport is a cargo feature, and a build may have only some of them. [`visit`]
//! shows the labs that are built in, with their types. [`entries`] describes every lab,
//! built in or not: what it says of the others is in `catalog/table.rs`.

mod row;
mod table;

use std::fmt;

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload};
use crate::oneway::{self, OneWay};
use crate::pipeline::{self, Pipeline, Sharing};
use crate::pubsub::{self, PubSub};
use crate::queue::{Confirmed, Queue};
use crate::reqrep::{self, Matching, RequestReply};
use crate::topic::FilterKind;

/// Sees every lab once, with its type.
pub trait Visitor {
    /// A one-way lab.
    fn one_way<L: OneWay>(&mut self);
    /// A request/reply lab.
    fn request_reply<L: RequestReply>(&mut self);
    /// A publish/subscribe lab.
    fn pub_sub<L: PubSub>(&mut self);
    /// A pipeline lab.
    fn pipeline<L: Pipeline>(&mut self);
    /// A queued-delivery lab.
    fn queue<L: Queue>(&mut self);
    /// A durable-subscriber lab.
    fn durable<L: DurablePubSub>(&mut self);
}

/// Shows `visitor` every lab that is built in, in the order in which they are listed.
pub fn visit(visitor: &mut impl Visitor) {
    visitor.one_way::<oneway::inproc::Inproc>();
    visitor.one_way::<oneway::tcp::Tcp>();
    visitor.one_way::<oneway::unix::Unix>();
    #[cfg(feature = "websocket")]
    visitor.one_way::<oneway::websocket::WebSocket>();
    #[cfg(feature = "zeromq")]
    visitor.one_way::<oneway::zeromq::ZeroMq>();
    #[cfg(feature = "redis")]
    visitor.one_way::<oneway::redis::RedisList>();
    #[cfg(feature = "rabbitmq")]
    visitor.one_way::<oneway::rabbitmq::RabbitMq>();
    #[cfg(feature = "mqtt")]
    visitor.one_way::<oneway::mqtt::Mqtt>();
    #[cfg(feature = "stomp")]
    visitor.one_way::<oneway::stomp::Stomp>();
    #[cfg(feature = "nats")]
    visitor.one_way::<oneway::nats::Nats>();

    visitor.request_reply::<reqrep::inproc::Inproc>();
    visitor.request_reply::<reqrep::tcp::Tcp>();
    visitor.request_reply::<reqrep::unix::Unix>();
    #[cfg(feature = "websocket")]
    visitor.request_reply::<reqrep::websocket::WebSocket>();
    #[cfg(feature = "http")]
    visitor.request_reply::<reqrep::http::Http>();
    #[cfg(feature = "zeromq")]
    visitor.request_reply::<reqrep::zeromq::ZeroMq>();
    #[cfg(feature = "zeromq")]
    visitor.request_reply::<reqrep::zeromq_dealer::ZeroMqDealer>();
    #[cfg(feature = "redis")]
    visitor.request_reply::<reqrep::redis::RedisLists>();
    #[cfg(feature = "redis")]
    visitor.request_reply::<reqrep::redis_stream::RedisStream>();
    #[cfg(feature = "rabbitmq")]
    visitor.request_reply::<reqrep::rabbitmq::RabbitMq>();
    #[cfg(feature = "mqtt")]
    visitor.request_reply::<reqrep::mqtt::Mqtt>();
    #[cfg(feature = "stomp")]
    visitor.request_reply::<reqrep::stomp::Stomp>();
    #[cfg(feature = "nats")]
    visitor.request_reply::<reqrep::nats::Nats>();

    visitor.pub_sub::<pubsub::inproc::Inproc>();
    visitor.pub_sub::<pubsub::tcp::Tcp>();
    visitor.pub_sub::<pubsub::unix::Unix>();
    #[cfg(feature = "websocket")]
    visitor.pub_sub::<pubsub::websocket::WebSocket>();
    #[cfg(feature = "zeromq")]
    visitor.pub_sub::<pubsub::zeromq::ZeroMq>();
    #[cfg(feature = "redis")]
    visitor.pub_sub::<pubsub::redis::RedisChannels>();
    #[cfg(feature = "redis")]
    visitor.pub_sub::<pubsub::redis_stream::RedisStream>();
    #[cfg(feature = "rabbitmq")]
    visitor.pub_sub::<pubsub::rabbitmq::RabbitMq>();
    #[cfg(feature = "mqtt")]
    visitor.pub_sub::<pubsub::mqtt::Mqtt>();
    #[cfg(feature = "stomp")]
    visitor.pub_sub::<pubsub::stomp::Stomp>();
    #[cfg(feature = "nats")]
    visitor.pub_sub::<pubsub::nats::Nats>();
    #[cfg(feature = "nats")]
    visitor.pub_sub::<pubsub::jetstream::JetStream>();

    visitor.pipeline::<pipeline::inproc::Inproc>();
    visitor.pipeline::<pipeline::tcp::Tcp>();
    visitor.pipeline::<pipeline::unix::Unix>();
    #[cfg(feature = "zeromq")]
    visitor.pipeline::<pipeline::zeromq::ZeroMq>();
    #[cfg(feature = "redis")]
    visitor.pipeline::<pipeline::redis::RedisLists>();
    #[cfg(feature = "redis")]
    visitor.pipeline::<pipeline::redis_stream::RedisStream>();
    #[cfg(feature = "rabbitmq")]
    visitor.pipeline::<pipeline::rabbitmq::RabbitMq>();
    #[cfg(feature = "mqtt")]
    visitor.pipeline::<pipeline::mqtt::Mqtt>();
    #[cfg(feature = "stomp")]
    visitor.pipeline::<pipeline::stomp::Stomp>();
    #[cfg(feature = "nats")]
    visitor.pipeline::<pipeline::nats::Nats>();
    #[cfg(feature = "nats")]
    visitor.pipeline::<pipeline::jetstream::JetStream>();

    #[cfg(feature = "outbox")]
    visitor.queue::<crate::queue::tcp::Tcp>();
    #[cfg(feature = "zeromq")]
    visitor.queue::<crate::queue::zeromq::ZeroMq>();
    #[cfg(feature = "redis")]
    visitor.queue::<crate::queue::redis::RedisList>();
    #[cfg(feature = "redis")]
    visitor.queue::<crate::queue::redis_stream::RedisStream>();
    #[cfg(feature = "rabbitmq")]
    visitor.queue::<crate::queue::rabbitmq::RabbitMq>();
    #[cfg(feature = "rabbitmq")]
    visitor.queue::<crate::queue::rabbitmq_quorum::RabbitMqQuorum>();
    #[cfg(feature = "mqtt")]
    visitor.queue::<crate::queue::mqtt::Mqtt>();
    #[cfg(feature = "mqtt")]
    visitor.queue::<crate::queue::mqtt_qos2::MqttQos2>();
    #[cfg(feature = "stomp")]
    visitor.queue::<crate::queue::stomp::Stomp>();
    #[cfg(feature = "nats")]
    visitor.queue::<crate::queue::jetstream::JetStream>();

    #[cfg(feature = "redis")]
    visitor.durable::<crate::durable::redis_stream::RedisStream>();
    #[cfg(feature = "rabbitmq")]
    visitor.durable::<crate::durable::rabbitmq::RabbitMq>();
    #[cfg(feature = "mqtt")]
    visitor.durable::<crate::durable::mqtt::Mqtt>();
    #[cfg(feature = "stomp")]
    visitor.durable::<crate::durable::stomp::Stomp>();
    #[cfg(feature = "nats")]
    visitor.durable::<crate::durable::jetstream::JetStream>();
}

/// Names that look as if there should be a lab, and why there is none.
pub const ABSENT: [(&str, &str); 13] = [
    (
        "oneway-http",
        "HTTP answers every request, so that a message that nothing answers would be a request/reply whose reply is thrown away",
    ),
    (
        "pubsub-http",
        "server-sent events are lines of text, and a body of bytes would have to be dressed up to pass as one: pubsub-websocket is what browsers have for that",
    ),
    (
        "pipeline-websocket",
        "it would be pipeline-tcp, credits and all, in other frames: WebSocket has nothing of its own to share work out with",
    ),
    (
        "pipeline-http",
        "workers that fetch tasks and post results are clients of a task server, and its store, not HTTP, would be the pipeline",
    ),
    (
        "queue-inproc",
        "a queue takes responsibility for messages, and one that dies with the process of its users can take none",
    ),
    (
        "queue-unix",
        "it would be queue-tcp, log and all, over another socket, which itself can answer for no message",
    ),
    (
        "queue-websocket",
        "it would be queue-tcp, log and all, in other frames: a WebSocket neither stores nor acknowledges a message",
    ),
    (
        "queue-http",
        "a request is answered or fails, and the server's store, not HTTP, would be the queue: that is a task server of one's own making",
    ),
    (
        "oneway-redis-stream",
        "a stream keeps what was read, for readers who each have a position: pubsub-redis-stream; to one receiver, once, it is queue-redis-stream",
    ),
    (
        "oneway-jetstream",
        "what JetStream adds to oneway-nats is a store and acknowledgements, and that is queue-jetstream",
    ),
    ("queue-nats", "core NATS keeps nothing and acknowledges nothing: queue-jetstream is NATS with a store"),
    (
        "durable-redis",
        "a channel keeps nothing for a subscriber that is away: durable-redis-stream is Redis with a log",
    ),
    (
        "durable-nats",
        "core NATS keeps nothing for a subscriber that is away: durable-jetstream is NATS with a store",
    ),
];

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
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the catalog says of a lab.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `pubsub-redis`.
    pub name: String,
    /// The pattern it implements.
    pub pattern: Pattern,
    /// The transport it runs over.
    pub transport: &'static str,
    /// What tells it apart from another lab of the same pattern and transport.
    pub variant: Option<&'static str>,
    /// The broker it needs.
    pub broker: Option<Broker>,
    /// What survives.
    pub guarantee: Guarantee,
    /// What happens when the receiver is too slow.
    pub overload: Overload,
    /// Whether joining is confirmed.
    pub join: Join,
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
            guarantee: L::GUARANTEE,
            overload: L::OVERLOAD,
            join: L::JOIN,
            knobs: L::KNOBS,
            source: source::<L>(),
            particular,
            built_in: true,
        }
    }
}

/// The lab's name: pattern, transport, variant.
pub fn name<L: Lab>(pattern: Pattern) -> String {
    match L::VARIANT {
        Some(variant) => format!("{pattern}-{}-{variant}", L::TRANSPORT),
        None => format!("{pattern}-{}", L::TRANSPORT),
    }
}

/// `labs::pubsub::redis::RedisChannels` is read in `labs/src/pubsub/redis.rs`.
fn source<L: Lab>() -> String {
    let path = std::any::type_name::<L>();
    let module = path.rsplit_once("::").map_or(path, |(module, _)| module);
    let (krate, rest) = module.split_once("::").unwrap_or((module, "lib"));
    format!("{krate}/src/{}.rs", rest.replace("::", "/"))
}

/// Every lab of the catalog, whether this build has it or not.
pub fn entries() -> Vec<Entry> {
    let mut built = built_in();
    let mut entries = Vec::new();
    for row in &table::TABLE {
        match built.iter().position(|entry| entry.name == row.name) {
            Some(at) => entries.push(built.remove(at)),
            None => entries.push(row.entry()),
        }
    }
    // A new lab, of which the table does not know yet.
    entries.extend(built);
    entries
}

/// The labs that this build has, as their types describe them.
pub fn built_in() -> Vec<Entry> {
    #[derive(Default)]
    struct Describe(Vec<Entry>);
    impl Visitor for Describe {
        fn one_way<L: OneWay>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::OneWay, Particular::None));
        }
        fn request_reply<L: RequestReply>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::RequestReply, Particular::Matching(L::MATCHING)));
        }
        fn pub_sub<L: PubSub>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::PubSub, Particular::Filters(L::FILTERS)));
        }
        fn pipeline<L: Pipeline>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::Pipeline, Particular::Sharing(L::SHARING)));
        }
        fn queue<L: Queue>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::Queue, Particular::Confirmed(L::CONFIRMED)));
        }
        fn durable<L: DurablePubSub>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::Durable, Particular::Filters(L::FILTERS)));
        }
    }
    let mut describe = Describe::default();
    visit(&mut describe);
    describe.0
}

/// The cargo feature that builds a lab in; `None` for those that every build has.
pub fn feature(pattern: Pattern, transport: &str) -> Option<&'static str> {
    Some(match (pattern, transport) {
        (Pattern::Queue, "tcp") => "outbox",
        (_, "redis" | "redis-stream") => "redis",
        (_, "nats" | "jetstream") => "nats",
        (_, "http") => "http",
        (_, "mqtt") => "mqtt",
        (_, "rabbitmq") => "rabbitmq",
        (_, "stomp") => "stomp",
        (_, "websocket") => "websocket",
        (_, "zeromq") => "zeromq",
        _ => return None,
    })
}

/// The source of `catalog/table.rs`, from the labs themselves; of a build that has them all.
pub fn table_source() -> String {
    row::source(&built_in())
}
