//! The wire floor of each transport: bytes encoded beforehand, through plain
//! sockets, to the same broker or peer, in the same run. There is no client
//! library in it, no stamp and no account, only a count. A lab can hardly be
//! faster; how near it comes is what its client library and its own code leave
//! of the wire.
//!
//! A floor is run like a lab: two processes, the same schedule, the same
//! window, the same wake-ups. Each message carries a mark and sixteen digits
//! for the time it was due; only these are written when it is sent.

mod amqp;
mod frame;
mod mqtt;
mod nats;
mod peers;
mod play;
mod redis;
mod socket;
mod stomp;

use anyhow::Result;
use labs::catalog::{Entry, Particular, Pattern};
use labs::lab::{Broker, Guarantee, Join, Overload, Place};

use super::Handle;
use frame::Frame;
use socket::{Door, Socket};

/// How a floor's messages go over the wire. Everything blocks: a role has its
/// process to itself.
struct Wire {
    /// Connects as the sending side; `peer` is where the other side listens,
    /// where the two talk directly.
    connect: fn(&Place, peer: Option<&str>) -> Result<Socket>,
    /// One message with this body.
    frame: fn(&Place, body: &[u8]) -> Frame,
    /// Joins as the receiving side.
    receive: fn(&Place) -> Result<Door>,
    /// What is answered to a message with this body, for a wire with answers.
    answer: Option<fn(body: &[u8]) -> Frame>,
    /// Nothing but frames of one length comes to the receiving side: bytes are counted.
    even: bool,
    /// Takes away what stays in the broker.
    remove: fn(&Place, &[String]) -> Result<()>,
}

/// A floor, and the labs it lies beneath.
struct Floor {
    transport: &'static str,
    broker: Option<Broker>,
    beneath: &'static [Pattern],
    wire: Wire,
}

const ONE_WAY: &[Pattern] = &[Pattern::OneWay, Pattern::PubSub];
const ANSWERED: &[Pattern] = &[Pattern::RequestReply];

const FLOORS: [Floor; 14] = [
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
    fn answered(&self) -> bool {
        self.wire.answer.is_some()
    }

    fn name(&self) -> String {
        format!("floor-{}{}", if self.answered() { "reqrep-" } else { "" }, self.transport)
    }

    fn handle(&self) -> Handle {
        let pattern = if self.answered() { Pattern::RequestReply } else { Pattern::OneWay };
        let entry = Entry {
            name: self.name(),
            pattern,
            transport: self.transport,
            variant: None,
            broker: self.broker,
            guarantee: Guarantee::AtMostOnce,
            overload: Overload::Waits,
            join: Join::Confirmed,
            knobs: &[],
            source: "harness/src/role/floor/mod.rs".to_owned(),
            particular: Particular::None,
            built_in: true,
        };
        Handle { entry, run: play::run, remove: self.wire.remove, publishers: None, floor: true }
    }
}

/// Every floor, to be run like a lab.
pub fn handles() -> Vec<Handle> {
    FLOORS.iter().map(Floor::handle).collect()
}

/// The name of the floor that lies beneath a lab, if one does.
pub fn beneath(entry: &Entry) -> Option<String> {
    let own = |floor: &&Floor| floor.transport == entry.transport && floor.beneath.contains(&entry.pattern);
    FLOORS.iter().find(own).map(Floor::name)
}

/// For wires that leave nothing.
fn nothing(_: &Place, _: &[String]) -> Result<()> {
    Ok(())
}
