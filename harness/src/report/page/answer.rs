//! The result tables: one row per lab, with throughput and latency, each beside the
//! counts of lost, duplicated, reordered and corrupt messages.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::model::{Comparison, setting, short_name};
use super::super::{number, palette};
use super::cell::{flags as all_flags, percentile};
use crate::results::{BenchmarkCase, Counts, Estimate, Flag, LoadKind, Summary, Trial};
use crate::stats;

/// A pattern's table.
#[derive(Serialize)]
pub(super) struct Answer {
    groups: Vec<Group>,
    has_max: bool,
    has_rate: bool,
    /// `64 B, 1 → 1`, where it is the same in all rows.
    setting: Option<String>,
    /// The rate, where it is the same in all rows.
    rate: Option<String>,
}

/// The labs of one guarantee.
#[derive(Serialize)]
struct Group {
    guarantee: String,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    lab: String,
    short: String,
    source: String,
    colour: String,
    setting: String,
    max: Option<Speed>,
    rate: Option<Latency>,
    overload: String,
    /// Flags; with the load in front if only one of the two loads has it.
    flags: Vec<String>,
    #[serde(skip)]
    raised: Vec<(LoadKind, Flag)>,
    /// `1 of 3 trials failed`, where not all of them did.
    failures: Vec<String>,
}

/// The measured values, or the reason why there are none.
#[derive(Serialize)]
struct Speed {
    failed: Option<String>,
    median: String,
    /// Its interval, `1.2 M – 1.3 M`.
    range: Option<String>,
    /// The share of the baseline's throughput.
    share: Option<String>,
    account: Account,
}

#[derive(Serialize)]
struct Latency {
    failed: Option<String>,
    load: String,
    p50: String,
    /// Its interval, `11 µs – 13 µs`.
    p50_range: Option<String>,
    /// The multiple of the baseline's p50.
    times: Option<String>,
    p99: String,
    p99_range: Option<String>,
    account: Account,
}

/// The counts beside every figure.
#[derive(Serialize, Default)]
pub(super) struct Account {
    pub(super) lost: String,
    /// The share of the expected messages, if some were lost.
    pub(super) lost_share: Option<String>,
    pub(super) duplicated: String,
    pub(super) reordered: String,
    /// Whether what was reordered breaks a promise.
    pub(super) ordered: bool,
    pub(super) corrupt: String,
}

impl Account {
    pub(super) fn of(cell: &BenchmarkCase, counts: &Counts) -> Self {
        let expected = counts.lost.saturating_add(counts.received);
        Self {
            lost: number::count(counts.lost),
            lost_share: (counts.lost > 0).then(|| number::share(counts.lost as f64 / expected as f64)),
            duplicated: number::count(counts.duplicated),
            reordered: number::count(counts.reordered),
            ordered: cell.promises_order(),
            corrupt: number::count(counts.corrupt),
        }
    }
}

