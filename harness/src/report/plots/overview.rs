//! Overview plots of all patterns and transports: one panel per pattern, one scale.

use plotters::style::Color as _;

use super::super::canvas::{Canvas, HEAD, LABEL, NOTE};
use super::super::model::{Comparison, pattern_title};
use super::super::scale::Scale;
use super::super::{number, palette};
use super::rows::{Layout, columns, place_panels};
use super::throughput::values;
use crate::results::{BenchmarkCase, LoadKind};

const PANEL: f64 = 370.0;

/// A kind of overview plot, and the space that its labels take.
struct Kind {
    load: LoadKind,
    /// From the left edge to where the scale begins, px.
    labels: f64,
    /// At the right edge, for figures, px.
    figures: f64,
    values: fn(&BenchmarkCase) -> Vec<f64>,
    tick: fn(f64) -> String,
    mark: fn(&mut Canvas, &BenchmarkCase, f64, &Scale, (f64, f64)),
    notes: &'static [&'static str],
}

/// Throughput at maximum load.
pub(super) fn throughput(comparisons: &[Comparison<'_>]) -> Option<Canvas> {
    draw(
        comparisons,
        &Kind {
            load: LoadKind::Max,
            labels: 136.0,
            figures: 62.0,
            values,
            tick: number::short,
            mark: speed,
            notes: &[
                "messages/s at the receivers, logarithmic scale",
                "dots: trials; bar: 95\u{202f}% interval of the median",
                "* lost, duplicated, reordered or corrupt: see table",
            ],
        },
    )
}

/// Response times at a rate.
pub(super) fn latency(comparisons: &[Comparison<'_>]) -> Option<Canvas> {
    draw(
        comparisons,
        &Kind {
            load: LoadKind::Rate,
            labels: 136.0,
            figures: 104.0,
            values: |cell| percentiles(cell).into_iter().flatten().collect(),
            tick: number::time,
            mark: response,
            notes: &["response time, logarithmic scale", "line: p50; bar: from p50 to p99"],
        },
    )
}

fn draw(comparisons: &[Comparison<'_>], kind: &Kind) -> Option<Canvas> {
    // The first setting of each pattern; the others have their own plots.
    let mut panels: Vec<&Comparison<'_>> = Vec::new();
    for comparison in comparisons.iter().filter(|comparison| comparison.kind() == kind.load) {
        if panels.iter().all(|panel| panel.pattern != comparison.pattern) {
            panels.push(comparison);
        }
    }
    if panels.is_empty() {
        return None;
    }
    let all = || panels.iter().flat_map(|comparison| &comparison.cells).flat_map(|cell| (kind.values)(cell));
    let layout = Layout { origin: (0.0, 0.0), labels: kind.labels, row: 20.0, head: 28.0 };
    let heights: Vec<f64> = panels.iter().map(|comparison| layout.height(comparison)).collect();
    let places = place_panels(&heights, 62.0);

    let mut canvas = Canvas::new(PANEL * columns(panels.len()) as f64 + 12.0, 0.0);
    for (index, comparison) in panels.iter().enumerate() {
        let (x, y) = (12.0 + (index % columns(panels.len())) as f64 * PANEL, 8.0 + places.tops[index]);
        let (left, right) = (x + kind.labels, x + PANEL - 24.0);
        let layout = Layout { origin: (x, y + 18.0), ..layout };
        let scale = Scale::log(all(), (left, right + 6.0 - kind.figures));
        let setting = match kind.load {
            LoadKind::Rate => format!("{}, {}", comparison.load_text(), comparison.setting()),
            _ => comparison.setting(),
        };
        canvas.text(pattern_title(comparison.pattern), (x, y + 10.0), HEAD);
        canvas.text(NOTE.fit(&setting, PANEL - 160.0), (right, y + 10.0), NOTE.right());
        canvas.line(vec![(x, y + 22.0), (right, y + 22.0)], palette::MUTED, 1.0);
        layout.axis(&mut canvas, comparison, &scale, kind.tick);
        for (cell, middle) in layout.names(&mut canvas, comparison) {
            if cell.summary.is_some() {
                (kind.mark)(&mut canvas, cell, middle, &scale, (left, right));
            } else {
                canvas.text("failed", (right, middle), NOTE.right());
            }
        }
    }
    let mut y = 8.0 + places.bottom;
    for note in kind.notes {
        canvas.text(*note, (12.0, y), NOTE);
        y += 15.0;
    }
    canvas.height = y;
    Some(canvas)
}

fn speed(canvas: &mut Canvas, cell: &BenchmarkCase, y: f64, scale: &Scale, (left, right): (f64, f64)) {
    let Some(summary) = &cell.summary else { return };
    let colour = palette::transport(&cell.transport);
    let speed = summary.throughput_per_s;
    let (low, high) = (scale.at(speed.low), scale.at(speed.high));
    let x = scale.at(speed.median);
    // A guide for the eye; on a logarithmic scale its length says nothing.
    canvas.rect((left, y - 1.0), (x, y + 1.0), colour.mix(0.5));
    if cell.good_trials() > 1 {
        canvas.rect((low - 1.0, y - 4.0), (high + 1.0, y + 4.0), colour.mix(0.4));
    }
    for trial in cell.trials.iter().filter(|trial| trial.failed.is_none()) {
        canvas.dot((scale.at(trial.throughput_per_s), y), 2.25, colour);
    }
    canvas.line(vec![(x, y - 6.5), (x, y + 6.5)], palette::INK, 1.5);
    let counts = &summary.counts;
    // Where no order is promised, none is broken.
    let reordered = if cell.promises_order() { counts.reordered } else { 0 };
    let clean = [counts.lost, counts.duplicated, reordered, counts.corrupt] == [0; 4];
    let text = number::short(speed.median);
    canvas.text(if clean { text } else { format!("{text}*") }, (right, y), LABEL.right());
}

/// p50 and p99, ns; a withheld one is missing.
fn percentiles(cell: &BenchmarkCase) -> [Option<f64>; 2] {
    let response = cell.summary.as_ref().map(|summary| summary.response_ns).unwrap_or_default();
    [response.p50, response.p99].map(|ns| ns.map(|ns| ns as f64))
}

fn response(canvas: &mut Canvas, cell: &BenchmarkCase, y: f64, scale: &Scale, (_, right): (f64, f64)) {
    let colour = palette::transport(&cell.transport);
    let [p50, p99] = percentiles(cell);
    if let (Some(p50), Some(p99)) = (p50, p99) {
        canvas.rect(
            (scale.at(p50), y - 4.0),
            (scale.at(p99).max(scale.at(p50) + 1.5), y + 4.0),
            colour.mix(0.55),
        );
    }
    if let Some(p50) = p50 {
        canvas.line(vec![(scale.at(p50), y - 6.5), (scale.at(p50), y + 6.5)], palette::INK, 1.5);
    }
    let text = match (p50, p99) {
        (Some(p50), Some(p99)) => format!("{} – {}", number::time(p50), number::time(p99)),
        (Some(p50), None) => format!("{} – ?", number::time(p50)),
        _ => "withheld".to_owned(),
    };
    canvas.text(text, (right, y), LABEL.right());
}
