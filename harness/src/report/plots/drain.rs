//! Plot of a backlog: how fast it was filled, and how fast it was drained.

use plotters::style::Color as _;

use super::super::canvas::{Canvas, LABEL, NOTE};
use super::super::model::{Comparison, backlog};
use super::super::scale::Scale;
use super::super::{number, palette};
use super::rows::Layout;
use super::throughput::whisker;

const WIDTH: f64 = 800.0;
const LABELS: f64 = 150.0;
const VALUES: f64 = 230.0;

pub(super) fn draw(comparison: &Comparison<'_>) -> Canvas {
    let layout = Layout { origin: (12.0, 24.0), labels: LABELS, row: 34.0, head: 32.0 };
    let bottom = layout.origin.1 + layout.height(comparison);
    let mut canvas = Canvas::new(WIDTH, bottom + 46.0);
    let pixels = (12.0 + LABELS, WIDTH - VALUES);
    let rates = comparison.cells.iter().flat_map(|cell| {
        let drained = cell.summary.as_ref().map(|summary| summary.throughput_per_s.high);
        [backlog(cell).map(|all| all.fill_per_s()), drained].into_iter().flatten()
    });
    let scale = Scale::linear(rates.fold(0.0, f64::max), pixels);
    layout.axis(&mut canvas, comparison, &scale, number::short);
    canvas.text("messages/s", (f64::midpoint(pixels.0, pixels.1), bottom + 34.0), NOTE.centre());
    let mut x = pixels.0;
    for (name, strength) in [("filled", 0.3), ("drained", 0.75)] {
        canvas.rect((x, 9.0), (x + 11.0, 20.0), palette::MUTED.mix(strength));
        canvas.text(name, (x + 16.0, 14.5), NOTE);
        x += 40.0 + NOTE.width(name);
    }
    for (cell, y) in layout.names(&mut canvas, comparison) {
        let (Some(summary), Some(backlog)) = (&cell.summary, backlog(cell)) else {
            canvas.text("failed", (pixels.0 + 6.0, y), NOTE);
            continue;
        };
        let colour = palette::transport(&cell.transport);
        let speed = summary.throughput_per_s;
        canvas.rect((pixels.0, y - 12.0), (scale.at(backlog.fill_per_s()), y - 1.0), colour.mix(0.3));
        canvas.rect((pixels.0, y + 1.0), (scale.at(speed.median), y + 12.0), colour.mix(0.75));
        if cell.good_trials() > 1 {
            whisker(&mut canvas, (scale.at(speed.low), scale.at(speed.high)), y + 6.5, 4.0);
        }
        let texts = [
            (y - 6.5, NOTE, format!("filled at {}/s", number::short(backlog.fill_per_s()))),
            (
                y + 6.5,
                LABEL,
                format!(
                    "drained at {}/s in {}",
                    number::short(speed.median),
                    number::time(backlog.drain_s * 1e9)
                ),
            ),
        ];
        for (y, style, text) in texts {
            canvas.text(style.fit(&text, VALUES - 20.0), (pixels.1 + 12.0, y), style);
        }
    }
    canvas
}
