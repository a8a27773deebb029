//! The first line that each role of a trial gets.

use std::collections::BTreeMap;
use std::path::Path;

use labs::lab::BrokerAddress;

use super::role_counts::role_counts;
use super::spec::Spec;
use crate::measure::clock;
use crate::roles::protocol::{Init, Kind, Measure};

/// Those of all roles of a trial: its number, its place and the broker's address, and the folder of
/// its accounts.
pub(crate) fn inits(
    spec: &Spec,
    run: u32,
    name: &str,
    address: Option<&BrokerAddress>,
    accounts: &Path,
) -> Vec<Init> {
    let measure = Measure {
        accounts: accounts.to_owned(),
        load: spec.load.clone(),
        size: spec.size,
        seed: spec.seed,
        warmup_ns: clock::seconds(spec.warmup),
        measure_ns: clock::seconds(spec.seconds),
        window: spec.window,
        threads: spec.placement.threads,
        record: spec.options.record,
        lockstep: spec.options.lockstep,
    };
    let mut inits = Vec::new();
    for (kind, count) in role_counts(spec.handle.entry.pattern, spec.senders, spec.receivers) {
        inits.extend((0..count).map(|index| Init {
            lab: spec.handle.entry.name.clone(),
            kind,
            index,
            senders: spec.senders,
            receivers: spec.receivers,
            run,
            name: name.to_owned(),
            address: address.cloned(),
            knobs: spec.knobs.clone(),
            bind: bind(spec, kind),
            filter: None,
            measure: Some(measure.clone()),
            brief: false,
            clock_ahead_ns: 0,
            restarted: false,
        }));
    }
    inits
}

/// Where a role of this kind binds, if not at a port on loopback.
fn bind(spec: &Spec, kind: Kind) -> BTreeMap<String, String> {
    let Some(address) = spec.placement.launch.listen() else { return BTreeMap::new() };
    kind.binds(true).iter().map(|namespace| ((*namespace).to_owned(), address.clone())).collect()
}
