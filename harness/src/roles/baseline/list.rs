//! The list of baselines, and the labs that each belongs to.

use labs::catalog::Pattern;
use labs::lab::Broker;

use super::wire::Wire;
use super::{amqp, mqtt, nats, peers, redis, stomp};

/// A baseline, and the labs that it belongs to.
pub(super) struct Baseline {
    pub(super) transport: &'static str,
    pub(super) broker: Option<Broker>,
    pub(super) patterns: &'static [Pattern],
    pub(super) wire: Wire,
}

const ONE_WAY: &[Pattern] = &[Pattern::OneWay, Pattern::PubSub];
const ANSWERED: &[Pattern] = &[Pattern::RequestReply];

pub(super) const BASELINES: [Baseline; 14] = [
    Baseline { transport: "tcp", broker: None, patterns: ONE_WAY, wire: peers::TCP },
    Baseline { transport: "unix", broker: None, patterns: ONE_WAY, wire: peers::UNIX },
    Baseline { transport: "websocket", broker: None, patterns: ONE_WAY, wire: peers::WEBSOCKET },
    Baseline { transport: "zeromq", broker: None, patterns: ONE_WAY, wire: peers::ZEROMQ },
    // A list is another thing to Redis than a channel.
    Baseline {
        transport: "redis",
        broker: Some(Broker::Redis),
        patterns: &[Pattern::PubSub],
        wire: redis::CHANNEL,
    },
    Baseline {
        transport: "redis-stream",
        broker: Some(Broker::Redis),
        patterns: &[Pattern::PubSub],
        wire: redis::STREAM,
    },
    Baseline { transport: "rabbitmq", broker: Some(Broker::RabbitMq), patterns: ONE_WAY, wire: amqp::QUEUE },
    Baseline { transport: "mqtt", broker: Some(Broker::Mqtt), patterns: ONE_WAY, wire: mqtt::TOPIC },
    Baseline { transport: "stomp", broker: Some(Broker::RabbitMq), patterns: ONE_WAY, wire: stomp::TOPIC },
    Baseline { transport: "nats", broker: Some(Broker::Nats), patterns: ONE_WAY, wire: nats::SUBJECT },
    Baseline { transport: "jetstream", broker: Some(Broker::Nats), patterns: ONE_WAY, wire: nats::STREAM },
    Baseline { transport: "tcp", broker: None, patterns: ANSWERED, wire: peers::TCP_ANSWERED },
    Baseline { transport: "unix", broker: None, patterns: ANSWERED, wire: peers::UNIX_ANSWERED },
    Baseline { transport: "http", broker: None, patterns: ANSWERED, wire: peers::HTTP },
];

impl Baseline {
    pub(super) fn answered(&self) -> bool {
        self.wire.answer.is_some()
    }

    pub(super) fn name(&self) -> String {
        format!("floor-{}{}", if self.answered() { "reqrep-" } else { "" }, self.transport)
    }
}
