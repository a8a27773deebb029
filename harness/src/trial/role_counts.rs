//! Valid sender and receiver counts per pattern.

use anyhow::{Result, bail};
use labs::catalog::Pattern;
use labs::lab::Overload;

use crate::measure::account;
use crate::results::LoadKind;
use crate::roles::Handle;
use crate::roles::protocol::{Kind, kinds};

/// How many of each kind there are.
pub fn role_counts(pattern: Pattern, senders: usize, receivers: usize) -> Vec<(Kind, usize)> {
    let kinds = kinds(pattern);
    match pattern {
        Pattern::Pipeline => vec![(kinds[0], senders), (kinds[1], receivers), (kinds[2], 1)],
        _ => vec![(kinds[0], senders), (kinds[1], receivers)],
    }
}

/// Whether messages are kept while nobody is there to receive them.
fn stores(handle: &Handle) -> bool {
    matches!(handle.entry.pattern, Pattern::Queue | Pattern::Durable)
        && handle.entry.overload == Overload::Stores
}

/// Whether a lab has this shape under this load; the error says which it has.
pub fn check_shape(handle: &Handle, load: LoadKind, senders: usize, receivers: usize) -> Result<()> {
    let name = &handle.entry.name;
    if senders == 0 || receivers == 0 {
        bail!("{name} cannot run with {senders} senders and {receivers} receivers; give at least 1 of each");
    }
    if senders > account::MAX_PRODUCERS {
        bail!("{senders} senders are more than can be accounted for ({})", account::MAX_PRODUCERS);
    }
    match handle.entry.pattern {
        _ if load == LoadKind::Drain && !stores(handle) => {
            bail!(
                "{name} has nothing that keeps a backlog while its receivers are away; a drain can be measured over queues and durable subscribers that store, as in `{}`",
                crate::hint::command(&["bench", "queue-redis", "--load", "drain"])
            )
        }
        Pattern::OneWay if receivers != 1 => {
            bail!(
                "{name} has 1 receiver, not {receivers}: one-way goes from N senders to 1 receiver; use --receivers 1"
            )
        }
        Pattern::Pipeline if senders != 1 => {
            bail!(
                "{name} has 1 ventilator, not {senders}: a pipeline is 1 ventilator, N workers, 1 sink; use --senders 1"
            )
        }
        Pattern::PubSub if handle.publishers.is_some_and(|most| senders > most) => {
            bail!(
                "{name} has 1 publisher, not {senders}: its peers talk directly; use --senders 1, or a brokered lab"
            )
        }
        _ => Ok(()),
    }
}
