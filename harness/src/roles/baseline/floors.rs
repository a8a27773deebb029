//! The floors, and the labs beneath which they lie.

use labs::catalog::Pattern;
use labs::lab::Broker;

use super::wire::Wire;
use super::{amqp, mqtt, nats, peers, redis, stomp};

/// A floor, and the labs it lies beneath.
pub(super) struct Floor {
    pub(super) transport: &'static str,
    pub(super) broker: Option<Broker>,
    pub(super) beneath: &'static [Pattern],
    pub(super) wire: Wire,
}

const ONE_WAY: &[Pattern] = &[Pattern::OneWay, Pattern::PubSub];
const ANSWERED: &[Pattern] = &[Pattern::RequestReply];

pub(super) const FLOORS: [Floor; 14] = [
    Floor { transport: "tcp", broker: None, beneath: ONE_WAY, wire: peers::TCP },
    Floor { transport: "unix", broker: None, beneath: ONE_WAY, wire: peers::UNIX },
    Floor { transport: "websocket", broker: None, beneath: ONE_WAY, wire: peers::WEBSOCKET },
    Floor { transport: "zeromq", broker: None, beneath: ONE_WAY, wire: peers::ZEROMQ },
    // A list is another thing to Redis than a channel.
    Floor {
        transport: "redis",
        broker: Some(Broker::Redis),
        beneath: &[Pattern::PubSub],
        wire: redis::CHANNEL,
    },
    Floor {
        transport: "redis-stream",
        broker: Some(Broker::Redis),
        beneath: &[Pattern::PubSub],
        wire: redis::STREAM,
    },
    Floor { transport: "rabbitmq", broker: Some(Broker::RabbitMq), beneath: ONE_WAY, wire: amqp::QUEUE },
    Floor { transport: "mqtt", broker: Some(Broker::Mqtt), beneath: ONE_WAY, wire: mqtt::TOPIC },
    Floor { transport: "stomp", broker: Some(Broker::RabbitMq), beneath: ONE_WAY, wire: stomp::TOPIC },
    Floor { transport: "nats", broker: Some(Broker::Nats), beneath: ONE_WAY, wire: nats::SUBJECT },
    Floor { transport: "jetstream", broker: Some(Broker::Nats), beneath: ONE_WAY, wire: nats::STREAM },
    Floor { transport: "tcp", broker: None, beneath: ANSWERED, wire: peers::TCP_ANSWERED },
    Floor { transport: "unix", broker: None, beneath: ANSWERED, wire: peers::UNIX_ANSWERED },
    Floor { transport: "http", broker: None, beneath: ANSWERED, wire: peers::HTTP },
];

impl Floor {
    pub(super) fn answered(&self) -> bool {
        self.wire.answer.is_some()
    }

    pub(super) fn name(&self) -> String {
        format!("floor-{}{}", if self.answered() { "reqrep-" } else { "" }, self.transport)
    }
}
