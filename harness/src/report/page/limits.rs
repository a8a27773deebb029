//! The tables of sustainable rates and of latency against load.

use serde::Serialize;

use super::super::limits::Limit;
use super::super::model::{pattern_title, setting, short_name};
use super::super::{number, palette};
use super::account::{Accounted, Columns, Shown};
use super::answer::{Context, Facets};
use super::cell::{join, percentile};
use super::flag::Chip;
use crate::results::{Arrivals, Attempt, Capacity, Objective, Purpose, Step, Trial};

/// The answer: a row a lab.
#[derive(Serialize)]
pub(super) struct Limits {
    /// The objective of the search.
    objective: Option<String>,
    arrivals: String,
    counts: Columns,
    groups: Vec<Group>,
    has_setting: bool,
    has_knee: bool,
}

/// The labs of one pattern and guarantee.
#[derive(Serialize)]
struct Group {
    title: String,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    lab: String,
    short: String,
    /// What it speaks, and its source file.
    about: String,
    colour: String,
    setting: String,
    sustainable: String,
    pass: String,
    fail: String,
    /// In the run that confirmed it.
    p50: String,
    p99: String,
    facets: Facets,
    /// Nothing where no run confirmed it.
    counts: Option<Vec<Shown>>,
    knee: String,
    flags: Vec<Chip>,
    note: String,
}

/// Nothing for a run without searches.
pub(super) fn limits(limits: &[Limit<'_>], context: &Context<'_>) -> Option<Limits> {
    let first = limits.first()?;
    let accounted: Vec<Accounted<'_>> =
        limits.iter().filter_map(|limit| Some((limit.cell, &limit.confirmed()?.counts))).collect();
    let counts = Columns::of(&accounted);
    let mut groups: Vec<Group> = Vec::new();
    for limit in limits {
        let title = format!("{}, {}", pattern_title(&limit.subject.pattern), limit.cell.guarantee);
        match groups.last_mut().filter(|group| group.title == title) {
            Some(group) => group.rows.push(row(limit, &counts, context)),
            None => groups.push(Group { title, rows: vec![row(limit, &counts, context)] }),
        }
    }
    let mut spacings: Vec<&str> = limits.iter().map(|limit| arrivals(limit.arrivals)).collect();
    spacings.sort_unstable();
    spacings.dedup();
    Some(Limits {
        objective: limits.iter().find_map(|limit| limit.capacity).map(|found| objective(&found.objective)),
        arrivals: spacings.join(" and "),
        counts,
        groups,
        has_setting: limits
            .iter()
            .any(|limit| setting(limit.cell) != setting(first.cell) || limit.arrivals != first.arrivals),
        has_knee: limits.iter().any(|limit| limit.sweep.is_some()),
    })
}

/// `99 % of what is due received in time, p99 within 10 ms`.
pub(super) fn objective(objective: &Objective) -> String {
    let (share, p99) = (number::share(objective.achieved), number::time(objective.p99_ns as f64));
    format!("{share} of the due messages received in time, and p99 of response within {p99}")
}

/// How messages are spaced, for people.
pub(super) fn arrivals(arrivals: Arrivals) -> &'static str {
    match arrivals {
        Arrivals::Constant => "constant",
        Arrivals::Poisson => "Poisson",
        Arrivals::Burst => "burst",
        Arrivals::Ramp => "ramp",
    }
}

fn row(limit: &Limit<'_>, counts: &Columns, context: &Context<'_>) -> Row {
    let (cell, capacity) = (limit.cell, limit.capacity);
    let rate = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number::rate);
    let fail = capacity.and_then(|found| found.lowest_fail_per_s);
    let summary = limit.confirmed();
    let response = summary.map(|summary| summary.response_ns).unwrap_or_default();
    let knee = limit.sweep.and_then(|sweep| sweep.knee);
    Row {
        lab: cell.lab.clone(),
        short: short_name(cell).to_owned(),
        about: super::answer::about(cell, context.run),
        colour: palette::class(palette::transport(&cell.transport)),
        setting: format!("{}, {}", setting(cell), arrivals(limit.arrivals)),
        sustainable: match (limit.sustainable(), fail, capacity) {
            (Some(value), None, Some(_)) => format!("≥\u{202f}{}", number::rate(value)),
            (value, ..) => rate(value),
        },
        pass: rate(capacity.and_then(|found| found.highest_pass_per_s)),
        fail: rate(fail),
        p50: percentile(&response, response.p50),
        p99: percentile(&response, response.p99),
        facets: Facets::of_any_load(cell),
        counts: summary.map(|summary| counts.row(cell, &summary.counts)),
        knee: knee.map_or_else(|| "–".to_owned(), number::share),
        flags: limit.confirming().map(|cell| context.flags.beside(cell)).unwrap_or_default(),
        note: note(capacity),
    }
}

