//! The account settled: what became of every message, from the files that the
//! roles kept.

use std::path::Path;

use anyhow::Result;

use super::spec::{Spec, receivers};
use crate::measure::account::{self, Bitmap, Counter, Counters, Set};
use crate::results::Counts;
use crate::roles::protocol::{Kind, kinds};

/// The final account, and what it says of throughput.
pub struct Reconciled {
    /// What became of the messages.
    pub counts: Counts,
    /// Received by several of those who share them: work that was done once too
    /// often each, and is no throughput.
    pub again: u64,
}

impl From<Counts> for Reconciled {
    fn from(counts: Counts) -> Self {
        Self { counts, again: 0 }
    }
}

/// The final account, from the files that the roles kept. Where a role was
/// killed (`crashed`), what was on its way and not confirmed is indeterminate:
/// neither lost nor delivered can be said of it.
pub(super) fn reconcile(spec: &Spec, dir: &Path, crashed: bool) -> Result<Reconciled> {
    let pattern = spec.handle.entry.pattern;
    let sender = kinds(pattern)[0];
    let (receiver, count) = receivers(spec);
    let names: Vec<String> = (0..count).map(|index| format!("{receiver}-{index}")).collect();
    let mut counts = Counts::default();
    if !spec.handle.accounts {
        let sum = |role: Kind, count: usize, counter: Counter| -> Result<u64> {
            (0..count).map(|index| Ok(Counters::open(dir, &format!("{role}-{index}"))?.get(counter))).sum()
        };
        counts.sent = sum(sender, spec.senders, Counter::Sent)?;
        counts.received = sum(receiver, count, Counter::Received)?;
        counts.lost = counts.sent.saturating_sub(counts.received);
        return Ok(counts.into());
    }
    let mut again = 0;
    for name in &names {
        let counters = Counters::open(dir, name)?;
        counts.duplicated += counters.get(Counter::Duplicated);
        counts.redelivered += counters.get(Counter::Redelivered);
        counts.reordered += counters.get(Counter::Reordered);
        counts.reorder_distance = counts.reorder_distance.max(counters.get(Counter::ReorderDistance));
        counts.corrupt += counters.get(Counter::Corrupt);
        counts.misrouted += counters.get(Counter::Misrouted);
        counts.negative += counters.get(Counter::Negative);
    }
    for producer in 0..spec.senders {
        let role = format!("{sender}-{producer}");
        let counters = Counters::open(dir, &role)?;
        let sent = counters.get(Counter::Sent);
        counts.sent += sent;
        counts.refused += counters.get(Counter::Refused);
        counts.window_resets += counters.get(Counter::WindowResets);
        let confirmed = Bitmap::existing(dir, &role, Set::Confirmed, producer)?;
        let refused = Bitmap::existing(dir, &role, Set::Refused, producer)?;
        let received = |name: &String| Bitmap::open(dir, name, Set::Received, producer);
        // Subscribers each expect everything; all others share it.
        let groups: Vec<Vec<Bitmap>> = if pattern.is_fan_out() {
            names.iter().map(|name| Ok(vec![received(name)?])).collect::<Result<_>>()?
        } else {
            vec![names.iter().map(received).collect::<Result<_>>()?]
        };
        for group in groups {
            let fate = account::fate(sent, &group, confirmed.as_ref(), refused.as_ref())?;
            counts.received += fate.received;
            counts.duplicated += fate.overlap;
            again += fate.overlap;
            counts.lost += fate.lost;
            counts.confirmed_lost += fate.confirmed_lost;
            counts.unconfirmed_lost += fate.lost - fate.confirmed_lost;
        }
    }
    if crashed {
        counts.indeterminate = std::mem::take(&mut counts.unconfirmed_lost);
        counts.lost -= counts.indeterminate;
    }
    Ok(Reconciled { counts, again })
}