/// The answer of one pattern, from its comparisons at maximum load and at a rate;
/// `None` if there is none.
pub(super) fn answer(comparisons: &[&Comparison<'_>]) -> Option<Answer> {
    let loads = |max: bool| {
        let kind = if max { LoadKind::Max } else { LoadKind::Rate };
        comparisons.iter().filter(move |comparison| comparison.kind() == kind)
    };
    let mut groups: Vec<Group> = Vec::new();
    for comparison in loads(true) {
        for (guarantee, cells) in comparison.by_guarantee() {
            for cell in cells {
                push(&mut groups, guarantee, row(cell, Some(speed(comparison, cell)), None));
            }
        }
    }
    for comparison in loads(false) {
        for (guarantee, cells) in comparison.by_guarantee() {
            for cell in cells {
                place_rate(&mut groups, guarantee, comparison, cell);
            }
        }
    }
    for row in groups.iter_mut().flat_map(|group| &mut group.rows) {
        row.flags = flags(row);
    }
    if groups.is_empty() {
        return None;
    }
    let shown = comparisons.iter().filter(|comparison| comparison.kind() != LoadKind::Drain);
    let mut settings: Vec<String> = shown.map(|comparison| comparison.setting()).collect();
    settings.dedup();
    let rates: Vec<String> = loads(false).map(|comparison| comparison.load_text()).collect();
    Some(Answer {
        groups,
        has_max: loads(true).next().is_some(),
        has_rate: loads(false).next().is_some(),
        setting: (settings.len() == 1).then(|| settings.remove(0)),
        rate: (rates.windows(2).all(|pair| pair[0] == pair[1])).then(|| rates.first().cloned()).flatten(),
    })
}

impl Answer {
    /// How many labs it lists, each setting for itself.
    pub(super) fn len(&self) -> usize {
        self.groups.iter().map(|group| group.rows.len()).sum()
    }
}

fn push(groups: &mut Vec<Group>, guarantee: &str, row: Row) {
    match groups.iter_mut().find(|group| group.guarantee == guarantee) {
        Some(group) => group.rows.push(row),
        None => groups.push(Group { guarantee: guarantee.to_owned(), rows: vec![row] }),
    }
}

/// Beside the speed of the same lab and setting, where that has no rate yet.
fn place_rate(groups: &mut Vec<Group>, guarantee: &str, comparison: &Comparison<'_>, cell: &BenchmarkCase) {
    let rows =
        groups.iter_mut().filter(|group| group.guarantee == guarantee).flat_map(|group| &mut group.rows);
    let mut same = rows.filter(|row| row.lab == cell.lab && row.setting == setting(cell));
    match same.find(|row| row.rate.is_none()) {
        Some(row) => {
            row.rate = Some(latency(comparison, cell));
            row.raised.extend(all_flags(cell).into_iter().map(|flag| (LoadKind::Rate, flag)));
            row.failures.extend(failures(cell));
        }
        None => push(groups, guarantee, row(cell, None, Some(latency(comparison, cell)))),
    }
}

fn flags(row: &Row) -> Vec<String> {
    let all: BTreeSet<Flag> = row.raised.iter().map(|(_, flag)| *flag).collect();
    all.into_iter()
        .map(|flag| {
            let at = |kind: LoadKind| row.raised.contains(&(kind, flag));
            match (row.max.is_some() && row.rate.is_some(), at(LoadKind::Max)) {
                (true, true) if !at(LoadKind::Rate) => format!("max: {}", flag.as_str()),
                (true, false) => format!("rate: {}", flag.as_str()),
                _ => flag.as_str().to_owned(),
            }
        })
        .collect()
}

fn row(cell: &BenchmarkCase, max: Option<Speed>, rate: Option<Latency>) -> Row {
    Row {
        lab: cell.lab.clone(),
        short: short_name(cell).to_owned(),
        source: cell.source.clone(),
        colour: palette::class(palette::transport(&cell.transport)),
        setting: setting(cell),
        max,
        rate,
        overload: cell.overload.clone(),
        flags: Vec::new(),
        raised: all_flags(cell).into_iter().map(|flag| (cell.load.kind, flag)).collect(),
        failures: failures(cell).into_iter().collect(),
    }
}

fn speed(comparison: &Comparison<'_>, cell: &BenchmarkCase) -> Speed {
    let estimate = cell.summary.as_ref().map(|summary| summary.throughput_per_s).unwrap_or_default();
    Speed {
        failed: failure(cell),
        median: number::rate(estimate.median),
        range: range(cell, Some(estimate), number::short),
        share: comparison
            .run
            .share(cell)
            .map(|share| with_interval(share, share_of_baseline(comparison, cell))),
        account: account(cell),
    }
}

/// The interval of a lab's share of the baseline's throughput, over the trials of both.
fn share_of_baseline(comparison: &Comparison<'_>, cell: &BenchmarkCase) -> Option<Estimate> {
    ratio_to_baseline(comparison, cell, |trial| Some(trial.throughput_per_s))
}

/// The interval of its multiple of the baseline's p50.
fn times_of_baseline(comparison: &Comparison<'_>, cell: &BenchmarkCase) -> Option<Estimate> {
    ratio_to_baseline(comparison, cell, |trial| trial.response_ns.p50.map(|ns| ns as f64))
}

fn ratio_to_baseline(
    comparison: &Comparison<'_>,
    cell: &BenchmarkCase,
    figure: fn(&Trial) -> Option<f64>,
) -> Option<Estimate> {
    let floor = comparison.run.cells.iter().find(|floor| Some(&floor.id) == cell.floor.as_ref())?;
    let of = |cell: &BenchmarkCase| -> Vec<f64> {
        cell.trials.iter().filter(|trial| trial.failed.is_none()).filter_map(figure).collect()
    };
    stats::ratio(&of(cell), &of(floor), comparison.run.seed)
}

/// `0.62 [0.58 – 0.66]`; without brackets where one trial has no interval.
fn with_interval(ratio: f64, interval: Option<Estimate>) -> String {
    let text = number::ratio(ratio);
    match interval.filter(|interval| interval.low < interval.high) {
        Some(Estimate { low, high, .. }) => {
            format!("{text} [{} – {}]", number::ratio(low), number::ratio(high))
        }
        None => text,
    }
}

/// An interval as text, where there is one: a single trial has none.
pub(super) fn range(
    cell: &BenchmarkCase,
    estimate: Option<Estimate>,
    text: fn(f64) -> String,
) -> Option<String> {
    let estimate = estimate.filter(|_| cell.good_trials() > 1)?;
    Some(format!("{} – {}", text(estimate.low), text(estimate.high)))
}

fn latency(comparison: &Comparison<'_>, cell: &BenchmarkCase) -> Latency {
    let summary = cell.summary.as_ref();
    let response = summary.map(|summary| summary.response_ns).unwrap_or_default();
    let time = |of: fn(&Summary) -> Option<Estimate>| range(cell, summary.and_then(of), number::time);
    Latency {
        failed: failure(cell),
        load: number::load(&cell.load),
        p50: percentile(&response, response.p50),
        p50_range: time(|summary| summary.response_p50_ns),
        times: comparison
            .run
            .times(cell)
            .map(|times| with_interval(times, times_of_baseline(comparison, cell))),
        p99: percentile(&response, response.p99),
        p99_range: time(|summary| summary.response_p99_ns),
        account: account(cell),
    }
}

/// The counts over the good trials of a case.
pub(super) fn account(cell: &BenchmarkCase) -> Account {
    cell.summary.as_ref().map(|summary| Account::of(cell, &summary.counts)).unwrap_or_default()
}

/// The reason why a case has no result.
pub(super) fn failure(cell: &BenchmarkCase) -> Option<String> {
    if cell.summary.is_some() {
        return None;
    }
    let reason = cell.trials.iter().find_map(|trial| trial.failed.clone());
    Some(reason.map_or_else(|| "not measured yet".to_owned(), |reason| format!("failed: {reason}")))
}

/// That a figure rests on fewer trials than were made.
fn failures(cell: &BenchmarkCase) -> Option<String> {
    let failed = cell.trials.iter().filter(|trial| trial.failed.is_some()).count();
    let load = if cell.load.kind == LoadKind::Max { "max" } else { "rate" };
    (failed > 0 && cell.summary.is_some())
        .then(|| format!("{load}: {failed} of {} trials failed", cell.trials.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_has_its_interval_where_there_is_one() {
        let interval = |low, high| Some(Estimate { median: 0.62, low, high });
        assert_eq!(with_interval(0.62, interval(0.58, 1.25)), "0.62 [0.58 – 1.2]");
        assert_eq!(with_interval(0.62, interval(0.62, 0.62)), "0.62");
        assert_eq!(with_interval(0.62, None), "0.62");
    }
}
