//! The content of the report as text for the templates: the same for HTML and Markdown.

mod about;
mod account;
mod answer;
mod backlog;
mod cell;
mod fact;
mod flag;
mod hosts;
mod limits;
mod pairs;
mod promise;
mod trials;
mod words;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::cases::{self, Promises};
use super::figures::Figures;
use super::limits::Limit;
use super::model::{Comparison, pattern_order, pattern_title, protocol_of, setting};
use super::number;
use super::plots::{Picture, Section};
use crate::results::{BenchmarkCase, LoadKind, Run};
#[cfg(test)]
pub(super) use about::command;
pub(crate) use about::quoted;
use answer::{Answer, Context};
use cell::percentile;
use fact::Fact;
use flag::{Explained, Flags};
use trials::TrialTable;

/// Everything the templates show.
#[derive(Serialize)]
pub(super) struct Page {
    name: String,
    created: String,
    /// A note on missing trials, if the run is unfinished.
    unfinished: Option<String>,
    /// What brackets hold, or why there are none.
    intervals: &'static str,
    summary: String,
    /// The answer in words.
    words: Option<words::Words>,
    /// What is wrong with most figures, once.
    banners: Vec<String>,
    filters: Vec<Filter>,
    /// The labs that others can be compared with.
    rivals: Vec<pairs::Rivals>,
    /// Whether they are too many for that.
    too_many_pairs: bool,
    /// Every case with all its figures: what is copied as CSV.
    #[serde(skip)]
    pub(super) data: Data,
    /// Few labs: their tables come first, for they fit the screen.
    small: bool,
    /// Everything at a glance.
    overviews: Vec<Figure>,
    limits: Option<limits::Limits>,
    limit_figures: Vec<Figure>,
    backlogs: Option<backlog::Backlogs>,
    backlog_figures: Vec<Figure>,
    axis_figures: Vec<Figure>,
    patterns: Vec<Pattern>,
    baselines: Vec<Baseline>,
    failed: Vec<Failed>,
    skipped: Vec<Failed>,
    /// Where the roles ran, if not all here.
    hosts: Option<hosts::Hosts>,
    machine: Vec<Fact>,
    versions: Vec<Fact>,
    noise: Vec<Fact>,
    plan: Vec<Fact>,
    knobs: Vec<Fact>,
    notes: Vec<Fact>,
    flags: Vec<Explained>,
    command: String,
    /// That intervals were widened, by how much and why.
    widening: Option<String>,
    /// Whether any load was closed-loop, or at a rate.
    has_max: bool,
    has_rate: bool,
}

#[derive(Serialize)]
struct Figure {
    file: String,
    title: String,
    about: String,
    svg: String,
    /// `narrow`: it fits beside another one; `wide`: it takes the full width.
    span: Option<&'static str>,
}

/// The widest plot that fits beside another one, px.
const NARROW: f64 = 600.0;
/// The widest that takes a text's width, px.
const COLUMN: f64 = 840.0;

#[derive(Serialize)]
struct Pattern {
    id: String,
    title: String,
    answer: Option<Answer>,
    figures: Vec<Figure>,
    trials: Vec<TrialTable>,
    course: Option<limits::Course>,
}

/// With at most this many rows, the result tables and their plots fit on one screen.
const SMALL: usize = 12;

/// The results of a baseline.
#[derive(Serialize)]
struct Baseline {
    name: String,
    setting: String,
    speed: String,
    p50: String,
    p99: String,
    missing: String,
}

/// Something that did not run, or failed.
#[derive(Serialize)]
struct Failed {
    what: String,
    reason: String,
}

/// What rows can be filtered by.
#[derive(Serialize)]
struct Filter {
    /// The attribute of rows: `data-NAME`.
    name: &'static str,
    title: &'static str,
    values: Vec<Choice>,
}

/// A value of a filter.
#[derive(Serialize)]
struct Choice {
    value: String,
    title: String,
}

/// The rows that `lab export` writes, as lines of CSV, and what two of them are to each other.
#[derive(Serialize)]
pub(super) struct Data {
    head: String,
    rows: Vec<String>,
    pairs: Vec<pairs::Pair>,
}

