//! Throughput at maximum load: bars with whiskers and every trial as a dot.

use plotters::style::Color as _;

use super::super::canvas::{Canvas, LABEL, NOTE};
use super::super::model::Comparison;
use super::super::scale::Scale;
use super::super::{number, palette};
use super::rows::Layout;
use crate::results::{BenchmarkCase, Counts};

const WIDTH: f64 = 800.0;
const LABELS: f64 = 150.0;
const VALUES: f64 = 262.0;

/// Above this factor between fastest and slowest, a linear axis would show
/// some as nothing.
const LOG_FROM: f64 = 30.0;

pub(super) fn draw(comparison: &Comparison<'_>) -> Canvas {
    let layout = Layout { origin: (12.0, 4.0), labels: LABELS, row: 26.0, head: 32.0 };
    let bottom = layout.origin.1 + layout.height(comparison);
    let mut canvas = Canvas::new(WIDTH, bottom + 46.0);
    let pixels = (12.0 + LABELS, WIDTH - VALUES);
    let scale = scale(comparison, pixels);
    layout.axis(&mut canvas, comparison, &scale, number::short);
    let unit = if scale.is_log() { "messages/s, logarithmic" } else { "messages/s" };
    canvas.text(unit, (f64::midpoint(pixels.0, pixels.1), bottom + 34.0), NOTE.centre());
    for (cell, y) in layout.names(&mut canvas, comparison) {
        row(&mut canvas, comparison, cell, y, &scale, pixels);
    }
    canvas
}

fn row(
    canvas: &mut Canvas,
    comparison: &Comparison<'_>,
    cell: &BenchmarkCase,
    y: f64,
    scale: &Scale,
    pixels: (f64, f64),
) {
    let Some(summary) = &cell.summary else {
        canvas.text(NOTE.fit(&why_failed(cell), WIDTH - pixels.0 - 20.0), (pixels.0 + 6.0, y), NOTE);
        return;
    };
    let colour = palette::transport(&cell.transport);
    let speed = summary.throughput_per_s;
    // The baseline's throughput, behind the bar.
    if let Some(floor) = comparison.run.floor(cell) {
        let x = scale.at(floor.throughput_per_s.median);
        canvas.rect((pixels.0, y - 10.5), (x, y + 10.5), colour.mix(0.16));
        canvas.line(vec![(x, y - 10.5), (x, y + 10.5)], colour, 1.0);
    }
    canvas.rect((pixels.0, y - 8.0), (scale.at(speed.median), y + 8.0), colour.mix(0.55));
    if cell.good_trials() > 1 {
        whisker(canvas, (scale.at(speed.low), scale.at(speed.high)), y, 5.0);
    }
    let x = scale.at(speed.median);
    canvas.line(vec![(x, y - 8.0), (x, y + 8.0)], palette::INK, 2.0);
    for trial in cell.trials.iter().filter(|trial| trial.failed.is_none()) {
        canvas.dot((scale.at(trial.throughput_per_s), y), 2.25, palette::INK.mix(0.75));
    }
    canvas.text(format!("{}/s", number::short(speed.median)), (pixels.1 + 74.0, y), LABEL.right());
    let mut lines = account(&summary.counts);
    if let Some(share) = comparison.run.share(cell) {
        lines[0] += &format!(" · {} × raw sockets", number::ratio(share));
    }
    let top = y - 6.0 * (lines.len() as f64 - 1.0);
    for (line, text) in lines.iter().enumerate() {
        canvas.text(NOTE.fit(text, VALUES - 88.0), (pixels.1 + 84.0, top + 12.0 * line as f64), NOTE);
    }
}

/// An interval as a line with ends.
pub(super) fn whisker(canvas: &mut Canvas, (low, high): (f64, f64), y: f64, half: f64) {
    canvas.line(vec![(low, y), (high, y)], palette::INK, 1.0);
    for x in [low, high] {
        canvas.line(vec![(x, y - half), (x, y + half)], palette::INK, 1.0);
    }
}

fn scale(comparison: &Comparison<'_>, pixels: (f64, f64)) -> Scale {
    let floors = || {
        comparison.cells.iter().filter_map(|cell| Some(comparison.run.floor(cell)?.throughput_per_s.median))
    };
    let values = || comparison.cells.iter().flat_map(|cell| values(cell)).chain(floors());
    let most = values().fold(0.0, f64::max);
    let least = values().filter(|value| *value > 0.0).fold(f64::MAX, f64::min);
    // From zero where that shows everything, for then lengths are to scale.
    if most > least * LOG_FROM { Scale::log(values(), pixels) } else { Scale::linear(most, pixels) }
}

/// Every number that is drawn for a case.
pub(super) fn values(cell: &BenchmarkCase) -> Vec<f64> {
    let Some(summary) = &cell.summary else { return Vec::new() };
    let good = cell.trials.iter().filter(|trial| trial.failed.is_none());
    let mut values: Vec<f64> = good.map(|trial| trial.throughput_per_s).collect();
    let speed = summary.throughput_per_s;
    values.extend([speed.median, speed.low, speed.high]);
    values
}

/// Stands beside every speed: `lost 0`, and on a second line what else went wrong.
fn account(counts: &Counts) -> Vec<String> {
    let short = |name: &str, value: u64| format!("{name} {}", number::short(value as f64));
    let mut first = short("lost", counts.lost);
    if counts.corrupt > 0 {
        first += &format!(" · {}", short("corrupt", counts.corrupt));
    }
    let second: Vec<String> = [("dup.", counts.duplicated), ("reord.", counts.reordered)]
        .into_iter()
        .filter(|(_, value)| *value > 0)
        .map(|(name, value)| short(name, value))
        .collect();
    let mut lines = vec![first];
    if !second.is_empty() {
        lines.push(second.join(" · "));
    }
    lines
}

fn why_failed(cell: &BenchmarkCase) -> String {
    match cell.trials.iter().find_map(|trial| trial.failed.as_deref()) {
        Some(reason) => format!("failed: {reason}"),
        None => "not measured yet".to_owned(),
    }
}
