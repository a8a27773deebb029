//! What the good trials of a cell say together.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;

use super::{bootstrap, decode, median, new_histogram, percentiles};
use crate::bundle::{Cell, Cost, Counts, Flag, LoadKind, Raw, Summary, Trial};

/// Summarizes the good trials of `cell`; `raws[i]` is the recording of
/// `cell.trials[i]` (one of a failed trial is not looked at). `None` where no
/// trial was good. The seed is the bootstrap's.
///
/// Throughput is a median with an interval, counts are sums, percentiles come
/// from the merged histograms (never from percentiles), costs are medians.
///
/// # Errors
/// When there is not one recording for each trial, or a histogram is damaged.
pub fn summarize(cell: &Cell, raws: &[Raw], seed: u64) -> Result<Option<Summary>> {
    ensure!(
        cell.trials.len() == raws.len(),
        "{} has {} trials and {} recordings",
        cell.id,
        cell.trials.len(),
        raws.len()
    );
    let good: Vec<(&Trial, &Raw)> =
        cell.trials.iter().zip(raws).filter(|(trial, _)| trial.failed.is_none()).collect();
    if good.is_empty() {
        return Ok(None);
    }
    let trials = || good.iter().map(|(trial, _)| *trial);
    let merged = |text: fn(&Raw) -> &str| -> Result<Histogram<u64>> {
        let mut all = new_histogram();
        for (trial, raw) in &good {
            all.add(decode(text(raw)).with_context(|| format!("{}, trial {}", cell.id, trial.index))?)?;
        }
        Ok(all)
    };

    let response_ns = percentiles(&merged(|raw| &raw.response)?);
    let confirm_ns = percentiles(&merged(|raw| &raw.confirm)?);
    let pacer_ns = percentiles(&merged(|raw| &raw.pacer)?);
    let mut flags: BTreeSet<Flag> = trials().flat_map(|trial| trial.flags.iter().copied()).collect();
    if cell.load.kind == LoadKind::Rate && response_ns.p99.is_none() {
        flags.insert(Flag::TooFewSamples);
    }
    let throughputs: Vec<f64> = trials().map(|trial| trial.throughput_per_s).collect();
    Ok(Some(Summary {
        throughput_per_s: bootstrap(&throughputs, seed),
        counts: trials().fold(Counts::default(), |sum, trial| total(&sum, &trial.counts)),
        response_ns,
        service_ns: percentiles(&merged(|raw| &raw.service)?),
        lag_ns: percentiles(&merged(|raw| &raw.lag)?),
        pacer_ns: (pacer_ns.count > 0).then_some(pacer_ns),
        confirm_ns: (confirm_ns.count > 0 || trials().any(|trial| trial.confirm_ns.is_some()))
            .then_some(confirm_ns),
        cost: costs(trials()),
        flags: flags.into_iter().collect(),
    }))
}

/// The sums of two accounts; the distance is the larger one. Every field is
/// named, so that a new one cannot be forgotten here.
fn total(a: &Counts, b: &Counts) -> Counts {
    Counts {
        sent: a.sent + b.sent,
        received: a.received + b.received,
        lost: a.lost + b.lost,
        refused: a.refused + b.refused,
        unconfirmed_lost: a.unconfirmed_lost + b.unconfirmed_lost,
        confirmed_lost: a.confirmed_lost + b.confirmed_lost,
        indeterminate: a.indeterminate + b.indeterminate,
        duplicated: a.duplicated + b.duplicated,
        redelivered: a.redelivered + b.redelivered,
        reordered: a.reordered + b.reordered,
        reorder_distance: a.reorder_distance.max(b.reorder_distance),
        corrupt: a.corrupt + b.corrupt,
        misrouted: a.misrouted + b.misrouted,
        negative: a.negative + b.negative,
        window_resets: a.window_resets + b.window_resets,
    }
}

/// The median cost of each role, over the trials that have it.
fn costs<'a>(trials: impl Iterator<Item = &'a Trial>) -> BTreeMap<String, Cost> {
    let mut by_role: BTreeMap<String, Vec<Cost>> = BTreeMap::new();
    for (role, cost) in trials.flat_map(|trial| &trial.cost) {
        by_role.entry(role.clone()).or_default().push(*cost);
    }
    by_role
        .into_iter()
        .map(|(role, costs)| {
            let of =
                |field: fn(&Cost) -> Option<f64>| median(&costs.iter().filter_map(field).collect::<Vec<_>>());
            let cost = Cost {
                cpu_ns_per_msg: of(|cost| Some(cost.cpu_ns_per_msg)).unwrap_or_default(),
                switches_per_msg: of(|cost| cost.switches_per_msg),
                rss_bytes: of(|cost| Some(cost.rss_bytes as f64)).unwrap_or_default() as u64,
                writes_per_msg: of(|cost| cost.writes_per_msg),
                bytes_per_msg: of(|cost| cost.bytes_per_msg),
                allocations_per_msg: of(|cost| cost.allocations_per_msg),
            };
            (role, cost)
        })
        .collect()
}
