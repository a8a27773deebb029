//! `lab history`: the result sets of one host over time, and where they changed.
//!
//! A series is one case (lab, size, shape, load) with the same window and the same knobs,
//! measured again and again. A point of it is the median of the good trials of one result
//! set. Trials of one result set are not independent, so single trials are not points.

mod change;
mod page;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::results::{self, BenchmarkCase, Host, LoadKind, RUN, ResultSet, Run, Trial};
use crate::stats;

pub use change::{Change, FEWEST, LEVEL, changes};
pub use page::write;

/// A measure that is followed over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Messages a second at full speed.
    Throughput,
    /// Median response time at a rate, ns.
    P50,
    /// CPU time of all roles per message at a rate, ns.
    Cpu,
}

impl Measure {
    /// As people read it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::P50 => "p50 of response",
            Self::Cpu => "CPU per message",
        }
    }

    /// Whether more of it is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput)
    }
}

/// The point of a series from one result set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The name of the result set.
    pub run: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The median of the good trials.
    pub median: f64,
    /// Each good trial.
    pub trials: Vec<f64>,
    /// What ran: source revision, compiler, kernel, broker and client versions, by name.
    #[serde(skip)]
    versions: BTreeMap<String, String>,
}

/// A change in a series, with other changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shift {
    /// The first point after it, from 0.
    pub at: usize,
    /// The first result set after the change.
    pub run: String,
    /// When that was made.
    pub created: String,
    /// Median after it by median before it.
    pub ratio: f64,
    /// Whether that is for the worse.
    pub worse: bool,
    /// How often values in random order were split as well.
    pub p: f64,
    /// Versions that differ between the result sets before and after it.
    pub changed: Vec<String>,
}

/// One measure of one case over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// The lab.
    pub lab: String,
    /// Its case, with window and knobs if they are not the defaults.
    pub cell: String,
    /// The transport, whose colour it is drawn in.
    pub transport: String,
    /// The measure.
    pub measure: Measure,
    /// In the order of time.
    pub points: Vec<Point>,
    /// Where it changed.
    pub changes: Vec<Shift>,
    /// Whether there were enough points to look for changes.
    pub enough: bool,
}

/// Everything of one host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct History {
    /// The host, as in [`host_name`].
    pub host: String,
    /// Result sets that were read.
    pub runs: usize,
    /// Points that a series needs before changes are looked for.
    pub fewest: usize,
    /// Share of series without a change in which one is found by chance.
    pub level: f64,
    /// In the order of cases and measures.
    pub series: Vec<Series>,
}

/// The identity of a host: a change of its CPU makes it another host.
pub fn host_name(host: &Host) -> String {
    format!("{}, {} × {}", host.name, host.cores, host.cpu)
}

/// Every run below these folders, oldest first, and what could not be read.
///
/// # Errors
/// When a folder cannot be read.
pub fn read(dirs: &[PathBuf]) -> Result<(Vec<Run>, Vec<String>)> {
    let mut found = Vec::new();
    for dir in dirs {
        let below = results::find(dir, &[RUN], |_| true);
        found.extend(below.with_context(|| format!("cannot read {}", dir.display()))?);
    }
    found.sort();
    found.dedup();
    let (mut runs, mut damaged) = (Vec::new(), Vec::new());
    for path in found {
        match ResultSet::open(&path) {
            Ok((_, run)) => runs.push(run),
            Err(error) => damaged.push(format!("{error:#}")),
        }
    }
    runs.sort_by_cached_key(|run| (instant(&run.created), run.name.clone()));
    Ok((runs, damaged))
}

/// A time that can be sorted by; one that cannot be read is the oldest.
fn instant(created: &str) -> i128 {
    created.parse::<jiff::Timestamp>().map_or(i128::MIN, |time| time.as_nanosecond())
}

