//! The account settled: what became of every message, from the files that the
//! roles kept.

use std::path::Path;

use anyhow::Result;

use super::role_counts::role_counts;
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

/// How the messages of a trial came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing more can come: what was not received is lost.
    Drained,
    /// The trial failed before that: what was not received may still be in the broker's store or
    /// on the way, so it is unaccounted for.
    Failed,
    /// A role was killed. What it had not confirmed is indeterminate, the rest unaccounted for.
    Crashed,
}

/// Whether every message that was sent was received or refused, from the sets that the
/// roles keep. Counters cannot say it of receivers that share the messages: one that comes to
/// two of them counts twice.
pub(super) fn nothing_is_missing(spec: &Spec, dir: &Path) -> Result<bool> {
    Ok(reconcile(spec, dir, Ending::Drained)?.counts.lost == 0)
}

/// The final account, from the files that the roles kept.
pub(super) fn reconcile(spec: &Spec, dir: &Path, ending: Ending) -> Result<Reconciled> {
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
        counts.unconfirmed_lost = counts.sent.saturating_sub(counts.received);
        counts.lost = counts.unconfirmed_lost;
        end(&mut counts, ending);
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
    for (kind, count) in role_counts(pattern, spec.senders, spec.receivers) {
        for index in 0..count {
            let counters = Counters::open(dir, &format!("{kind}-{index}"))?;
            counts.peers_disconnected += counters.get(Counter::PeersDisconnected);
            counts.messages_skipped += counters.get(Counter::MessagesSkipped);
        }
    }
    end(&mut counts, ending);
    Ok(Reconciled { counts, again })
}

/// Calls missing messages lost only where nothing more can come.
fn end(counts: &mut Counts, ending: Ending) {
    if ending == Ending::Drained {
        return;
    }
    let unconfirmed = std::mem::take(&mut counts.unconfirmed_lost);
    let confirmed = std::mem::take(&mut counts.confirmed_lost);
    counts.lost = 0;
    if ending == Ending::Crashed {
        counts.indeterminate = unconfirmed;
        counts.unaccounted = confirmed;
    } else {
        counts.unaccounted = unconfirmed + confirmed;
    }
}