/// The reason why there is no rate, or why it is only a bound.
fn note(capacity: Option<&Capacity>) -> String {
    let Some(capacity) = capacity else { return String::new() };
    let unfinished = (!capacity.complete).then(|| "the search was interrupted".to_owned());
    unfinished.into_iter().chain(capacity.note.clone()).collect::<Vec<_>>().join("; ")
}

/// Every step of the searches of one pattern, and every point of its sweeps.
#[derive(Serialize)]
pub(super) struct Course {
    searches: Vec<Search>,
    sweeps: Vec<Swept>,
}

#[derive(Serialize)]
struct Search {
    name: String,
    rows: Vec<Tried>,
}

/// One trial at one rate.
#[derive(Serialize)]
struct Tried {
    rate: String,
    purpose: &'static str,
    trial: String,
    /// Empty where it passed.
    why: String,
    /// Whether the rate passed, by the majority of its trials.
    passed: bool,
    throughput: String,
    p99: String,
    lag: String,
    counts: Vec<Shown>,
    overslept: String,
}

#[derive(Serialize)]
struct Swept {
    name: String,
    rows: Vec<At>,
}

/// One load of a sweep, all its good trials together.
#[derive(Serialize)]
struct At {
    share: String,
    rate: String,
    throughput: String,
    mean: String,
    predicted: String,
    p50: String,
    p99: String,
    lag: String,
    counts: Vec<Shown>,
    overslept: String,
    flags: String,
}

/// Nothing for a pattern without any.
pub(super) fn course(limits: &[Limit<'_>], pattern: &str) -> Option<Course> {
    let own = || limits.iter().filter(|limit| limit.subject.pattern == pattern);
    let course = Course {
        searches: own().filter_map(search).collect(),
        sweeps: own().filter(|limit| limit.sweep.is_some()).map(swept).collect(),
    };
    (!course.searches.is_empty() || !course.sweeps.is_empty()).then_some(course)
}

fn name(limit: &Limit<'_>) -> String {
    format!("{}, {}, {}", short_name(limit.cell), setting(limit.cell), arrivals(limit.arrivals))
}

fn search(limit: &Limit<'_>) -> Option<Search> {
    let steps = &limit.capacity?.steps;
    let rows = steps.iter().flat_map(|step| step.trials.iter().map(|attempt| tried(limit, step, attempt)));
    Some(Search { name: name(limit), rows: rows.collect() })
}

fn tried(limit: &Limit<'_>, step: &Step, attempt: &Attempt) -> Tried {
    let trials = limit.cell_of(&step.cell).map(|cell| cell.trials.as_slice()).unwrap_or_default();
    let trial = trials.iter().find(|trial| trial.index == attempt.trial).cloned().unwrap_or_default();
    Tried {
        rate: number::rate(step.rate),
        purpose: match step.purpose {
            Purpose::Bracket => "bracket",
            Purpose::Bisect => "bisect",
            Purpose::Confirm => "confirm",
        },
        trial: attempt.trial.saturating_add(1).to_string(),
        why: attempt.why.clone().unwrap_or_default(),
        passed: step.passed,
        throughput: number::rate(trial.throughput_per_s),
        p99: percentile(&trial.response_ns, trial.response_ns.p99),
        lag: percentile(&trial.lag_ns, trial.lag_ns.p99),
        counts: Columns::every().row(limit.cell, &trial.counts),
        overslept: number::time(trial.noise.oversleep_max_ns as f64),
    }
}

fn swept(limit: &Limit<'_>) -> Swept {
    let rows = limit.points().map(|(point, summary)| {
        let (response, lag) = (&summary.response_ns, &summary.lag_ns);
        let trials = limit.cell_of(&point.cell).map(|cell| cell.trials.as_slice()).unwrap_or_default();
        let overslept = |trial: &Trial| trial.noise.oversleep_max_ns;
        At {
            share: number::share(point.share),
            rate: number::rate(point.rate),
            throughput: number::rate(summary.throughput_per_s.median),
            mean: percentile(response, response.mean),
            predicted: point.predicted_ns.map_or_else(|| "–".to_owned(), number::time),
            p50: percentile(response, response.p50),
            p99: percentile(response, response.p99),
            lag: percentile(lag, lag.p99),
            counts: Columns::every().row(limit.cell, &summary.counts),
            overslept: number::time(trials.iter().map(overslept).max().unwrap_or_default() as f64),
            flags: join(&limit.cell_of(&point.cell).map(super::super::cases::flags).unwrap_or_default()),
        }
    });
    Swept { name: name(limit), rows: rows.collect() }
}