/// The series of these runs, which are of one host and in the order of time; the
/// seed decides the random orders that splits are compared with. Baselines are left out,
/// because they are not labs.
pub fn follow(host: &str, runs: &[&Run], wanted: impl Fn(&str) -> bool, seed: u64) -> History {
    let mut series: BTreeMap<(String, Measure), Series> = BTreeMap::new();
    for run in runs {
        for cell in run.cells.iter().filter(|cell| cell.is_answer() && wanted(&cell.lab)) {
            for measure in [Measure::Throughput, Measure::P50, Measure::Cpu] {
                let Some(point) = point(run, cell, measure) else { continue };
                let name = name(run, cell);
                let entry = series.entry((name.clone(), measure)).or_insert_with(|| Series {
                    lab: cell.lab.clone(),
                    cell: name,
                    transport: cell.transport.clone(),
                    measure,
                    points: Vec::new(),
                    changes: Vec::new(),
                    enough: false,
                });
                entry.points.push(point);
            }
        }
    }
    let mut series: Vec<Series> = series.into_values().collect();
    for series in &mut series {
        let values: Vec<f64> = series.points.iter().map(|point| point.median).collect();
        series.enough = values.len() >= FEWEST;
        series.changes = shifts(series, &changes(&values, seed));
    }
    History { host: host.to_owned(), runs: runs.len(), fewest: FEWEST, level: LEVEL, series }
}

/// Other settings that affect the figures of a case are part of its name.
fn name(run: &Run, cell: &BenchmarkCase) -> String {
    let mut name = cell.id.clone();
    if cell.load.kind == LoadKind::Max && run.plan.window != Some(crate::plan::WINDOW) {
        let window = run.plan.window.map_or("none".to_owned(), |window| window.to_string());
        name += &format!(" window={window}");
    }
    for (knob, value) in &run.plan.knobs {
        name += &format!(" {knob}={value}");
    }
    if let Some(cpus) = &run.plan.cpus {
        name += &format!(" cpus={cpus}");
    }
    if let Some(pause) = run.plan.pause {
        name += &format!(" pause={}:{}", pause.at_s, pause.for_s);
    }
    name
}

fn point(run: &Run, cell: &BenchmarkCase, measure: Measure) -> Option<Point> {
    let value = |trial: &Trial| -> Option<f64> {
        match (measure, cell.load.kind) {
            (Measure::Throughput, LoadKind::Max) => Some(trial.throughput_per_s),
            (Measure::P50, LoadKind::Rate) => trial.response_ns.p50.map(|ns| ns as f64),
            (Measure::Cpu, LoadKind::Rate) => {
                let roles = trial.cost.iter().filter(|(role, _)| *role != "broker");
                Some(roles.map(|(_, cost)| cost.cpu_ns_per_msg).sum())
            }
            _ => None,
        }
    };
    let good = cell.trials.iter().filter(|trial| trial.failed.is_none());
    let trials: Vec<f64> = good.filter_map(value).filter(|value| *value > 0.0).collect();
    Some(Point {
        run: run.name.clone(),
        created: run.created.clone(),
        median: stats::median(&trials)?,
        trials,
        versions: versions(run, cell),
    })
}

/// Settings that may explain a change, by name.
fn versions(run: &Run, cell: &BenchmarkCase) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = run.versions.crates.clone();
    all.insert("revision".to_owned(), run.versions.git.clone().unwrap_or_default());
    all.insert("rustc".to_owned(), run.versions.rustc.clone());
    all.insert("kernel".to_owned(), run.host.kernel.clone());
    all.insert("plan".to_owned(), format!("{} trials of {} s", run.plan.trials, run.plan.seconds));
    if let Some(broker) = &cell.broker {
        all.insert(broker.clone(), run.versions.brokers.get(broker).cloned().unwrap_or_default());
    }
    all
}

fn shifts(series: &Series, found: &[Change]) -> Vec<Shift> {
    let level = |from: usize, to: usize| {
        let values: Vec<f64> = series.points[from..to].iter().map(|point| point.median).collect();
        stats::median(&values).unwrap_or_default()
    };
    let mut shifts = Vec::new();
    for (index, change) in found.iter().enumerate() {
        let from = if index == 0 { 0 } else { found[index - 1].at };
        let to = found.get(index + 1).map_or(series.points.len(), |next| next.at);
        let ratio = level(change.at, to) / level(from, change.at);
        let (before, after) = (&series.points[change.at - 1], &series.points[change.at]);
        let changed = after
            .versions
            .iter()
            .filter_map(|(name, now)| {
                let then = before.versions.get(name)?;
                (then != now).then(|| format!("{name}: {then} → {now}"))
            })
            .collect();
        shifts.push(Shift {
            at: change.at,
            run: after.run.clone(),
            created: after.created.clone(),
            ratio,
            worse: (ratio < 1.0) == series.measure.more_is_better(),
            p: change.p,
            changed,
        });
    }
    shifts
}
