//! Which labs of a plan can run here. The user's own brokers are asked before the first trial.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use labs::lab::Broker;

use crate::broker::{self, Choices, Needs, Options, Server, Source};
use crate::process::guard;
use crate::results::Skipped;
use crate::roles::Handle;

/// The labs that can run here, and where their brokers come from.
pub(super) struct Available {
    pub(super) handles: Vec<Handle>,
    pub(super) sources: BTreeMap<Broker, Source>,
    /// Labs that cannot run, and sizes that a broker does not take.
    pub(super) skipped: Vec<Skipped>,
    pub(super) too_large: TooLarge,
}

/// Transports with the message sizes that their broker does not take.
pub(super) type TooLarge = BTreeSet<(&'static str, u64)>;

/// Finds the brokers and asks the user's own. When `strict`, a lab that cannot run is an error.
pub(super) async fn available(
    wanted: Vec<Handle>,
    choices: &Choices,
    sizes: &[u64],
    strict: bool,
) -> Result<Available> {
    let (mut sources, mut missing, mut asked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let brokers: BTreeSet<Broker> = wanted.iter().filter_map(|handle| handle.entry.broker).collect();
    for broker in brokers {
        match broker::find(broker, choices) {
            Ok(source) => {
                if let Source::Url(_) = &source {
                    let options = Options { durable: false, dir: &guard::session_dir(), settings: &[] };
                    match Server::start(broker, &source, &options).await {
                        Ok(server) => drop(asked.insert(broker, server)),
                        Err(why) => drop(missing.insert(broker, format!("{why:#}"))),
                    }
                }
                sources.insert(broker, source);
            }
            Err(why) => drop(missing.insert(broker, why.to_string())),
        }
    }
    let mut available =
        Available { handles: Vec::new(), sources, skipped: Vec::new(), too_large: TooLarge::new() };
    let mut over_stomp = BTreeMap::new();
    for handle in wanted {
        let entry = &handle.entry;
        let Some(broker) = entry.broker else {
            available.handles.push(handle);
            continue;
        };
        let server = asked.get(&broker);
        let mut reason = missing.get(&broker).cloned().or_else(|| {
            let source = available.sources.get(&broker)?;
            source.why_not(broker, entry.guarantee, entry.transport)
        });
        if let (None, Some(server)) = (&reason, server) {
            reason = server.why_not(Needs::of(entry.broker_since, entry.broker_features));
        }
        match reason {
            Some(reason) if strict => bail!("{} cannot run: {reason}", entry.name),
            Some(reason) => {
                available.skipped.push(Skipped { lab: entry.name.clone(), reason });
                continue;
            }
            None => {}
        }
        if let Some(server) = server {
            for &size in sizes {
                let mut why = server.why_not(Needs { size, ..Needs::default() });
                if why.is_none() && entry.transport == "stomp" {
                    let known = match over_stomp.entry(size) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(unknown) => unknown.insert(server.why_not_over_stomp(size).await),
                    };
                    why = known.clone();
                }
                if let Some(reason) = why {
                    available.skipped.push(Skipped { lab: entry.name.clone(), reason });
                    available.too_large.insert((entry.transport, size));
                }
            }
        }
        if !sizes.iter().all(|&size| available.too_large.contains(&(entry.transport, size))) {
            available.handles.push(handle);
        }
    }
    let why = available.skipped.first().map_or("none was requested", |skip| skip.reason.as_str());
    ensure!(!available.handles.is_empty(), "none of these labs can run here: {why}");
    Ok(available)
}
