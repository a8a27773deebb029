//! The page of a set: the scorecard, and one section for each run. And the table alone, as Markdown.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::super::canvas::standalone;
use super::super::model::pattern_title;
use super::super::{number, render};
use super::explains::explains;
use super::grid::{Cell, Grid, anchor, grid};
use super::picture::{class, picture, sign, style};
use super::timeline::timeline;
use crate::results::{FaultRun, FaultSet, Verdict};

/// The page of a set, in its folder.
pub const PAGE: &str = "faults.html";
/// With more cells than this, those whose promise was kept have no plot: the page would be too large.
const PLOTS: usize = 60;
/// The documentation, seen from a result set of the project.
pub const DOCS: &str = "../../docs";
/// The table as Markdown.
const TABLE: &str = "scorecard.md";
/// The picture.
const PICTURE: &str = "scorecard.svg";

#[derive(Serialize)]
struct Page {
    host: String,
    lab: String,
    summary: String,
    columns: Vec<String>,
    groups: Vec<GroupText>,
    labs: Vec<LabText>,
    picture: String,
    /// The number of columns.
    width: usize,
    /// Where the documentation is.
    docs: Option<&'static str>,
    style: String,
    policy: String,
}

#[derive(Serialize)]
struct GroupText {
    guarantee: String,
    rows: Vec<RowText>,
}

#[derive(Serialize)]
struct RowText {
    lab: String,
    cells: Vec<Option<CellText>>,
}

#[derive(Serialize)]
struct CellText {
    words: String,
    sign: &'static str,
    class: &'static str,
    anchor: String,
    /// The scenario that shows why, where the promise was not kept.
    scenario: Option<&'static str>,
}

#[derive(Serialize)]
struct LabText {
    name: String,
    about: String,
    runs: Vec<RunText>,
    /// Faults that do not apply, with the reason.
    absent: Vec<Absent>,
}

#[derive(Serialize)]
struct Absent {
    anchor: String,
    fault: String,
    why: String,
}

#[derive(Serialize)]
struct RunText {
    anchor: String,
    fault: String,
    class: &'static str,
    sign: &'static str,
    verdict: &'static str,
    why: String,
    note: Option<String>,
    done: Vec<String>,
    load: String,
    times: Vec<Fact>,
    counts: Vec<Fact>,
    plot: Option<String>,
    witness: Option<WitnessText>,
    command: String,
    /// The scenario that shows why.
    scenario: Option<&'static str>,
}

#[derive(Serialize)]
struct Fact {
    name: &'static str,
    value: String,
    /// Whether readers should look at it.
    bad: bool,
}

#[derive(Serialize)]
struct WitnessText {
    what: String,
    message: String,
    steps: Vec<StepText>,
}

#[derive(Serialize)]
struct StepText {
    at: String,
    what: String,
}

/// Draws the set in `dir`, as [`write`] does.
///
/// # Errors
/// When `faults.json` is missing or damaged, or a file cannot be written; it is named.
pub fn draw(dir: &Path) -> Result<Vec<PathBuf>> {
    write(&FaultSet::open(dir)?, dir, Some(DOCS))
}

/// Writes the page with the evidence (one file, nothing beside it is needed), the table as Markdown, and
/// the picture into `dir`, each replaced atomically; their paths in this order. The same set gives the
/// same files. `docs` is where the documentation is, seen from there; without it nothing leads there, and
/// the table, which is for code hosts, is left out.
///
/// # Errors
/// When a file cannot be written; it is named.
pub fn write(set: &FaultSet, dir: &Path, docs: Option<&'static str>) -> Result<Vec<PathBuf>> {
    let (html, svg) = html(set, docs)?;
    let mut files = vec![(PAGE, html), (PICTURE, standalone(&svg))];
    if let Some(docs) = docs {
        files.insert(1, (TABLE, format!("# Scorecard\n\n{}", table(set, PAGE, docs)?)));
    }
    let mut written = Vec::new();
    for (name, content) in files {
        crate::results::write_file(dir, name, &content)?;
        written.push(dir.join(name));
    }
    Ok(written)
}

