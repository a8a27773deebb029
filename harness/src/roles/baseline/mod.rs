//! The wire floor of each transport: bytes encoded beforehand, through plain
//! sockets, to the same broker or peer, in the same run. There is no client
//! library in it, no header and no account, only a count. A lab can hardly be
//! faster; how near it comes is what its client library and its own code leave
//! of the wire.
//!
//! A floor is run like a lab: two processes, the same schedule, the same
//! window, the same wake-ups. Each message carries a mark and sixteen digits
//! for the time it was due; only these are written when it is sent.

mod amqp;
mod floors;
mod frame;
mod loops;
mod mqtt;
mod nats;
mod peers;
mod redis;
mod socket;
mod stomp;
mod wire;

use labs::catalog::{Entry, Particular, Pattern};
use labs::lab::{Guarantee, Join, Overload};

use super::handle::Handle;
use floors::{BASELINES, Baseline};

/// Every floor, to be run like a lab.
pub fn handles() -> Vec<Handle> {
    BASELINES.iter().map(handle).collect()
}

/// The name of the floor that lies beneath a lab, if one does.
pub fn beneath(entry: &Entry) -> Option<String> {
    let own =
        |floor: &&Baseline| floor.transport == entry.transport && floor.beneath.contains(&entry.pattern);
    BASELINES.iter().find(own).map(Baseline::name)
}

fn handle(floor: &Baseline) -> Handle {
    let pattern = if floor.answered() { Pattern::RequestReply } else { Pattern::OneWay };
    let entry = Entry {
        name: floor.name(),
        pattern,
        transport: floor.transport,
        variant: None,
        broker: floor.broker,
        guarantee: Guarantee::AtMostOnce,
        overload: Overload::Waits,
        join: Join::Confirmed,
        knobs: &[],
        source: "harness/src/roles/baseline/mod.rs".to_owned(),
        particular: Particular::None,
        built_in: true,
    };
    Handle {
        entry,
        run: loops::run,
        remove: floor.wire.remove,
        publishers: None,
        baseline: true,
        accounts: false,
    }
}
