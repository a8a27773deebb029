//! The tables of all trials, with every count.

use serde::Serialize;

use super::super::model::{Comparison, backlog, short_name};
use super::super::{cases, number};
use super::cell::{join, percentile};
use crate::results::{BenchmarkCase, Counts, LoadKind, Noise, Percentiles, Trial};
use crate::stats;

/// The trials of one comparison.
#[derive(Serialize)]
pub(super) struct TrialTable {
    title: String,
    is_rate: bool,
    is_drain: bool,
    /// Names of the counts that are shown.
    counts: Vec<&'static str>,
    /// Names of those that are 0 in every trial, and left out.
    zeros: Vec<&'static str>,
    /// Columns between the counts and the flags.
    columns: usize,
    labs: Vec<Lab>,
}

#[derive(Serialize)]
struct Lab {
    name: String,
    guarantee: String,
    rows: Vec<Row>,
    cost: Vec<CostRow>,
    knobs: String,
}

/// A count, and the class that says how it looks.
#[derive(Serialize)]
struct Shown {
    text: String,
    class: &'static str,
}

/// A trial, or all good ones together.
#[derive(Serialize)]
struct Row {
    name: String,
    together: bool,
    failed: Option<String>,
    throughput: String,
    counts: Vec<Shown>,
    times: Vec<String>,
    /// What went on beside it; nothing for all together.
    noise: Vec<String>,
    flags: String,
}

#[derive(Serialize)]
struct CostRow {
    role: String,
    cpu: String,
    switches: String,
    writes: String,
    bytes: String,
    allocations: String,
    memory: String,
}

