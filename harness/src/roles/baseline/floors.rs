//! The floors, and the labs beneath which they lie.

use labs::catalog::Pattern;
use labs::lab::Broker;

use super::wire::Wire;
use super::{amqp, mqtt, nats, peers, redis, stomp};

/// A floor, and the labs it lies beneath.
pub(super) struct Baseline {
    pub(super) transport: &'static str,
    pub(super) broker: Option<Broker>,
    pub(super) beneath: &'static [Pattern],
    pub(super) wire: Wire,
}

const ONE_WAY: &[Pattern] = &[Pattern::OneWay, Pattern::PubSub];
const ANSWERED: &[Pattern] = &[Pattern::RequestReply];

pub(super) const BASELINES: [Baseline; 14] = [
    Baseline { transport: "tcp", broker: None, beneath: ONE_WAY, wire: peers::TCP },
    Baseline { transport: "unix", broker: None, beneath: ONE_WAY, wire: peers::UNIX },
    Baseline { transport: "websocket", broker: None, beneath: ONE_WAY, wire: peers::WEBSOCKET },
    Baseline { transport: "zeromq", broker: None, beneath: ONE_WAY, wire: peers::ZEROMQ },
    // A list is another thing to Redis than a channel.
    Baseline {
        transport: "redis",
        broker: Some(Broker::Redis),
        beneath: &[Pattern::PubSub],
        wire: redis::CHANNEL,
    },
    Baseline {
        transport: "redis-stream",
        broker: Some(Broker::Redis),
        beneath: &[Pattern::PubSub],
        wire: redis::STREAM,
    },
    Baseline { transport: "rabbitmq", broker: Some(Broker::RabbitMq), beneath: ONE_WAY, wire: amqp::QUEUE },
    Baseline { transport: "mqtt", broker: Some(Broker::Mqtt), beneath: ONE_WAY, wire: mqtt::TOPIC },
    Baseline { transport: "stomp", broker: Some(Broker::RabbitMq), beneath: ONE_WAY, wire: stomp::TOPIC },
    Baseline { transport: "nats", broker: Some(Broker::Nats), beneath: ONE_WAY, wire: nats::SUBJECT },
    Baseline { transport: "jetstream", broker: Some(Broker::Nats), beneath: ONE_WAY, wire: nats::STREAM },
    Baseline { transport: "tcp", broker: None, beneath: ANSWERED, wire: peers::TCP_ANSWERED },
    Baseline { transport: "unix", broker: None, beneath: ANSWERED, wire: peers::UNIX_ANSWERED },
    Baseline { transport: "http", broker: None, beneath: ANSWERED, wire: peers::HTTP },
];

impl Baseline {
    pub(super) fn answered(&self) -> bool {
        self.wire.answer.is_some()
    }

    pub(super) fn name(&self) -> String {
        format!("floor-{}{}", if self.answered() { "reqrep-" } else { "" }, self.transport)
    }
}
