//! The plots of a history, and the two pages that show them: one HTML file to send, and
//! Markdown for a code host.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::{History, Measure, Series, Shift};
use crate::compare::regress::record::write as replace;
use crate::compare::regress::verdict::percent;
use crate::report::canvas::{Canvas, LABEL, NOTE, standalone};
use crate::report::scale::Scale;
use crate::report::{number, palette, render};

/// The size of a picture and of the margins around the plot, px.
const SIZE: (f64, f64) = (760.0, 210.0);
const LEFT: f64 = 76.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 30.0;

#[derive(Serialize)]
struct Page<'a> {
    history: &'a History,
    style: &'a str,
    unread: &'a [String],
    changes: Vec<Row>,
    pictures: Vec<Picture>,
    short: usize,
    dates: String,
}

#[derive(Serialize)]
struct Row {
    cell: String,
    measure: &'static str,
    date: String,
    run: String,
    change: String,
    what: &'static str,
    p: f64,
    changed: String,
}

#[derive(Serialize)]
struct Picture {
    file: String,
    alt: String,
    svg: String,
}

/// Writes `plots/*.svg`, `history.html`, `README.md` and `history.json` into
/// `out`; the pages are returned. `unread` lists the result sets that could not be read.
///
/// # Errors
/// When a file cannot be written; it is named.
pub fn write(history: &History, unread: &[String], out: &Path) -> Result<[PathBuf; 2]> {
    let mut pictures = Vec::new();
    for series in &history.series {
        let (alt, svg) = draw(series)?;
        let name: String = format!("{} {}", series.cell, measure_word(series.measure))
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' })
            .collect();
        let file = format!("plots/{name}.svg");
        replace(&out.join("plots"), &format!("{name}.svg"), &standalone(&svg))?;
        pictures.push(Picture { file, alt, svg });
    }
    let rows =
        history.series.iter().flat_map(|series| series.changes.iter().map(move |shift| row(series, shift)));
    let points =
        || history.series.iter().flat_map(|series| &series.points).map(|point| point.created.as_str());
    let page = Page {
        history,
        style: include_str!("../../report/templates/style.css"),
        unread,
        changes: rows.collect(),
        pictures,
        short: history.series.iter().filter(|series| !series.enough).count(),
        dates: format!("{} to {}", day(points().min().unwrap_or("-")), day(points().max().unwrap_or("-"))),
    };
    let html = render::render("history.html", include_str!("history.html"), &page)?;
    replace(out, "history.html", &html)?;
    replace(out, "README.md", &render::render("README.md", include_str!("history.md"), &page)?)?;
    replace(out, "history.json", &(serde_json::to_string_pretty(history)? + "\n"))?;
    Ok([out.join("history.html"), out.join("README.md")])
}

fn row(series: &Series, shift: &Shift) -> Row {
    Row {
        cell: series.cell.clone(),
        measure: series.measure.title(),
        date: day(&shift.created).to_owned(),
        run: shift.run.clone(),
        change: percent(shift.ratio),
        what: if shift.worse { "worse" } else { "better" },
        p: shift.p,
        changed: if shift.changed.is_empty() { "none recorded".to_owned() } else { shift.changed.join("; ") },
    }
}

const fn measure_word(measure: Measure) -> &'static str {
    match measure {
        Measure::Throughput => "throughput",
        Measure::P50 => "p50",
        Measure::Cpu => "cpu",
    }
}

fn day(created: &str) -> &str {
    created.get(..10).unwrap_or(created)
}

fn show(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Throughput if value > 0.0 => format!("{}/s", number::short(value)),
        Measure::Throughput => "0".to_owned(),
        Measure::P50 | Measure::Cpu => number::tick_time(value),
    }
}

/// One series: every trial pale, every result set's median, the level between changes, and a
/// line where it changed. Result sets are in order, with equal gaps. The alternative text and
/// the SVG.
fn draw(series: &Series) -> Result<(String, String)> {
    let mut canvas = Canvas::new(SIZE.0, SIZE.1);
    let colour = palette::transport(&series.transport);
    let count = series.points.len();
    let most =
        series.points.iter().flat_map(|point| &point.trials).fold(0.0_f64, |most, value| most.max(*value));
    // From zero: a change looks as large as it is.
    let y = Scale::linear(most, (SIZE.1 - BOTTOM, TOP));
    let room = SIZE.0 - LEFT - RIGHT;
    let x = |at: f64| LEFT + room * (at + 0.5) / count as f64;
    canvas.text(format!("{}: {}", series.cell, series.measure.title()), (LEFT, 13.0), LABEL);
    for tick in y.ticks() {
        canvas.grid((LEFT, y.at(tick)), (SIZE.0 - RIGHT, y.at(tick)));
        canvas.text(show(series.measure, tick), (LEFT - 8.0, y.at(tick)), NOTE.right());
    }
    let mut start = 0;
    let ends = series.changes.iter().map(|shift| shift.at).chain([count]);
    for end in ends {
        let medians: Vec<f64> = series.points[start..end].iter().map(|point| point.median).collect();
        if let (Some(level), true) = (crate::stats::median(&medians), series.enough) {
            let ends = [(x(start as f64 - 0.4), y.at(level)), (x(end as f64 - 0.6), y.at(level))];
            canvas.line(ends.to_vec(), palette::MUTED, 1.5);
        }
        start = end;
    }
    for (at, point) in series.points.iter().enumerate() {
        for trial in &point.trials {
            canvas.dot((x(at as f64), y.at(*trial)), 1.6, plotters::style::Color::mix(&colour, 0.35));
        }
        canvas.dot((x(at as f64), y.at(point.median)), 3.4, colour);
    }
    for shift in &series.changes {
        let at = x(shift.at as f64 - 0.5);
        canvas.line(vec![(at, TOP - 4.0), (at, SIZE.1 - BOTTOM)], palette::INK, 1.0);
        let label = format!("{} on {}", percent(shift.ratio), day(&shift.created));
        // Beside its line, on the side where there is room.
        let style = if at > SIZE.0 / 2.0 { NOTE.right() } else { NOTE };
        canvas.text(label, (if at > SIZE.0 / 2.0 { at - 4.0 } else { at + 4.0 }, TOP - 5.0), style);
    }
    let foot = SIZE.1 - BOTTOM + 15.0;
    if let (Some(first), Some(last)) = (series.points.first(), series.points.last()) {
        canvas.text(day(&first.created), (LEFT, foot), NOTE);
        if count > 1 {
            canvas.text(day(&last.created), (SIZE.0 - RIGHT, foot), NOTE.right());
        }
    }
    if !series.enough {
        let text = format!("too few result sets to look for changes: {count} of {}", super::FEWEST);
        canvas.text(text, (LEFT + room / 2.0, foot), NOTE.centre());
    }
    let changes: Vec<String> = series
        .changes
        .iter()
        .map(|shift| format!("changed by {} on {}", percent(shift.ratio), day(&shift.created)))
        .collect();
    let found = match (series.enough, changes.is_empty()) {
        (false, _) => "too few result sets to look for changes".to_owned(),
        (true, true) => "no change found".to_owned(),
        (true, false) => changes.join(", "),
    };
    let alt = format!("{} of {} over {count} result sets: {found}", series.measure.title(), series.cell);
    let svg = canvas.svg(&alt)?;
    Ok((alt, svg))
}
