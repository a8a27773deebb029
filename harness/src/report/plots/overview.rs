//! All patterns and transports at a glance: one panel a pattern, one scale.

use plotters::style::Color as _;

use super::super::evidence::{Sheet, pattern_title};
use super::super::figure::{Canvas, HEAD, LABEL, NOTE};
use super::super::scale::Scale;
use super::super::{number, palette};
use super::rows::Layout;
use super::throughput::values;
use crate::bundle::Cell;

const COLUMNS: usize = 3;
const PANEL: f64 = 350.0;
const LABELS: f64 = 124.0;
const VALUES: f64 = 62.0;

pub(super) fn draw(sheets: &[Sheet<'_>]) -> Option<Canvas> {
    // The first setting of each pattern; the others have their own plots.
    let mut panels: Vec<&Sheet<'_>> = Vec::new();
    for sheet in sheets.iter().filter(|sheet| sheet.is_max()) {
        if panels.iter().all(|panel| panel.pattern != sheet.pattern) {
            panels.push(sheet);
        }
    }
    if panels.is_empty() {
        return None;
    }
    let all = || panels.iter().flat_map(|sheet| &sheet.cells).flat_map(|cell| values(cell));
    let columns = panels.len().min(COLUMNS);
    let layout = |x: f64, y: f64| Layout { origin: (x, y), labels: LABELS, row: 20.0, head: 28.0 };

    let mut canvas = Canvas::new(PANEL * columns as f64 + 12.0, 0.0);
    let mut y = 8.0;
    for row in panels.chunks(columns) {
        for (column, sheet) in row.iter().enumerate() {
            let x = 12.0 + column as f64 * PANEL;
            let layout = layout(x, y + 18.0);
            let scale = Scale::log(all(), (x + LABELS, x + PANEL - VALUES - 18.0));
            canvas.text(pattern_title(sheet.pattern), (x, y + 10.0), HEAD);
            canvas.text(sheet.setting(), (x + PANEL - 24.0, y + 10.0), NOTE.right());
            canvas.line(vec![(x, y + 22.0), (x + PANEL - 24.0, y + 22.0)], palette::MUTED, 1.0);
            layout.axis(&mut canvas, sheet, &scale, number::short);
            for (cell, middle) in layout.names(&mut canvas, sheet) {
                mark(&mut canvas, cell, middle, &scale, (x + LABELS, x + PANEL - 24.0));
            }
        }
        let tallest = row.iter().map(|sheet| layout(0.0, 0.0).height(sheet)).fold(0.0, f64::max);
        y += tallest + 62.0;
    }
    for note in [
        "messages/s at the receivers, logarithmic scale",
        "dots: trials; bar: 95\u{202f}% interval of the median",
        "* lost, duplicated, reordered or corrupt: see table",
    ] {
        canvas.text(note, (12.0, y), NOTE);
        y += 15.0;
    }
    canvas.height = y;
    Some(canvas)
}

fn mark(canvas: &mut Canvas, cell: &Cell, y: f64, scale: &Scale, (left, right): (f64, f64)) {
    let Some(summary) = &cell.summary else {
        canvas.text("failed", (right, y), NOTE.right());
        return;
    };
    let colour = palette::transport(&cell.transport);
    let speed = summary.throughput_per_s;
    let (low, high) = (scale.at(speed.low), scale.at(speed.high));
    let x = scale.at(speed.median);
    // A guide for the eye; on a logarithmic scale its length says nothing.
    canvas.rect((left, y - 1.0), (x, y + 1.0), colour.mix(0.5));
    canvas.rect((low - 1.0, y - 4.0), (high + 1.0, y + 4.0), colour.mix(0.4));
    for trial in cell.trials.iter().filter(|trial| trial.failed.is_none()) {
        canvas.dot((scale.at(trial.throughput_per_s), y), 2.25, colour);
    }
    canvas.line(vec![(x, y - 6.5), (x, y + 6.5)], palette::INK, 1.5);
    let counts = &summary.counts;
    let clean = counts.lost + counts.duplicated + counts.reordered + counts.corrupt == 0;
    let text = number::short(speed.median);
    canvas.text(if clean { text } else { format!("{text}*") }, (right, y), LABEL.right());
}
