//! The list of labs. Everything that walks labs walks this.

use std::fmt;

use crate::durable::{self, DurablePubSub};
use crate::lab::{Broker, Guarantee, Join, Lab, Overload};
use crate::oneway::{self, OneWay};
use crate::pipeline::{self, Pipeline};
use crate::pubsub::{self, PubSub};
use crate::queue::{self, Queue};
use crate::reqrep::{self, RequestReply};

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

/// Shows `visitor` every lab, in the order in which they are listed.
pub fn visit(visitor: &mut impl Visitor) {
    visitor.one_way::<oneway::inproc::Inproc>();
    visitor.one_way::<oneway::tcp::Tcp>();
    visitor.one_way::<oneway::unix::Unix>();
    visitor.one_way::<oneway::websocket::WebSocket>();
    visitor.one_way::<oneway::zeromq::ZeroMq>();
    visitor.one_way::<oneway::redis::RedisList>();
    visitor.one_way::<oneway::rabbitmq::RabbitMq>();
    visitor.one_way::<oneway::mqtt::Mqtt>();
    visitor.one_way::<oneway::stomp::Stomp>();
    visitor.one_way::<oneway::nats::Nats>();

    visitor.request_reply::<reqrep::inproc::Inproc>();
    visitor.request_reply::<reqrep::tcp::Tcp>();
    visitor.request_reply::<reqrep::unix::Unix>();
    visitor.request_reply::<reqrep::websocket::WebSocket>();
    visitor.request_reply::<reqrep::http::Http>();
    visitor.request_reply::<reqrep::zeromq::ZeroMq>();
    visitor.request_reply::<reqrep::zeromq_dealer::ZeroMqDealer>();
    visitor.request_reply::<reqrep::redis::RedisLists>();
    visitor.request_reply::<reqrep::redis_stream::RedisStream>();
    visitor.request_reply::<reqrep::rabbitmq::RabbitMq>();
    visitor.request_reply::<reqrep::mqtt::Mqtt>();
    visitor.request_reply::<reqrep::stomp::Stomp>();
    visitor.request_reply::<reqrep::nats::Nats>();

    visitor.pub_sub::<pubsub::inproc::Inproc>();
    visitor.pub_sub::<pubsub::tcp::Tcp>();
    visitor.pub_sub::<pubsub::unix::Unix>();
    visitor.pub_sub::<pubsub::websocket::WebSocket>();
    visitor.pub_sub::<pubsub::zeromq::ZeroMq>();
    visitor.pub_sub::<pubsub::redis::RedisChannels>();
    visitor.pub_sub::<pubsub::redis_stream::RedisStream>();
    visitor.pub_sub::<pubsub::rabbitmq::RabbitMq>();
    visitor.pub_sub::<pubsub::mqtt::Mqtt>();
    visitor.pub_sub::<pubsub::stomp::Stomp>();
    visitor.pub_sub::<pubsub::nats::Nats>();
    visitor.pub_sub::<pubsub::jetstream::JetStream>();

    visitor.pipeline::<pipeline::inproc::Inproc>();
    visitor.pipeline::<pipeline::tcp::Tcp>();
    visitor.pipeline::<pipeline::unix::Unix>();
    visitor.pipeline::<pipeline::zeromq::ZeroMq>();
    visitor.pipeline::<pipeline::redis::RedisLists>();
    visitor.pipeline::<pipeline::redis_stream::RedisStream>();
    visitor.pipeline::<pipeline::rabbitmq::RabbitMq>();
    visitor.pipeline::<pipeline::mqtt::Mqtt>();
    visitor.pipeline::<pipeline::stomp::Stomp>();
    visitor.pipeline::<pipeline::nats::Nats>();
    visitor.pipeline::<pipeline::jetstream::JetStream>();

    visitor.queue::<queue::tcp::Tcp>();
    visitor.queue::<queue::zeromq::ZeroMq>();
    visitor.queue::<queue::redis::RedisList>();
    visitor.queue::<queue::redis_stream::RedisStream>();
    visitor.queue::<queue::rabbitmq::RabbitMq>();
    visitor.queue::<queue::rabbitmq_quorum::RabbitMqQuorum>();
    visitor.queue::<queue::mqtt::Mqtt>();
    visitor.queue::<queue::mqtt_qos2::MqttQos2>();
    visitor.queue::<queue::stomp::Stomp>();
    visitor.queue::<queue::jetstream::JetStream>();

    visitor.durable::<durable::redis_stream::RedisStream>();
    visitor.durable::<durable::rabbitmq::RabbitMq>();
    visitor.durable::<durable::mqtt::Mqtt>();
    visitor.durable::<durable::stomp::Stomp>();
    visitor.durable::<durable::jetstream::JetStream>();
}

/// Names that look as if there should be a lab, and why there is none.
pub const ABSENT: [(&str, &str); 14] = [
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
        "a status says that a server has taken a message; what it then does to keep it is a store of its own, not HTTP",
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
    /// The file to read, from the top of the project.
    pub source: String,
    /// What is particular: how replies match, which filters there are, how
    /// tasks are shared.
    pub note: String,
}

impl Entry {
    /// The entry of a lab.
    pub fn of<L: Lab>(pattern: Pattern, note: String) -> Self {
        Self {
            name: name::<L>(pattern),
            pattern,
            transport: L::TRANSPORT,
            variant: L::VARIANT,
            broker: L::BROKER,
            guarantee: L::GUARANTEE,
            overload: L::OVERLOAD,
            join: L::JOIN,
            source: source::<L>(),
            note,
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

/// What a publish/subscribe lab's filters are, for its note.
pub fn filters<L: PubSub>() -> String {
    let kinds: Vec<String> = L::FILTERS.iter().map(ToString::to_string).collect();
    format!("filters: {}", kinds.join(", "))
}

/// Every lab of the catalog.
pub fn entries() -> Vec<Entry> {
    #[derive(Default)]
    struct Describe(Vec<Entry>);
    impl Visitor for Describe {
        fn one_way<L: OneWay>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::OneWay, String::new()));
        }
        fn request_reply<L: RequestReply>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::RequestReply, format!("matching: {}", L::MATCHING)));
        }
        fn pub_sub<L: PubSub>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::PubSub, filters::<L>()));
        }
        fn pipeline<L: Pipeline>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::Pipeline, format!("sharing: {}", L::SHARING)));
        }
        fn queue<L: Queue>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::Queue, format!("confirmed: {}", L::CONFIRMED)));
        }
        fn durable<L: DurablePubSub>(&mut self) {
            self.0.push(Entry::of::<L>(Pattern::Durable, filters::<L>()));
        }
    }
    let mut describe = Describe::default();
    visit(&mut describe);
    describe.0
}