/// The table as Markdown: labs × faults, grouped by guarantee. Each cell leads to its evidence in
/// `page`, the address of the set's page as seen from where the table is to stand; one whose promise
/// broke, or does not cover the fault, also to the scenario that explains it, in the folder `docs`.
///
/// # Errors
/// Never for a set that was read.
pub fn table(set: &FaultSet, page: &str, docs: &str) -> Result<String> {
    #[derive(Serialize)]
    struct Table<'a> {
        columns: &'a [String],
        groups: Vec<GroupText>,
        page: &'a str,
        docs: &'a str,
    }
    let grid = grid(set);
    let table = Table { columns: &grid.faults, groups: groups(&grid), page, docs };
    render::render("scorecard.md", include_str!("scorecard.md"), &table)
}

/// The page, and the picture in it.
pub(super) fn html(set: &FaultSet, docs: Option<&'static str>) -> Result<(String, String)> {
    let grid = grid(set);
    let (_, svg) = picture(&grid)?;
    let style =
        format!("{}{}{}", include_str!("../templates/style.css"), include_str!("faults.css"), style());
    let page = Page {
        host: format!("{}, {}, {} cores", set.host.name, set.host.cpu, set.host.cores),
        lab: match &set.versions.git {
            Some(git) => format!("lab {} ({git}, {})", set.versions.lab, set.versions.profile),
            None => format!("lab {} ({})", set.versions.lab, set.versions.profile),
        },
        summary: summary(&grid, set),
        groups: groups(&grid),
        labs: labs(&grid, set)?,
        width: grid.faults.len() + 1,
        columns: grid.faults,
        docs,
        picture: svg.clone(),
        policy: render::policy(&style, ""),
        style,
    };
    let html = render::render("faults.html", include_str!("faults.html"), &page)?;
    Ok((html, svg))
}

fn summary(grid: &Grid<'_>, set: &FaultSet) -> String {
    let labs: usize = grid.groups.iter().map(|group| group.rows.len()).sum();
    let cells = || grid.groups.iter().flat_map(|group| &group.rows).flat_map(|row| &row.cells).flatten();
    let broke = cells().filter(|cell| cell.verdict == Verdict::Broke).count();
    format!(
        "{}, {}, {}; {}",
        number::plural(labs, "lab", "labs"),
        number::plural(grid.faults.len(), "fault", "faults"),
        number::plural(set.runs.len(), "run", "runs"),
        match broke {
            0 => "no promise was broken".to_owned(),
            _ => number::plural(broke, "cell broke its promise", "cells broke their promise"),
        }
    )
}

fn groups(grid: &Grid<'_>) -> Vec<GroupText> {
    let cell = |cell: &Cell<'_>| CellText {
        words: cell.words(),
        sign: sign(cell.verdict),
        class: class(cell.verdict),
        anchor: anchor(cell.evidence),
        scenario: explained(cell.evidence),
    };
    let group = grid.groups.iter().map(|group| GroupText {
        guarantee: group.guarantee.to_owned(),
        rows: group
            .rows
            .iter()
            .map(|row| RowText {
                lab: row.lab.to_owned(),
                cells: row.cells.iter().map(|found| found.as_ref().map(cell)).collect(),
            })
            .collect(),
    });
    group.collect()
}

/// Each lab in the order of the table, with its runs in the order of columns.
fn labs(grid: &Grid<'_>, set: &FaultSet) -> Result<Vec<LabText>> {
    let mut labs = Vec::new();
    let rows = || grid.groups.iter().flat_map(|group| &group.rows);
    let cells = rows().flat_map(|row| row.cells.iter().flatten()).count();
    for group in &grid.groups {
        for row in &group.rows {
            let mut own: Vec<&FaultRun> = set.runs.iter().filter(|run| run.lab == row.lab).collect();
            let column = |run: &FaultRun| grid.faults.iter().position(|fault| *fault == run.fault());
            own.sort_by_key(|run| (column(run), run.seed));
            let (absent, ran): (Vec<_>, Vec<_>) =
                own.into_iter().partition(|run| run.verdict == Verdict::DoesNotApply);
            let evidence: Vec<&FaultRun> = row.cells.iter().flatten().map(|cell| cell.evidence).collect();
            let runs = ran.iter().map(|run| {
                // One plot a cell: with many seeds the page would be too large to send.
                let few = cells <= PLOTS || run.verdict != Verdict::Kept;
                let plot = few && evidence.iter().any(|shown| std::ptr::eq(*shown, *run));
                run_text(run, plot).with_context(|| format!("cannot show the run {}", run.id()))
            });
            let absent = absent.iter().map(|run| Absent {
                anchor: anchor(run),
                fault: run.fault(),
                why: sentence(&run.why),
            });
            labs.push(LabText {
                name: row.lab.to_owned(),
                about: format!("{}, {}", pattern_title(row.pattern), group.guarantee),
                runs: runs.collect::<Result<_>>()?,
                absent: absent.collect(),
            });
        }
    }
    Ok(labs)
}

