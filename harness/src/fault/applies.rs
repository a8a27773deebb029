//! Which faults can hit a lab, and which of them its guarantee covers.

use anyhow::{Result, bail};
use labs::catalog::{Entry, Particular, Pattern};
use labs::lab::Guarantee;
use labs::queue::Confirmed;

use super::name::{ALL, Fault, What, Who};

/// Where the broker of a run comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerSource {
    /// A process that is started for the run. Also for labs without a broker.
    Private,
    /// The broker inside this program, in a process of its own that is started for the run.
    Embedded,
    /// The user's own, given by `--url`.
    Url,
}

/// Whether a guarantee covers a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Covered {
    /// The lab promises to keep it.
    Yes,
    /// It promises nothing; the reason.
    No(String),
}

/// How many senders and receivers (workers, for a pipeline) run under a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Senders.
    pub senders: usize,
    /// Receivers; workers, for a pipeline.
    pub receivers: usize,
}

/// The smallest shape in which somebody is left after the fault: two of the role that is killed,
/// where the pattern can have two.
pub fn shape(fault: Fault, entry: &Entry) -> Shape {
    let several = match (fault.who, fault.what) {
        (who, What::Kill) if who.is_role() => who,
        _ => return Shape { senders: 1, receivers: 1 },
    };
    let senders = match entry.pattern {
        Pattern::Pipeline => 1,
        // The publisher binds, and subscribers know one.
        Pattern::PubSub | Pattern::Durable if entry.broker.is_none() => 1,
        _ => 2,
    };
    let receivers = match (entry.pattern, several) {
        (Pattern::OneWay, _) | (Pattern::Pipeline, Who::Receiver) => 1,
        _ => 2,
    };
    match several {
        Who::Sender => Shape { senders, receivers: 1 },
        _ => Shape { senders: 1, receivers },
    }
}

/// Why a fault cannot hit a lab; `None`: it can.
pub fn why_not(fault: Fault, entry: &Entry, source: BrokerSource) -> Option<String> {
    let Fault { who, what } = fault;
    let lab = &entry.name;
    let reason = match who {
        Who::Disk => format!("`{fault}` needs a file system of its own, which is not supported yet"),
        Who::Broker if entry.broker.is_none() => {
            format!("{lab} has no broker: its peers talk to each other directly")
        }
        Who::Broker if source == BrokerSource::Url => {
            let done = match what {
                What::Kill => "killed",
                What::Pause => "paused",
                _ => "restarted",
            };
            format!("a broker that is given by --url is not {done} here: others may use it")
        }
        Who::Worker if entry.pattern != Pattern::Pipeline => {
            format!("{lab} has no workers: only pipelines have")
        }
        Who::Sender | Who::Worker | Who::Receiver if entry.in_process() => {
            format!("the roles of {lab} share one process, so none of them can be hit alone")
        }
        Who::Link if entry.in_process() => {
            format!("{lab} has no link: its roles share one process")
        }
        _ => return None,
    };
    Some(reason)
}

/// The faults that can hit a lab.
pub fn applicable(entry: &Entry, source: BrokerSource) -> Vec<Fault> {
    ALL.into_iter().filter(|fault| why_not(*fault, entry, source).is_none()).collect()
}

/// Refuses a fault that cannot hit a lab.
///
/// # Errors
/// The reason, and the faults that can hit it.
pub fn check_applies(fault: Fault, entry: &Entry, source: BrokerSource) -> Result<()> {
    let Some(reason) = why_not(fault, entry, source) else { return Ok(()) };
    let others: Vec<String> = applicable(entry, source).iter().map(Fault::to_string).collect();
    if others.is_empty() {
        bail!("{reason}. No fault applies to {}; take a lab over another transport", entry.name);
    }
    bail!("{reason}. The faults of {} are {}", entry.name, others.join(", "));
}

/// Whether a guarantee covers a fault of a lab, in the shape of [`shape`]. The guarantee may be less
/// than the lab's own, as over a broker whose settings do not allow it.
pub fn covered(guarantee: Guarantee, fault: Fault, entry: &Entry) -> Covered {
    // What is stored outlives the only sender, but somebody has to be left to receive it.
    let alone =
        only_one(fault, entry).filter(|_| guarantee == Guarantee::AtMostOnce || fault.who != Who::Sender);
    let reason = alone.or_else(|| match guarantee {
        _ if !ends_the_store(fault, entry) => None,
        Guarantee::AtMostOnce => None,
        Guarantee::AtLeastOnce => Some("it holds while what stores the messages lives".to_owned()),
        Guarantee::Durable if fault.what == What::Restart => None,
        Guarantee::Durable => Some("what stores the messages is not started again".to_owned()),
    });
    let reason = reason.or_else(|| {
        (fault.who == Who::Disk && guarantee != Guarantee::AtMostOnce)
            .then(|| "no guarantee covers the disk of what stores the messages".to_owned())
    });
    reason.map_or(Covered::Yes, Covered::No)
}

/// Whether a guarantee covers all faults of a run.
pub fn covers_all(guarantee: Guarantee, faults: &[Fault], entry: &Entry) -> Covered {
    let mut each = faults.iter().map(|fault| covered(guarantee, *fault, entry));
    each.find(|covered| *covered != Covered::Yes).unwrap_or(Covered::Yes)
}

/// The reason where a kill leaves nobody of that kind.
fn only_one(fault: Fault, entry: &Entry) -> Option<String> {
    let shape = shape(fault, entry);
    let alone = match fault.who {
        _ if fault.what != What::Kill => return None,
        Who::Broker => "broker",
        Who::Sender if shape.senders == 1 => "sender",
        Who::Receiver | Who::Worker if shape.receivers == 1 => "receiver",
        _ => return None,
    };
    Some(format!("the only {alone} is killed and not started again"))
}

/// Whether the fault ends the process that stores confirmed messages: the broker, or the sender of
/// an outbox.
fn ends_the_store(fault: Fault, entry: &Entry) -> bool {
    let stores = match entry.broker {
        Some(_) => Who::Broker,
        None if entry.particular == Particular::Confirmed(Confirmed::Stored) => Who::Sender,
        None => return false,
    };
    fault.who == stores && matches!(fault.what, What::Kill | What::Restart)
}

#[cfg(test)]
mod tests;
