//! The summary of the good trials of a case.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;

use super::{bootstrap, decode, median, new_histogram, percentiles, quantile};
use crate::results::{BenchmarkCase, Cost, Counts, Flag, Hops, LoadKind, Percentiles, Raw, Summary, Trial};

/// Summarizes the good trials of a case; `raws[i]` is the recording of `cell.trials[i]` (one of
/// a failed trial is not looked at). `None` where no trial was good. The seed is the
/// bootstrap's.
///
/// Throughput is a median with an interval, counts are sums, percentiles come
/// from the merged histograms (never from percentiles), two of them with an
/// interval, costs are medians.
///
/// # Errors
/// When there is not one recording for each trial, or a histogram is damaged.
pub fn summarize(cell: &BenchmarkCase, raws: &[Raw], seed: u64) -> Result<Option<Summary>> {
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

    let responses: Vec<Histogram<u64>> =
        good.iter().map(|(_, raw)| decode(&raw.response)).collect::<Result<_>>().context(cell.id.clone())?;
    let mut response = new_histogram();
    responses.iter().try_for_each(|trial| response.add(trial))?;
    let response_ns = percentiles(&response);
    // An interval is shown where its percentile is.
    let interval = |shown: Option<u64>, at| shown.and_then(|_| quantile(&responses, at, seed));
    let confirm_ns = percentiles(&merged(|raw| &raw.confirm)?);
    let pacer_ns = percentiles(&merged(|raw| &raw.pacer)?);
    let mut flags: BTreeSet<Flag> = trials().flat_map(|trial| trial.flags.iter().copied()).collect();
    // Times that were withheld for their clocks are not few.
    let few = response_ns.p99.is_none() && !flags.contains(&Flag::UncertainClock);
    if cell.load.kind == LoadKind::Rate && few {
        flags.insert(Flag::TooFewSamples);
    }
    let throughputs: Vec<f64> = trials().map(|trial| trial.throughput_per_s).collect();
    Ok(Some(Summary {
        throughput_per_s: bootstrap(&throughputs, seed),
        counts: trials().fold(Counts::default(), |sum, trial| total(&sum, &trial.counts)),
        response_ns,
        response_p50_ns: interval(response_ns.p50, 0.5),
        response_p99_ns: interval(response_ns.p99, 0.99),
        service_ns: percentiles(&merged(|raw| &raw.service)?),
        lag_ns: percentiles(&merged(|raw| &raw.lag)?),
        pacer_ns: (pacer_ns.count > 0).then_some(pacer_ns),
        confirm_ns: (confirm_ns.count > 0 || trials().any(|trial| trial.confirm_ns.is_some()))
            .then_some(confirm_ns),
        hops_ns: hops(&good).with_context(|| cell.id.clone())?,
        shares: shares(trials()),
        cost: costs(trials()),
        flags: flags.into_iter().collect(),
    }))
}

/// The hops of all trials that recorded them, from their merged histograms.
fn hops(good: &[(&Trial, &Raw)]) -> Result<Option<Hops<Percentiles>>> {
    let mut all = Hops::<()>::default().map(|()| new_histogram());
    let mut any = false;
    for hops in good.iter().filter_map(|(_, raw)| raw.hops.as_ref()) {
        all.task_queued.add(decode(&hops.task_queued)?)?;
        all.worked.add(decode(&hops.worked)?)?;
        all.result_queued.add(decode(&hops.result_queued)?)?;
        all.collected.add(decode(&hops.collected)?)?;
        any = true;
    }
    Ok(any.then(|| all.map(percentiles)))
}

/// The tasks of each worker, over all trials.
fn shares<'a>(trials: impl Iterator<Item = &'a Trial>) -> Vec<u64> {
    let mut sums: Vec<u64> = Vec::new();
    for trial in trials {
        sums.resize(sums.len().max(trial.shares.len()), 0);
        sums.iter_mut().zip(&trial.shares).for_each(|(sum, share)| *sum = sum.saturating_add(*share));
    }
    sums
}

/// The sums of two accounts; the distance is the larger one. Every field is
/// named, so that a new one cannot be forgotten here.
fn total(a: &Counts, b: &Counts) -> Counts {
    Counts {
        sent: a.sent.saturating_add(b.sent),
        received: a.received.saturating_add(b.received),
        lost: a.lost.saturating_add(b.lost),
        refused: a.refused.saturating_add(b.refused),
        unconfirmed_lost: a.unconfirmed_lost.saturating_add(b.unconfirmed_lost),
        confirmed_lost: a.confirmed_lost.saturating_add(b.confirmed_lost),
        indeterminate: a.indeterminate.saturating_add(b.indeterminate),
        duplicated: a.duplicated.saturating_add(b.duplicated),
        redelivered: a.redelivered.saturating_add(b.redelivered),
        reordered: a.reordered.saturating_add(b.reordered),
        reorder_distance: a.reorder_distance.max(b.reorder_distance),
        corrupt: a.corrupt.saturating_add(b.corrupt),
        misrouted: a.misrouted.saturating_add(b.misrouted),
        unaccounted: a.unaccounted.saturating_add(b.unaccounted),
        peers_disconnected: a.peers_disconnected.saturating_add(b.peers_disconnected),
        messages_skipped: a.messages_skipped.saturating_add(b.messages_skipped),
        negative: a.negative.saturating_add(b.negative),
        window_resets: a.window_resets.saturating_add(b.window_resets),
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
