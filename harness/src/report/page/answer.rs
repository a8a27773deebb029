//! The result tables: one row per lab, with throughput and latency, each beside the
//! counts of lost, duplicated, reordered and corrupt messages.

use serde::Serialize;

use super::super::cases::{self, Promises, interval, ratio_to_baseline};
use super::super::model::{Comparison, protocol, setting, short_name};
use super::super::{number, palette};
use super::account::{Accounted, Columns, Shown};
use super::cell::percentile;
use super::flag::{Chip, Flags};
use super::promise;
use crate::results::{BenchmarkCase, Estimate, LoadKind, Run, Summary};

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
    /// Which counts are columns, at maximum load and at a rate.
    max_counts: Columns,
    rate_counts: Columns,
    /// What became of all messages.
    account: String,
    has_wake_up: bool,
    has_baseline: bool,
    has_promise: bool,
}

/// The labs of one guarantee.
#[derive(Serialize)]
struct Group {
    guarantee: String,
    rows: Vec<Row>,
}

/// What a row is filtered by.
#[derive(Serialize)]
pub(super) struct Facets {
    pattern: String,
    transport: String,
    guarantee: String,
    overload: String,
    broker: String,
    size: String,
    /// Each load that the row has figures for, `|` around each: `|max|1 000/s|`. Empty where a row is
    /// of no load alone.
    loads: String,
    /// The cases in the page's data, by number.
    cases: Vec<usize>,
}

impl Facets {
    /// Of a row that is of no load alone, such as that of a search.
    pub(super) fn of_any_load(cell: &BenchmarkCase) -> Self {
        Self { loads: String::new(), ..Self::of(cell, None) }
    }

    pub(super) fn of(cell: &BenchmarkCase, number: Option<usize>) -> Self {
        Self {
            pattern: cell.pattern.clone(),
            transport: cell.transport.clone(),
            guarantee: cell.guarantee.clone(),
            overload: cell.overload.clone(),
            broker: cell.broker.clone().unwrap_or_else(|| "none".to_owned()),
            size: cell.size.to_string(),
            loads: format!("|{}|", cell.load.label()),
            cases: number.into_iter().collect(),
        }
    }
}

#[derive(Serialize)]
struct Row {
    lab: String,
    short: String,
    /// What it speaks, and its source file.
    about: String,
    colour: String,
    setting: String,
    facets: Facets,
    max: Option<Speed>,
    rate: Option<Latency>,
    overload: String,
    promise: Option<promise::Shown>,
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
    /// Whether it is more than all of it.
    above_baseline: bool,
    /// CPU time per message.
    cpu: String,
    /// Its interval.
    cpu_range: Option<String>,
    counts: Vec<Shown>,
    flags: Vec<Chip>,
    /// `1 of 3 trials failed`, where not all of them did.
    failures: Option<String>,
}

#[derive(Serialize)]
struct Latency {
    failed: Option<String>,
    load: String,
    p50: String,
    /// Its interval, `11 µs – 13 µs`.
    p50_range: Option<String>,
    /// How much of the p50 is the generator's own wake-up, where that is a part worth naming.
    wake_up: Option<String>,
    /// The multiple of the baseline's p50.
    times: Option<String>,
    p99: String,
    p99_range: Option<String>,
    /// What stands behind it.
    p99_about: Option<String>,
    counts: Vec<Shown>,
    flags: Vec<Chip>,
    p99_flags: Vec<Chip>,
    failures: Option<String>,
}

/// A wake-up is named where it is at least this share of the response.
const WAKE_UP: f64 = 0.1;

/// What the rows of a table need beside their cases.
pub(super) struct Context<'a> {
    pub(super) run: &'a Run,
    pub(super) promises: &'a Promises,
    pub(super) flags: &'a Flags,
    /// The number of a case in the page's data.
    pub(super) number: &'a dyn Fn(&BenchmarkCase) -> Option<usize>,
}

/// The table being made: which counts are columns is known before its rows are.
struct Table<'a> {
    context: &'a Context<'a>,
    max_counts: Columns,
    rate_counts: Columns,
    groups: Vec<Group>,
}

