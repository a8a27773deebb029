//! Raw-socket baselines, one for each transport: bytes encoded beforehand, sent through
//! plain sockets to the same broker or peer, in the same run. A baseline has no client
//! library, no header and no account, only a count. A lab is rarely faster; the distance
//! between them is the cost of the client library and the lab's own code.
//!
//! A baseline runs like a lab: two processes, the same schedule, the same window, the
//! same wake-ups. Each message carries a mark and sixteen digits for the time it was due;
//! only these are written when it is sent.

mod amqp;
mod frame;
mod list;
mod loops;
mod mqtt;
mod nats;
mod peers;
mod redis;
mod socket;
mod stomp;
mod wire;

use labs::catalog::{Entry, Particular, Pattern};
use labs::lab::{Guarantee, Join, Overload, Recovery};

use super::handle::Handle;
use list::{BASELINES, Baseline};

/// All baselines, which run like labs.
pub fn handles() -> Vec<Handle> {
    BASELINES.iter().map(handle).collect()
}

/// The name of a lab's baseline, if there is one.
pub fn of_lab(entry: &Entry) -> Option<String> {
    let own = |baseline: &&Baseline| {
        baseline.transport == entry.transport && baseline.patterns.contains(&entry.pattern)
    };
    BASELINES.iter().find(own).map(Baseline::name)
}

fn handle(baseline: &Baseline) -> Handle {
    let pattern = if baseline.answered() { Pattern::RequestReply } else { Pattern::OneWay };
    let entry = Entry {
        name: baseline.name(),
        pattern,
        transport: baseline.transport,
        variant: None,
        broker: baseline.broker,
        broker_since: None,
        broker_features: &[],
        guarantee: Guarantee::AtMostOnce,
        overload: Overload::Waits,
        join: Join::Confirmed,
        recovery: Recovery::Nobody,
        knobs: &[],
        source: "harness/src/roles/baseline/mod.rs".to_owned(),
        particular: Particular::None,
        built_in: true,
    };
    Handle {
        entry,
        run: loops::run,
        remove: baseline.wire.remove,
        publishers: None,
        baseline: true,
        accounts: false,
        queue: None,
    }
}
