//! Backlogs: how long they took to fill and to drain.

use serde::Serialize;

use super::super::model::{Comparison, backlog, pattern_title, setting, short_name};
use super::super::{number, palette};
use super::account::{Accounted, Columns, Shown};
use super::answer::{Context, Facets, failure, range};
use super::flag::Chip;
use crate::results::{BenchmarkCase, LoadKind};

/// All backlogs of a run.
#[derive(Serialize)]
pub(super) struct Backlogs {
    counts: Columns,
    groups: Vec<Group>,
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
    failed: Option<String>,
    messages: String,
    fill: String,
    drain: String,
    range: Option<String>,
    time: String,
    facets: Facets,
    counts: Vec<Shown>,
    flags: Vec<Chip>,
}

/// Fastest drained first within a guarantee; nothing for a run without backlogs.
pub(super) fn backlogs(comparisons: &[Comparison<'_>], context: &Context<'_>) -> Option<Backlogs> {
    let drains = || comparisons.iter().filter(|comparison| comparison.kind() == LoadKind::Drain);
    let accounted: Vec<Accounted<'_>> = drains()
        .flat_map(|comparison| &comparison.cells)
        .filter_map(|cell| Some((*cell, &cell.summary.as_ref()?.counts)))
        .collect();
    let counts = Columns::of(&accounted);
    let mut groups: Vec<Group> = Vec::new();
    for comparison in drains() {
        for (guarantee, cells) in comparison.by_guarantee() {
            let title = format!("{}, {guarantee}", pattern_title(comparison.pattern));
            let rows = cells.into_iter().map(|cell| row(cell, &counts, context));
            match groups.iter_mut().find(|group| group.title == title) {
                Some(group) => group.rows.extend(rows),
                None => groups.push(Group { title, rows: rows.collect() }),
            }
        }
    }
    (!groups.is_empty()).then_some(Backlogs { counts, groups })
}

fn row(cell: &BenchmarkCase, counts: &Columns, context: &Context<'_>) -> Row {
    let speed = cell.summary.as_ref().map(|summary| summary.throughput_per_s).unwrap_or_default();
    let backlog = backlog(cell);
    let said = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    Row {
        lab: cell.lab.clone(),
        short: short_name(cell).to_owned(),
        about: super::answer::about(cell, context.run),
        colour: palette::class(palette::transport(&cell.transport)),
        setting: setting(cell),
        failed: failure(cell),
        messages: said(backlog.as_ref().map(|all| number::rate(all.messages))),
        fill: said(backlog.as_ref().map(|all| number::rate(all.fill_per_s()))),
        drain: number::rate(speed.median),
        range: range(cell, Some(speed), number::short),
        time: said(backlog.as_ref().map(|all| number::time(all.drain_s * 1e9))),
        facets: Facets::of(cell, (context.number)(cell)),
        counts: cell.summary.as_ref().map(|all| counts.row(cell, &all.counts)).unwrap_or_default(),
        flags: context.flags.beside(cell),
    }
}