/// The answer of one pattern, from its comparisons at maximum load and at a rate;
/// `None` if there is none.
pub(super) fn answer(comparisons: &[&Comparison<'_>], context: &Context<'_>) -> Option<Answer> {
    let loads = |max: bool| {
        let kind = if max { LoadKind::Max } else { LoadKind::Rate };
        comparisons.iter().filter(move |comparison| comparison.kind() == kind)
    };
    let max_cells: Vec<Accounted<'_>> =
        loads(true).flat_map(|comparison| &comparison.cells).filter_map(|cell| accounted(cell)).collect();
    let rate_cells: Vec<Accounted<'_>> =
        loads(false).flat_map(|comparison| &comparison.cells).filter_map(|cell| accounted(cell)).collect();
    let all: Vec<Accounted<'_>> = max_cells.iter().chain(&rate_cells).copied().collect();
    let mut table = Table {
        context,
        max_counts: Columns::of(&max_cells),
        rate_counts: Columns::of(&rate_cells),
        groups: Vec::new(),
    };
    for comparison in loads(true) {
        for (guarantee, cells) in comparison.by_guarantee() {
            for cell in cells {
                let speed = table.speed(comparison, cell);
                table.push(guarantee, cell, Some(speed), None);
            }
        }
    }
    for comparison in loads(false) {
        for (guarantee, cells) in comparison.by_guarantee() {
            for cell in cells {
                table.place_rate(guarantee, comparison, cell);
            }
        }
    }
    let Table { max_counts, rate_counts, groups, .. } = table;
    if groups.is_empty() {
        return None;
    }
    let shown = comparisons.iter().filter(|comparison| comparison.kind() != LoadKind::Drain);
    let mut settings: Vec<String> = shown.map(|comparison| comparison.setting()).collect();
    settings.dedup();
    let rates: Vec<String> = loads(false).map(|comparison| comparison.load_text()).collect();
    let rows = || groups.iter().flat_map(|group| &group.rows);
    Some(Answer {
        has_max: loads(true).next().is_some(),
        has_rate: loads(false).next().is_some(),
        setting: (settings.len() == 1).then(|| settings.remove(0)),
        rate: (rates.windows(2).all(|pair| pair[0] == pair[1])).then(|| rates.first().cloned()).flatten(),
        account: super::account::sentence(&all),
        has_wake_up: rows().any(|row| row.rate.as_ref().is_some_and(|rate| rate.wake_up.is_some())),
        has_baseline: rows().any(|row| {
            row.max.as_ref().is_some_and(|max| max.share.is_some())
                || row.rate.as_ref().is_some_and(|rate| rate.times.is_some())
        }),
        has_promise: rows().any(|row| row.promise.is_some()),
        max_counts,
        rate_counts,
        groups,
    })
}

impl Answer {
    /// How many labs it lists, each setting for itself.
    pub(super) fn len(&self) -> usize {
        self.groups.iter().map(|group| group.rows.len()).sum()
    }
}

impl Table<'_> {
    fn push(&mut self, guarantee: &str, cell: &BenchmarkCase, max: Option<Speed>, rate: Option<Latency>) {
        let row = Row {
            lab: cell.lab.clone(),
            short: short_name(cell).to_owned(),
            about: about(cell, self.context.run),
            colour: palette::class(palette::transport(&cell.transport)),
            setting: setting(cell),
            facets: Facets::of(cell, (self.context.number)(cell)),
            max,
            rate,
            overload: cell.overload.clone(),
            promise: promise::shown(self.context.promises.of(cell)),
        };
        match self.groups.iter_mut().find(|group| group.guarantee == guarantee) {
            Some(group) => group.rows.push(row),
            None => self.groups.push(Group { guarantee: guarantee.to_owned(), rows: vec![row] }),
        }
    }

    /// Beside the speed of the same lab and setting, where that has no rate yet.
    fn place_rate(&mut self, guarantee: &str, comparison: &Comparison<'_>, cell: &BenchmarkCase) {
        let latency = self.latency(comparison, cell);
        let rows = self
            .groups
            .iter_mut()
            .filter(|group| group.guarantee == guarantee)
            .flat_map(|group| &mut group.rows);
        let mut same = rows.filter(|row| row.lab == cell.lab && row.setting == setting(cell));
        match same.find(|row| row.rate.is_none()) {
            Some(row) => {
                row.facets.loads += &format!("{}|", cell.load.label());
                row.facets.cases.extend((self.context.number)(cell));
                row.rate = Some(latency);
            }
            None => self.push(guarantee, cell, None, Some(latency)),
        }
    }

    fn speed(&self, comparison: &Comparison<'_>, cell: &BenchmarkCase) -> Speed {
        let estimate = cell.summary.as_ref().map(|summary| summary.throughput_per_s).unwrap_or_default();
        Speed {
            failed: failure(cell),
            median: number::rate(estimate.median),
            range: range(cell, Some(estimate), number::short),
            share: comparison.run.share(cell).map(|share| {
                with_interval(share, ratio_to_baseline(comparison.run, cell, cases::throughput))
            }),
            above_baseline: comparison.run.share(cell).is_some_and(|share| share > 1.0),
            cpu: cases::cpu(cell).map_or_else(|| "–".to_owned(), number::time),
            cpu_range: ends(cases::cpu_interval(comparison.run, cell), number::time),
            counts: counts(&self.max_counts, cell),
            flags: self.context.flags.beside(cell),
            failures: failures(cell),
        }
    }

    fn latency(&self, comparison: &Comparison<'_>, cell: &BenchmarkCase) -> Latency {
        let summary = cell.summary.as_ref();
        let response = summary.map(|summary| summary.response_ns).unwrap_or_default();
        let time = |of: fn(&Summary) -> Option<Estimate>| range(cell, summary.and_then(of), number::time);
        Latency {
            failed: failure(cell),
            load: number::load(&cell.load),
            p50: percentile(&response, response.p50),
            p50_range: time(|summary| summary.response_p50_ns),
            wake_up: wake_up(cell),
            times: comparison
                .run
                .times(cell)
                .map(|times| with_interval(times, ratio_to_baseline(comparison.run, cell, cases::p50))),
            p99: percentile(&response, response.p99),
            p99_range: time(|summary| summary.response_p99_ns),
            p99_about: behind_p99(cell),
            counts: counts(&self.rate_counts, cell),
            flags: self.context.flags.beside_times(cell),
            p99_flags: self.context.flags.beside_p99(cell),
            failures: failures(cell),
        }
    }
}

