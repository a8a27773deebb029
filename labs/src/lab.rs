//! What every lab is, and where it runs.
//!
//! Four words are never mixed in this crate: a message is *accepted* when the
//! client took it, *written* when it left the process, *confirmed* when the
//! other side took responsibility for it, and *received* when the far role has
//! it in hand. A client that cannot tell when it has written says so.

use std::fmt;

use anyhow::Result;

pub use crate::knob::Knob;
pub use crate::place::{Directory, Endpoint, Place, Registry};

/// One pattern over one transport.
pub trait Lab: Sized + 'static {
    /// `"redis"`: with the pattern (and a variant) it is the lab's name, `pubsub-redis`.
    const TRANSPORT: &'static str;
    /// Tells two labs of one pattern and transport apart: `zeromq-dealer`.
    const VARIANT: Option<&'static str> = None;
    /// The broker in between; `None` where the peers talk directly.
    const BROKER: Option<Broker>;
    /// What survives.
    const GUARANTEE: Guarantee;
    /// What happens when the receiving side is too slow.
    const OVERLOAD: Overload;
    /// Whether a role that joins knows that it has joined.
    const JOIN: Join;
    /// The numbers that can be set from outside: whatever this lab reads with
    /// [`Place::knob`]. A pipeline's control channel has its own lab's knobs.
    const KNOBS: &'static [Knob] = &[];

    /// Connects to the place. Nothing is sent or subscribed yet.
    async fn open(place: &Place) -> Result<Self>;

    /// Called once, after all roles have left: nothing stays in the broker.
    /// Removing what was never there is not an error.
    async fn remove(place: &Place) -> Result<()>;
}

/// The servers that can stand between the peers.
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
    /// Every broker a lab can ask for.
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

/// What a lab promises about a message it has taken responsibility for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guarantee {
    /// Each message arrives once or not at all. In steady state none is lost.
    AtMostOnce,
    /// A confirmed message arrives at least once while the broker (or the peer
    /// that holds it) lives; a crash of the consumer loses none.
    AtLeastOnce,
    /// As above, and confirmed messages survive kill -9 of the process that
    /// holds them: the broker's, or, where a queue lives with its producer,
    /// the producer's. They can be had again when it has been restarted.
    Durable,
}

impl Guarantee {
    /// The words used in reports and results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at-most-once",
            Self::AtLeastOnce => "at-least-once",
            Self::Durable => "durable",
        }
    }
}

/// What happens to new messages when the receiving side does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Overload {
    /// The sender waits: back-pressure reaches it.
    Waits,
    /// Messages are dropped, silently or counted.
    Drops,
    /// The slow receiver is disconnected.
    Disconnects,
    /// They are stored until the receiver comes for them, within memory or disk.
    Stores,
}

impl Overload {
    /// The words used in reports and results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Drops => "drops",
            Self::Disconnects => "disconnects",
            Self::Stores => "stores",
        }
    }
}

/// Whether the call that joins (subscribes, connects) returns with certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Join {
    /// Live when the call returns: the other side has said so.
    Confirmed,
    /// The peer cannot tell us: send probes until one comes through.
    Probed,
}

impl Join {
    /// The words used in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Probed => "probed",
        }
    }
}

macro_rules! display_as_str {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    )*};
}
display_as_str!(Broker, Guarantee, Overload, Join);
