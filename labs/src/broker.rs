//! The brokers that labs run over.

use std::fmt;

/// The brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broker {
    /// Redis, or a server that speaks its protocol.
    Redis,
    /// RabbitMQ over AMQP 0-9-1, and STOMP and MQTT through its plugins.
    RabbitMq,
    /// A broker that speaks MQTT: Mosquitto.
    Mqtt,
    /// nats-server, with JetStream.
    Nats,
}

impl Broker {
    /// All brokers.
    pub const ALL: [Self; 4] = [Self::Redis, Self::RabbitMq, Self::Mqtt, Self::Nats];

    /// The name used on the command line and in results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
            Self::Mqtt => "mqtt",
            Self::Nats => "nats",
        }
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
