//! The accounts of a trial as they grow, read while its roles write them.

use std::path::Path;

use anyhow::Result;
use labs::catalog::Pattern;

use super::spec::{Spec, receivers};
use crate::measure::account::{Counter, Counters};
use crate::roles::protocol::{Kind, kinds};

/// What can be seen of a trial while it runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watch<'a> {
    /// Seconds since the common start; negative before it.
    pub at: f64,
    /// When sending ends, seconds after the common start.
    pub ends: f64,
    /// Messages sent so far.
    pub sent: u64,
    /// Deliveries that should come of them, by all receivers.
    pub expected: u64,
    /// Messages received so far, by all receivers.
    pub received: u64,
    /// Not received although a later one has been: lost, or late. `None` where receivers share the messages.
    pub overtaken: Option<u64>,
    /// Received again so far.
    pub duplicated: u64,
    /// Received after a later one of the same sender.
    pub reordered: u64,
    /// What is going on.
    pub what: &'a str,
}

/// The accounts of a trial as they grow.
pub(super) struct Accounts {
    senders: Vec<Counters>,
    receivers: Vec<Counters>,
    /// Every receiver gets every message.
    copies: u64,
    /// Markers tell when nothing more will come.
    markers: u64,
    /// Several receivers share the messages.
    shared: bool,
    /// A receiver's progress is the highest number it has seen, not how many.
    in_order: bool,
}

impl Accounts {
    pub(super) fn open(spec: &Spec, dir: &Path) -> Result<Self> {
        let all = |kind: Kind, count: usize| -> Result<Vec<Counters>> {
            (0..count).map(|index| Counters::open(dir, &format!("{kind}-{index}"))).collect()
        };
        let pattern = spec.handle.entry.pattern;
        let (receiver, receivers) = receivers(spec);
        Ok(Self {
            senders: all(kinds(pattern)[0], spec.senders)?,
            receivers: all(receiver, receivers)?,
            copies: pattern.copies(spec.receivers),
            markers: match pattern {
                Pattern::OneWay | Pattern::PubSub => spec.senders as u64,
                _ => u64::MAX,
            },
            shared: receivers > 1 && pattern == Pattern::Queue,
            in_order: pattern == Pattern::OneWay || pattern.is_fan_out(),
        })
    }

    fn sum(all: &[Counters], counter: Counter) -> u64 {
        all.iter().map(|counters| counters.get(counter)).sum()
    }

    pub(super) fn moved(&self) -> (u64, u64) {
        (Self::sum(&self.senders, Counter::Sent), Self::sum(&self.receivers, Counter::Received))
    }

    pub(super) fn missing(&self) -> u64 {
        let (sent, received) = self.moved();
        self.expected(sent).saturating_sub(received)
    }

    /// Deliveries that should come of so many messages.
    fn expected(&self, sent: u64) -> u64 {
        sent.saturating_sub(Self::sum(&self.senders, Counter::Refused)) * self.copies
    }

    /// What they say at the moment. Roles go on meanwhile: figures that are read one
    /// after the other may not fit each other exactly.
    pub(super) fn watch(&self) -> Watch<'static> {
        let (sent, received) = self.moved();
        let all = |counter| Self::sum(&self.receivers, counter);
        let seen =
            |receiver: &Counters| (0..self.senders.len()).map(|from| receiver.progress(from)).sum::<u64>();
        let highest = || self.receivers.iter().map(seen).sum::<u64>();
        Watch {
            sent,
            expected: self.expected(sent),
            received,
            overtaken: self.in_order.then(|| highest().saturating_sub(received)),
            duplicated: all(Counter::Duplicated),
            reordered: all(Counter::Reordered),
            ..Watch::default()
        }
    }

    /// Whether several receivers share the messages: then one that came to two of them counts
    /// twice, and only the sets of messages tell whether all have arrived.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    /// All has arrived; or every sender's marker has, and what had not come
    /// before it on a transport that keeps order will not come any more.
    pub(super) fn complete(&self) -> bool {
        self.missing() == 0
            || self.receivers.iter().all(|counters| counters.get(Counter::Markers) >= self.markers)
    }
}