/// Sets a run and its pictures as text.
pub(super) fn page(
    run: &Run,
    comparisons: &[Comparison<'_>],
    limits: &[Limit<'_>],
    pictures: Vec<Picture>,
    promises: &Promises,
    figures: &Figures,
) -> Result<Page> {
    let ids: BTreeMap<&str, usize> = run
        .cells
        .iter()
        .filter(|cell| cell.is_answer())
        .enumerate()
        .map(|(at, cell)| (cell.id.as_str(), at))
        .collect();
    let number = |cell: &BenchmarkCase| ids.get(cell.id.as_str()).copied();
    let raised = Flags::of(run);
    let context = Context { run, promises, flags: &raised, number: &number };
    let mut patterns = patterns(comparisons, limits, &context);
    let (mut overviews, mut limit_figures) = (Vec::new(), Vec::new());
    let (mut backlog_figures, mut axis_figures) = (Vec::new(), Vec::new());
    for picture in pictures {
        let figures = match &picture.section {
            Section::Results => Some(&mut overviews),
            Section::Limits => Some(&mut limit_figures),
            Section::Backlog => Some(&mut backlog_figures),
            Section::Axes => Some(&mut axis_figures),
            Section::Pattern(id) => {
                patterns.iter_mut().find(|pattern| pattern.id == *id).map(|pattern| &mut pattern.figures)
            }
        };
        if let Some(figures) = figures {
            figures.push(Figure {
                file: picture.file,
                title: picture.title,
                about: picture.about,
                svg: picture.svg,
                span: match picture.width {
                    ..=NARROW => Some("narrow"),
                    ..=COLUMN => None,
                    _ => Some("wide"),
                },
            });
        }
    }
    let own = patterns.iter_mut().map(|pattern| &mut pattern.figures);
    for figures in
        [&mut overviews, &mut limit_figures, &mut backlog_figures, &mut axis_figures].into_iter().chain(own)
    {
        stand_alone(figures);
    }
    let pairs = pairs::pairs(comparisons, figures, &number);
    let too_many_pairs = pairs.is_none();
    let (pairs, rivals) = pairs.unwrap_or_default();
    let has = |kind: LoadKind| comparisons.iter().any(|comparison| comparison.kind() == kind);
    let rows: usize = patterns.iter().filter_map(|pattern| pattern.answer.as_ref()).map(Answer::len).sum();
    Ok(Page {
        name: run.name.clone(),
        created: run.created.clone(),
        unfinished: about::unfinished(run),
        intervals: about::intervals(run),
        summary: about::summary(run),
        words: words::words(run, comparisons, figures, promises, &raised),
        banners: raised.banners(),
        filters: filters(comparisons),
        rivals,
        too_many_pairs,
        data: data(run, promises, pairs)?,
        small: rows <= SMALL,
        overviews,
        limits: limits::limits(limits, &context),
        limit_figures,
        backlogs: backlog::backlogs(comparisons, &context),
        backlog_figures,
        axis_figures,
        patterns,
        baselines: baselines(run),
        failed: failed(run),
        skipped: run
            .skipped
            .iter()
            .map(|skipped| Failed { what: skipped.lab.clone(), reason: skipped.reason.clone() })
            .collect(),
        hosts: hosts::hosts(run),
        machine: about::machine(&run.host),
        versions: about::versions(&run.versions),
        noise: about::noise(&run.noise),
        plan: about::plan(run),
        knobs: about::knobs(run),
        notes: notes(run),
        flags: Flags::explained(run),
        command: about::command(&run.plan),
        widening: about::widening(run),
        has_max: has(LoadKind::Max),
        has_rate: has(LoadKind::Rate),
    })
}

/// Every row as a line of CSV. A line's text has no line break of its own: `inert` removes them.
fn data(run: &Run, promises: &Promises, pairs: Vec<pairs::Pair>) -> Result<Data> {
    let text = cases::csv(&cases::rows(run, promises))?;
    let mut lines = text.lines().map(str::to_owned);
    Ok(Data { head: lines.next().unwrap_or_default(), rows: lines.collect(), pairs })
}

/// What a filter is called, in the page and by people, its value for a case, and that value for people.
type Facet = (&'static str, &'static str, fn(&BenchmarkCase) -> String, fn(&BenchmarkCase) -> String);

/// What sets the rows apart: a filter with one value filters nothing.
fn filters(comparisons: &[Comparison<'_>]) -> Vec<Filter> {
    let cells = || comparisons.iter().flat_map(|comparison| comparison.cells.iter().copied());
    let all: [Facet; 7] = [
        ("pattern", "Pattern", |cell| cell.pattern.clone(), |cell| pattern_title(&cell.pattern).to_owned()),
        ("guarantee", "Guarantee", |cell| cell.guarantee.clone(), |cell| cell.guarantee.clone()),
        ("transport", "Transport", |cell| cell.transport.clone(), spoken),
        ("broker", "Broker", broker, broker),
        ("overload", "Overload", |cell| cell.overload.clone(), |cell| cell.overload.clone()),
        ("size", "Size", |cell| cell.size.to_string(), |cell| number::bytes(cell.size)),
        ("load", "Load", |cell| cell.load.label(), |cell| number::load(&cell.load)),
    ];
    let filter = |(name, title, value, shown): Facet| {
        let mut values: Vec<Choice> = Vec::new();
        for cell in cells() {
            let value = value(cell);
            if values.iter().all(|known| known.value != value) {
                values.push(Choice { value, title: shown(cell) });
            }
        }
        // Patterns, sizes and loads have an order of their own.
        if !["pattern", "size", "load"].contains(&name) {
            values.sort_unstable_by(|a, b| a.value.cmp(&b.value));
        }
        (values.len() > 1).then_some(Filter { name, title, values })
    };
    all.into_iter().filter_map(filter).collect()
}

fn broker(cell: &BenchmarkCase) -> String {
    cell.broker.clone().unwrap_or_else(|| "none".to_owned())
}

/// `rabbitmq (AMQP 0-9-1)`.
fn spoken(cell: &BenchmarkCase) -> String {
    let (own, protocol) = (&cell.transport, protocol_of(&cell.transport));
    if protocol.eq_ignore_ascii_case(own) { own.clone() } else { format!("{own} ({protocol})") }
}

/// A narrow picture that has no other beside it is set as all others are.
fn stand_alone(figures: &mut [Figure]) {
    let mut narrow: Vec<&mut Figure> =
        figures.iter_mut().filter(|figure| figure.span == Some("narrow")).collect();
    if let [one] = &mut narrow[..] {
        one.span = None;
    }
}

/// Every pattern that was measured, with its tables and without its pictures.
fn patterns(comparisons: &[Comparison<'_>], limits: &[Limit<'_>], context: &Context<'_>) -> Vec<Pattern> {
    let mut ids: Vec<&str> = comparisons.iter().map(|comparison| comparison.pattern).collect();
    ids.extend(limits.iter().map(|limit| limit.subject.pattern.as_str()));
    ids.sort_by_key(|id| pattern_order(id));
    ids.dedup();
    let pattern = |id: &str| {
        let own: Vec<&Comparison<'_>> =
            comparisons.iter().filter(|comparison| comparison.pattern == id).collect();
        Pattern {
            id: id.to_owned(),
            title: pattern_title(id).to_owned(),
            answer: answer::answer(&own, context),
            figures: Vec::new(),
            trials: own.iter().map(|comparison| trials::table(comparison)).collect(),
            course: limits::course(limits, id),
        }
    };
    ids.into_iter().map(pattern).collect()
}

fn baselines(run: &Run) -> Vec<Baseline> {
    let measured = run.cells.iter().filter(|cell| cell.is_floor());
    let mut baselines: Vec<Baseline> = measured
        .filter_map(|cell| {
            let (summary, rate) = (cell.summary.as_ref()?, cell.load.kind == LoadKind::Rate);
            let time = |ns| if rate { percentile(&summary.response_ns, ns) } else { "–".to_owned() };
            Some(Baseline {
                name: cell.lab.strip_prefix("floor-").unwrap_or(&cell.lab).to_owned(),
                setting: format!("{}, {}", number::load(&cell.load), setting(cell)),
                speed: number::rate(summary.throughput_per_s.median),
                p50: time(summary.response_ns.p50),
                p99: time(summary.response_ns.p99),
                missing: number::count(summary.counts.lost),
            })
        })
        .collect();
    baselines.sort_by(|a, b| (&a.setting, &a.name).cmp(&(&b.setting, &b.name)));
    baselines
}

fn failed(run: &Run) -> Vec<Failed> {
    let trials = run.cells.iter().flat_map(|cell| cell.trials.iter().map(move |trial| (cell, trial)));
    trials
        .filter_map(|(cell, trial)| {
            let what = format!("{}, load {}, trial {}", cell.lab, number::load(&cell.load), trial.number());
            let (reason, counts) = (trial.failed.clone()?, &trial.counts);
            let account = match counts.sent {
                0 => String::new(),
                sent => format!(
                    " ({} sent, {} received, {} lost, {} unaccounted for)",
                    number::count(sent),
                    number::count(counts.received),
                    number::count(counts.lost),
                    number::count(number::total([counts.unaccounted, counts.indeterminate]))
                ),
            };
            Some(Failed { what, reason: reason + &account })
        })
        .collect()
}

/// Guarantees that are lower than the labs' own, each said once.
fn notes(run: &Run) -> Vec<Fact> {
    let mut notes: Vec<Fact> = Vec::new();
    for cell in &run.cells {
        if let Some(note) = &cell.guarantee_note
            && notes.iter().all(|known| known.key != cell.lab)
        {
            notes.push(Fact::new(&cell.lab, note));
        }
    }
    notes
}
