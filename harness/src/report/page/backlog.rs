//! Backlogs: how long they took to fill and to drain.

use serde::Serialize;

use super::super::model::{Comparison, backlog, pattern_title, setting, short_name};
use super::super::{number, palette};
use super::answer::{Account, account, failure, range};
use super::cell::{flags, join};
use crate::results::{BenchmarkCase, LoadKind};

/// The labs of one pattern and guarantee.
#[derive(Serialize)]
pub(super) struct Group {
    title: String,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    lab: String,
    short: String,
    source: String,
    colour: String,
    setting: String,
    failed: Option<String>,
    messages: String,
    fill: String,
    drain: String,
    range: Option<String>,
    time: String,
    account: Account,
    flags: String,
}

/// All backlogs of a run, fastest drained first within a guarantee.
pub(super) fn backlogs(comparisons: &[Comparison<'_>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for comparison in comparisons.iter().filter(|comparison| comparison.kind() == LoadKind::Drain) {
        for (guarantee, cells) in comparison.by_guarantee() {
            let title = format!("{}, {guarantee}", pattern_title(comparison.pattern));
            let rows = cells.into_iter().map(row);
            match groups.iter_mut().find(|group| group.title == title) {
                Some(group) => group.rows.extend(rows),
                None => groups.push(Group { title, rows: rows.collect() }),
            }
        }
    }
    groups
}

fn row(cell: &BenchmarkCase) -> Row {
    let speed = cell.summary.as_ref().map(|summary| summary.throughput_per_s).unwrap_or_default();
    let backlog = backlog(cell);
    let said = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    Row {
        lab: cell.lab.clone(),
        short: short_name(cell).to_owned(),
        source: cell.source.clone(),
        colour: palette::class(palette::transport(&cell.transport)),
        setting: setting(cell),
        failed: failure(cell),
        messages: said(backlog.as_ref().map(|all| number::rate(all.messages))),
        fill: said(backlog.as_ref().map(|all| number::rate(all.fill_per_s()))),
        drain: number::rate(speed.median),
        range: range(cell, Some(speed), number::short),
        time: said(backlog.as_ref().map(|all| number::time(all.drain_s * 1e9))),
        account: account(cell),
        flags: join(&flags(cell)),
    }
}