/// A count's name, whether it is shown even if it is 0 everywhere, and how it is set.
type Count = (&'static str, bool, fn(&Counts) -> String);

const REORDERED: &str = "reord.";
const COUNTS: [Count; 16] = [
    ("sent", true, |all| number::count(all.sent)),
    ("received", true, |all| number::count(all.received)),
    ("lost", false, |all| number::count(all.lost)),
    ("confirmed-lost", false, |all| number::count(all.confirmed_lost)),
    ("unconfirmed-lost", false, |all| number::count(all.unconfirmed_lost)),
    ("refused", false, |all| number::count(all.refused)),
    ("indeterminate", false, |all| number::count(all.indeterminate)),
    ("unaccounted", false, |all| number::count(all.unaccounted)),
    ("duplic.", false, |all| with(all.duplicated, "redelivered", all.redelivered)),
    (REORDERED, false, |all| with(all.reordered, "by up to", all.reorder_distance)),
    ("corrupt", false, |all| number::count(all.corrupt)),
    ("misrouted", false, |all| number::count(all.misrouted)),
    ("negative latency", false, |all| number::count(all.negative)),
    ("peers disconnected", false, |all| number::count(all.peers_disconnected)),
    ("messages skipped", false, |all| number::count(all.messages_skipped)),
    ("window resets", false, |all| number::count(all.window_resets)),
];

fn with(value: u64, name: &str, more: u64) -> String {
    match more {
        0 => number::count(value),
        more => format!("{} ({name} {})", number::count(value), number::count(more)),
    }
}

/// The table of one comparison.
pub(super) fn table(comparison: &Comparison<'_>) -> TrialTable {
    let cells: Vec<&BenchmarkCase> =
        comparison.by_guarantee().into_iter().flat_map(|(_, cells)| cells).collect();
    // Failed trials count, too: what they lack must not be said to be 0 everywhere.
    let trials = || cells.iter().flat_map(|cell| &cell.trials);
    let (shown, zeros): (Vec<Count>, Vec<Count>) = COUNTS
        .into_iter()
        .partition(|(_, always, text)| *always || trials().any(|trial| text(&trial.counts) != "0"));
    let (is_rate, is_drain) = (comparison.kind() == LoadKind::Rate, comparison.kind() == LoadKind::Drain);
    TrialTable {
        title: format!("{}, {}", comparison.load_text(), comparison.setting()),
        is_rate,
        is_drain,
        columns: if is_rate { 8 } else { 0 } + if is_drain { 2 } else { 0 } + 4,
        labs: cells.into_iter().map(|cell| lab(cell, &shown)).collect(),
        counts: shown.into_iter().map(|(name, ..)| name).collect(),
        zeros: zeros.into_iter().map(|(name, ..)| name).collect(),
    }
}

fn lab(cell: &BenchmarkCase, shown: &[Count]) -> Lab {
    let counts = |counts: &Counts| {
        let shown = shown.iter().enumerate().map(|(at, (name, _, text))| {
            let text = text(counts);
            let class = match at {
                0 => "start",
                1 => "",
                _ if text == "0" || (*name == REORDERED && !cell.promises_order()) => "zero",
                _ => "some",
            };
            Shown { text, class }
        });
        shown.collect()
    };
    let trial = |trial: &Trial| Row {
        name: format!("{}", trial.number()),
        together: false,
        failed: trial.failed.clone(),
        throughput: number::rate(trial.throughput_per_s),
        counts: counts(&trial.counts),
        times: match (cell.load.kind, &trial.drain) {
            (LoadKind::Drain, Some(drain)) => {
                [drain.fill_s, drain.drain_s].map(|s| number::time(s * 1e9)).into()
            }
            _ => times(&trial.response_ns, &trial.lag_ns, trial.pacer_ns.as_ref()),
        },
        noise: noise(&trial.noise),
        flags: join(&cases::trial_flags(cell, trial)),
    };
    let mut rows: Vec<Row> = cell.trials.iter().map(trial).collect();
    if let Some(summary) = &cell.summary {
        let together =
            backlog(cell).map(|all| [all.fill_s, all.drain_s].map(|s| number::time(s * 1e9)).into());
        rows.push(Row {
            name: "together".to_owned(),
            together: true,
            failed: None,
            throughput: number::rate(summary.throughput_per_s.median),
            counts: counts(&summary.counts),
            times: together
                .unwrap_or_else(|| times(&summary.response_ns, &summary.lag_ns, summary.pacer_ns.as_ref())),
            noise: vec![String::new(); 4],
            flags: join(&cases::flags(cell)),
        });
    }
    let cost = cell.summary.iter().flat_map(|summary| &summary.cost).map(|(role, cost)| CostRow {
        role: role.clone(),
        cpu: number::time(cost.cpu_ns_per_msg),
        switches: number::per_message(cost.switches_per_msg),
        writes: number::per_message(cost.writes_per_msg),
        bytes: cost.bytes_per_msg.map_or_else(|| "–".to_owned(), |bytes| format!("{bytes:.1}")),
        allocations: number::per_message(cost.allocations_per_msg),
        memory: number::bytes(cost.rss_bytes),
    });
    let knobs: Vec<String> = cell.knobs.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    Lab {
        name: short_name(cell).to_owned(),
        guarantee: cell.guarantee.clone(),
        rows,
        cost: cost.collect(),
        knobs: knobs.join(", "),
    }
}

/// In the order of the template's columns.
fn times(response: &Percentiles, lag: &Percentiles, pacer: Option<&Percentiles>) -> Vec<String> {
    let mut times: Vec<String> = [response.p50, response.p90, response.p99, response.p999, response.max]
        .into_iter()
        .map(|value| percentile(response, value))
        .collect();
    times.push(percentile(lag, lag.p99));
    times.push(pacer.map_or_else(|| "–".to_owned(), |pacer| percentile(pacer, pacer.p99)));
    times.push(number::count(response.count));
    times
}

/// In the order of the template's columns.
fn noise(noise: &Noise) -> Vec<String> {
    vec![
        number::time(noise.oversleep_p99_ns as f64),
        number::time(noise.oversleep_max_ns as f64),
        number::share(noise.steal),
        number::share(noise.foreign_cpu),
    ]
}

/// The median steal over all trials of a run, 0 to 1.
pub(super) fn median_steal(cells: &[BenchmarkCase]) -> Option<f64> {
    median_of(cells.iter().flat_map(|cell| &cell.trials).map(|trial| trial.noise.steal))
}

/// The median of what trials say, where there is one: used beside a trial's own figures.
fn median_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    stats::median(&values.collect::<Vec<_>>())
}