fn run_text(run: &FaultRun, plot: bool) -> Result<RunText> {
    let plot = if plot { timeline(run)? } else { None };
    Ok(RunText {
        anchor: anchor(run),
        fault: run.fault(),
        class: class(run.verdict),
        sign: sign(run.verdict),
        verdict: run.verdict.as_str(),
        why: sentence(&run.why),
        note: run.guarantee_note.clone(),
        done: done(run),
        load: format!(
            "{} messages/s of {}, {} → {}, seed {}",
            number::rate(run.rate_per_s),
            number::bytes(run.size),
            run.senders,
            run.receivers,
            run.seed
        ),
        times: times(run),
        counts: counts(run),
        plot: plot.map(|(_, svg)| svg),
        witness: run.witness.as_ref().map(|witness| WitnessText {
            what: witness.what.clone(),
            message: format!("message {} of sender {}", witness.message.sequence, witness.message.producer),
            steps: witness
                .steps
                .iter()
                .map(|step| StepText { at: millis(step.at), what: step.what.clone() })
                .collect(),
        }),
        command: run.command.clone(),
        scenario: explained(run),
    })
}

/// The scenario that shows why, where a promise broke or does not cover the fault.
fn explained(run: &FaultRun) -> Option<&'static str> {
    let asks = matches!(run.verdict, Verdict::Broke | Verdict::NotPromised);
    if asks { explains(&run.fault(), &run.pattern) } else { None }
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", rest.as_str())
}

/// What was done, as sentences.
fn done(run: &FaultRun) -> Vec<String> {
    let each = run.faults.iter().map(|injected| {
        let is_said = injected.target.is_empty() || injected.fault.starts_with(&injected.target);
        let target = if is_said { String::new() } else { format!(" ({})", injected.target) };
        let began = millis(injected.began_ns);
        let over = match injected.healed_ns.saturating_sub(injected.began_ns) {
            0 => String::new(),
            length => format!(", over after {}", number::time(length as f64)),
        };
        format!("{}{target} at {began}{over}", injected.fault)
    });
    each.collect()
}

/// A moment, with the digits that tell neighbours apart: `1 234.567 ms`.
fn millis(ns: u64) -> String {
    let micros = ns / 1_000;
    format!("{}.{:03} ms", number::count(micros / 1_000), micros % 1_000)
}

fn times(run: &FaultRun) -> Vec<Fact> {
    let times = &run.times;
    let time = |ns: Option<u64>| ns.map_or("–".to_owned(), |ns| number::time(ns as f64));
    let fact = |name, value| Fact { name, value, bad: false };
    vec![
        fact("to detect", time(times.detect_ns)),
        fact("without service", time(times.without_service_ns)),
        fact("to recover", time(times.recover_ns)),
        fact("backlog", times.backlog.map_or("–".to_owned(), number::count)),
        fact("to drain it", time(times.drain_ns)),
    ]
}

fn counts(run: &FaultRun) -> Vec<Fact> {
    let counts = &run.counts;
    let lost = &counts.confirmed_lost;
    let confirmed_lost = match lost.total() {
        0 => "0".to_owned(),
        total => format!(
            "{} ({} confirmed before the fault, {} during it, {} after it)",
            number::count(total),
            number::count(lost.beginning),
            number::count(lost.middle),
            number::count(lost.end)
        ),
    };
    let duplicated = match counts.duplicated {
        0 => "0".to_owned(),
        _ => format!(
            "{} ({} marked)",
            number::count(counts.duplicated),
            number::count(counts.duplicated_marked)
        ),
    };
    let fact = |name, value: u64| Fact { name, value: number::count(value), bad: false };
    vec![
        fact("sent", counts.sent),
        fact("confirmed", counts.confirmed),
        fact("received", counts.received),
        fact("refused", counts.refused),
        fact("lost, not confirmed", counts.unconfirmed_lost),
        Fact { name: "lost, confirmed", value: confirmed_lost, bad: lost.total() > 0 },
        fact("unaccounted for", counts.unaccounted),
        fact("indeterminate", counts.indeterminate),
        Fact { name: "received again", value: duplicated, bad: false },
        fact("reordered", counts.reordered),
        fact("connected again", counts.reconnects),
    ]
}
