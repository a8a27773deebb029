//! The catalog: the list of all labs. Everything that handles all labs uses this list.
//!
//! A transport is a cargo feature, and a build may have only some of them. [`visit`]
//! shows the labs that are built in, with their types. [`entries`] describes every lab,
//! built in or not: `catalog/table.rs` describes those that are not.

mod absent;
mod entry;
mod row;
mod table;

use crate::durable::DurablePubSub;
use crate::oneway::{self, OneWay};
use crate::pipeline::{self, Pipeline};
use crate::pubsub::{self, PubSub};
use crate::queue::Queue;
use crate::reqrep::{self, RequestReply};

pub use absent::ABSENT;
pub use entry::{Entry, Particular, Pattern, name};

/// Sees every lab once, with its type; passes over the patterns that it says nothing of.
pub trait Visitor {
    /// A one-way lab.
    fn one_way<L: OneWay>(&mut self) {}
    /// A request/reply lab.
    fn request_reply<L: RequestReply>(&mut self) {}
    /// A publish/subscribe lab.
    fn pub_sub<L: PubSub>(&mut self) {}
    /// A pipeline lab.
    fn pipeline<L: Pipeline>(&mut self) {}
    /// A queued-delivery lab.
    fn queue<L: Queue>(&mut self) {}
    /// A durable-subscriber lab.
    fn durable<L: DurablePubSub>(&mut self) {}
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
