//! The accounts of a trial as they grow.

use std::path::Path;

use anyhow::Result;
use labs::catalog::Pattern;

use super::{Spec, receivers};
use crate::account::{Counter, Counters};
use crate::role::protocol::{Kind, roles};

/// The accounts of a trial as they grow.
pub(super) struct Accounts {
    senders: Vec<Counters>,
    receivers: Vec<Counters>,
    /// Every receiver gets every message.
    copies: u64,
    /// Markers tell when nothing more will come.
    markers: u64,
}

impl Accounts {
    pub(super) fn open(spec: &Spec, dir: &Path) -> Result<Self> {
        let all = |kind: Kind, count: usize| -> Result<Vec<Counters>> {
            (0..count).map(|index| Counters::open(dir, &format!("{kind}-{index}"))).collect()
        };
        let pattern = spec.handle.entry.pattern;
        let (receiver, receivers) = receivers(spec);
        Ok(Self {
            senders: all(roles(pattern)[0], spec.senders)?,
            receivers: all(receiver, receivers)?,
            copies: match pattern {
                Pattern::PubSub | Pattern::Durable => spec.receivers as u64,
                _ => 1,
            },
            markers: match pattern {
                Pattern::OneWay | Pattern::PubSub => spec.senders as u64,
                _ => u64::MAX,
            },
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
        let refused = Self::sum(&self.senders, Counter::Refused);
        (sent.saturating_sub(refused) * self.copies).saturating_sub(received)
    }

    /// All has arrived; or every sender's marker has, and what had not come
    /// before it on a transport that keeps order will not come any more.
    pub(super) fn complete(&self) -> bool {
        self.missing() == 0
            || self.receivers.iter().all(|counters| counters.get(Counter::Markers) >= self.markers)
    }
}
