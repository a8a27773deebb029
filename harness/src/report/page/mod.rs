//! The content of the report as text for the templates: the same for HTML and Markdown.

mod about;
mod answer;
mod backlog;
mod cell;
mod fact;
mod limits;
mod trials;

use serde::Serialize;

use super::limits::Limit;
use super::model::{Comparison, pattern_order, pattern_title, setting};
use super::number;
use super::plots::{Picture, Section};
use crate::results::{Flag, LoadKind, Run};
#[cfg(test)]
pub(super) use about::command;
pub(crate) use about::quoted;
use answer::Answer;
use cell::{flags as all_flags, percentile};
use fact::Fact;
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
    /// Few labs: their tables come first, for they fit the screen.
    small: bool,
    /// Everything at a glance.
    overviews: Vec<Figure>,
    limits: Option<limits::Limits>,
    limit_figures: Vec<Figure>,
    backlogs: Vec<backlog::Group>,
    backlog_figures: Vec<Figure>,
    axis_figures: Vec<Figure>,
    patterns: Vec<Pattern>,
    baselines: Vec<Baseline>,
    failed: Vec<Failed>,
    skipped: Vec<Failed>,
    machine: Vec<Fact>,
    versions: Vec<Fact>,
    noise: Vec<Fact>,
    plan: Vec<Fact>,
    knobs: Vec<Fact>,
    notes: Vec<Fact>,
    flags: Vec<FlagText>,
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

#[derive(Serialize)]
struct FlagText {
    name: &'static str,
    meaning: &'static str,
    raised: bool,
}

/// Sets a run and its pictures as text.
pub(super) fn page(
    run: &Run,
    comparisons: &[Comparison<'_>],
    limits: &[Limit<'_>],
    pictures: Vec<Picture>,
) -> Page {
    let mut patterns = patterns(comparisons, limits);
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
    let has = |kind: LoadKind| comparisons.iter().any(|comparison| comparison.kind() == kind);
    let rows: usize = patterns.iter().filter_map(|pattern| pattern.answer.as_ref()).map(Answer::len).sum();
    Page {
        name: run.name.clone(),
        created: run.created.clone(),
        unfinished: about::unfinished(run),
        intervals: about::intervals(run),
        summary: about::summary(run),
        small: rows <= SMALL,
        overviews,
        limits: limits::limits(limits),
        limit_figures,
        backlogs: backlog::backlogs(comparisons),
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
        machine: about::machine(&run.host),
        versions: about::versions(&run.versions),
        noise: about::noise(&run.noise),
        plan: about::plan(run),
        knobs: about::knobs(run),
        notes: notes(run),
        flags: flags(run),
        command: about::command(&run.plan),
        widening: about::widening(run),
        has_max: has(LoadKind::Max),
        has_rate: has(LoadKind::Rate),
    }
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
fn patterns(comparisons: &[Comparison<'_>], limits: &[Limit<'_>]) -> Vec<Pattern> {
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
            answer: answer::answer(&own),
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
                name: cell.lab.clone(),
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
            let what = format!("{}, load {}, trial {}", cell.lab, number::load(&cell.load), trial.index + 1);
            let (reason, counts) = (trial.failed.clone()?, &trial.counts);
            let account = match counts.sent {
                0 => String::new(),
                sent => format!(
                    " ({} sent, {} received, {} lost, {} unaccounted for)",
                    number::count(sent),
                    number::count(counts.received),
                    number::count(counts.lost),
                    number::count(counts.unaccounted + counts.indeterminate)
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

fn flags(run: &Run) -> Vec<FlagText> {
    let meaning = |flag: Flag| match flag {
        Flag::BrokenPromise => {
            "Confirmed messages were lost, although the lab promises that none is: the lab, its broker or this program is at fault."
        }
        Flag::HarnessCpu => {
            "At full speed, more than a fifth of the CPU time was the harness's own: the lab can do more than this."
        }
        Flag::GeneratorLimited => {
            "The load generator limited this figure, not the lab: messages were sent late, so the lab can do \
             at least this."
        }
        Flag::Unsteady => {
            "The two halves of the measurement differ by more than a fifth, so the figure is not steady."
        }
        Flag::TooFewSamples => "Fewer than 1 000 samples: the 99th percentile is withheld. Measure longer.",
        Flag::NegativeLatency => {
            "By the clock, a message was received before it was sent: do not trust the times."
        }
        Flag::NoisyMachine => "During a trial, other programs used the CPU or the hypervisor took it away.",
    };
    let all = [
        Flag::BrokenPromise,
        Flag::HarnessCpu,
        Flag::GeneratorLimited,
        Flag::Unsteady,
        Flag::TooFewSamples,
        Flag::NegativeLatency,
        Flag::NoisyMachine,
    ];
    let raised = |flag: Flag| run.cells.iter().any(|cell| all_flags(cell).contains(&flag));
    all.into_iter()
        .map(|flag| FlagText { name: flag.as_str(), meaning: meaning(flag), raised: raised(flag) })
        .collect()
}
