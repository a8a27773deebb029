//! Every trial, with all that was counted.

use serde::Serialize;

use super::super::evidence::{Sheet, short_name};
use super::super::number;
use super::answer::percentile;
use super::median_of;
use crate::bundle::{Cell, Counts, Flag, Percentiles, Trial};

/// The trials of one sheet.
#[derive(Serialize)]
pub(super) struct TrialTable {
    title: String,
    is_rate: bool,
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

/// A trial, or all good ones together.
#[derive(Serialize)]
struct Row {
    name: String,
    together: bool,
    failed: Option<String>,
    throughput: String,
    counts: Vec<String>,
    times: Vec<String>,
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

/// The table of one sheet.
pub(super) fn table(sheet: &Sheet<'_>) -> TrialTable {
    let cells = sheet.by_guarantee().into_iter().flat_map(|(_, cells)| cells);
    TrialTable {
        title: format!("{}, {}", sheet.load_text(), sheet.setting()),
        is_rate: !sheet.is_max(),
        labs: cells.map(lab).collect(),
    }
}

fn lab(cell: &Cell) -> Lab {
    let mut rows: Vec<Row> = cell.trials.iter().map(trial).collect();
    if let Some(summary) = &cell.summary {
        rows.push(Row {
            name: "together".to_owned(),
            together: true,
            failed: None,
            throughput: number::rate(summary.throughput_per_s.median),
            counts: counts(&summary.counts),
            times: times(&summary.response_ns, &summary.lag_ns, summary.pacer_ns.as_ref()),
            flags: join(&summary.flags),
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

fn trial(trial: &Trial) -> Row {
    Row {
        name: format!("{}", trial.index + 1),
        together: false,
        failed: trial.failed.clone(),
        throughput: number::rate(trial.throughput_per_s),
        counts: counts(&trial.counts),
        times: times(&trial.response_ns, &trial.lag_ns, trial.pacer_ns.as_ref()),
        flags: join(&trial.flags),
    }
}

/// In the order of the template's columns.
fn counts(counts: &Counts) -> Vec<String> {
    let with = |value: u64, name: &str, more: u64| match more {
        0 => number::count(value),
        more => format!("{} ({name} {})", number::count(value), number::count(more)),
    };
    vec![
        number::count(counts.sent),
        number::count(counts.received),
        number::count(counts.lost),
        number::count(counts.confirmed_lost),
        number::count(counts.unconfirmed_lost),
        number::count(counts.refused),
        number::count(counts.indeterminate),
        with(counts.duplicated, "redelivered", counts.redelivered),
        with(counts.reordered, "by up to", counts.reorder_distance),
        number::count(counts.corrupt),
        number::count(counts.misrouted),
        number::count(counts.negative),
        number::count(counts.window_resets),
    ]
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

/// All flags of a cell, a failed trial's too where nothing else is left to show.
pub(super) fn flags(cell: &Cell) -> Vec<Flag> {
    match &cell.summary {
        Some(summary) => summary.flags.clone(),
        None => cell.trials.iter().flat_map(|trial| trial.flags.iter().copied()).collect(),
    }
}

fn join(flags: &[Flag]) -> String {
    flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(", ")
}

/// The median steal over all trials of a run's cells, 0 to 1.
pub(super) fn median_steal(cells: &[Cell]) -> Option<f64> {
    median_of(cells.iter().flat_map(|cell| &cell.trials).map(|trial| trial.noise.steal))
}