/// `25.1 µs, 64 %`: how late the generator itself was at the median, and its share of the response.
fn wake_up(cell: &BenchmarkCase) -> Option<String> {
    let summary = cell.summary.as_ref()?;
    let (lag, response) = (summary.lag_ns.p50? as f64, summary.response_ns.p50? as f64);
    let share = lag / response;
    (share >= WAKE_UP && response > 0.0)
        .then(|| format!("{}, {}", number::time(lag), number::share(share.min(1.0))))
}

fn accounted(cell: &BenchmarkCase) -> Option<Accounted<'_>> {
    Some((cell, &cell.summary.as_ref()?.counts))
}

fn counts(columns: &Columns, cell: &BenchmarkCase) -> Vec<Shown> {
    accounted(cell).map(|(cell, counts)| columns.row(cell, counts)).unwrap_or_default()
}

/// `0.62 [0.58 – 0.66]`; without brackets where one trial has no interval.
fn with_interval(ratio: f64, interval: Option<Estimate>) -> String {
    match interval.filter(|interval| interval.low < interval.high) {
        Some(interval) => number::ratio_with_interval(&Estimate { median: ratio, ..interval }),
        None => number::ratio(ratio),
    }
}

/// An interval as text, where there is one: a single trial has none.
pub(super) fn range(
    cell: &BenchmarkCase,
    estimate: Option<Estimate>,
    text: fn(f64) -> String,
) -> Option<String> {
    ends(interval(cell, estimate?), text)
}

fn ends(interval: [Option<f64>; 3], text: fn(f64) -> String) -> Option<String> {
    match interval {
        [_, Some(low), Some(high)] => Some(format!("{}\u{a0}–\u{a0}{}", text(low), text(high))),
        _ => None,
    }
}

/// What a lab speaks, with which broker, and where it is written: `queue-mqtt: MQTT at QoS 1, broker mqtt
/// 2.0.11; labs/src/queue/mqtt.rs`.
pub(super) fn about(cell: &BenchmarkCase, run: &Run) -> String {
    let version = |broker: &String| {
        let version =
            run.versions.brokers.get(broker).map(|version| format!(" {version}")).unwrap_or_default();
        format!(", broker {broker}{version}")
    };
    let broker = cell.broker.as_ref().map_or_else(|| ", no broker".to_owned(), version);
    format!("{}: {}{broker}; {}", cell.lab, protocol(cell), cell.source)
}

/// What stands behind a p99: that of each trial, and how many samples: `Trials: 97 µs, 101 µs, 1.2 ms;
/// 3 600 samples, 36 of them above.`
fn behind_p99(cell: &BenchmarkCase) -> Option<String> {
    let all = &cell.summary.as_ref()?.response_ns;
    all.p99?;
    let good = cell.trials.iter().filter(|trial| trial.failed.is_none());
    let of_each: Vec<String> =
        good.map(|trial| percentile(&trial.response_ns, trial.response_ns.p99)).collect();
    Some(format!(
        "Trials: {}; {} samples, {} of them above.",
        of_each.join(", "),
        number::count(all.count),
        number::count(all.count / 100)
    ))
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
    (failed > 0 && cell.summary.is_some()).then(|| format!("{failed} of {} trials failed", cell.trials.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_has_its_interval_where_there_is_one() {
        let interval = |low, high| Some(Estimate { median: 0.62, low, high });
        assert_eq!(with_interval(0.62, interval(0.58, 1.25)), "0.62 [0.58\u{a0}–\u{2060}\u{a0}1.25]");
        assert_eq!(with_interval(0.62, interval(0.62, 0.62)), "0.62");
        assert_eq!(with_interval(0.62, None), "0.62");
    }
}
