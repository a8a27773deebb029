//! Response time by percentile, on an axis of nines.

use super::super::canvas::{Canvas, NOTE, Point};
use super::super::model::{Comparison, ReportData, short_name};
use super::super::scale::Scale;
use super::super::{number, palette};
use super::lines::{self, End, Look, Margin};
use crate::results::BenchmarkCase;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 650.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 48.0;

/// Samples that must be left beyond the end of a curve.
const LEFT_BEYOND: f64 = 10.0;

struct Curve<'a> {
    cell: &'a BenchmarkCase,
    /// Nines (-log10 of the share beyond) and ns.
    points: Vec<(f64, f64)>,
}

pub(super) fn draw(data: &ReportData<'_>, comparison: &Comparison<'_>) -> Option<Canvas> {
    let curves: Vec<Curve<'_>> = comparison.cells.iter().filter_map(|cell| curve(data, cell)).collect();
    let last = curves.iter().filter_map(|curve| curve.points.last()).map(|end| end.0).fold(0.0, f64::max);
    if curves.is_empty() {
        return None;
    }
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let x = Scale::between((0.0, last.max(1.0)), (LEFT, RIGHT));
    let all = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let y = Scale::log(all, (BOTTOM, TOP));
    axes(&mut canvas, &x, &y, last.max(1.0));
    let guarantees = comparison.by_guarantee().into_iter().map(|(name, _)| name);
    lines::guarantees(&mut canvas, (LEFT, 14.0), guarantees);

    let mut ends = Vec::new();
    for curve in &curves {
        let points: Vec<Point> = curve.points.iter().map(|(nines, ns)| (x.at(*nines), y.at(*ns))).collect();
        let Some(end) = points.last().copied() else { continue };
        let colour = palette::transport(&curve.cell.transport);
        lines::line(
            &mut canvas,
            &points,
            Look { colour, dash: lines::dash(&curve.cell.guarantee), width: 2.0 },
        );
        canvas.dot(end, 3.0, colour);
        ends.push(End { at: end, name: short_name(curve.cell).to_owned(), colour });
    }
    let margin = Margin { left: RIGHT + 14.0, width: WIDTH - RIGHT - 18.0, bottom: BOTTOM };
    lines::names(&mut canvas, ends, margin);
    Some(canvas)
}

fn curve<'a>(data: &ReportData<'_>, cell: &'a BenchmarkCase) -> Option<Curve<'a>> {
    let response = &data.recording(cell)?.response;
    let nines = (response.len() as f64 / LEFT_BEYOND).log10();
    if nines < 0.3 {
        return None; // not even a median
    }
    let steps = (nines / 0.02).ceil() as u32;
    let points = (0..=steps)
        .map(|step| nines * f64::from(step) / f64::from(steps))
        .map(|x| (x, response.value_at_quantile(1.0 - 10_f64.powf(-x)).max(1) as f64))
        .collect();
    Some(Curve { cell, points })
}

fn axes(canvas: &mut Canvas, x: &Scale, y: &Scale, last: f64) {
    for tick in y.ticks() {
        canvas.grid((LEFT, y.at(tick)), (RIGHT, y.at(tick)));
        canvas.text(number::time(tick), (LEFT - 8.0, y.at(tick)), NOTE.right());
    }
    let marks =
        [(0.0, "0"), (0.301, "50 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %")];
    let more = [(5.0, "99.999 %"), (6.0, "99.9999 %")];
    for (nines, label) in marks.into_iter().chain(more).filter(|mark| mark.0 <= last + 1e-9) {
        canvas.grid((x.at(nines), TOP), (x.at(nines), BOTTOM));
        canvas.text(label, (x.at(nines), BOTTOM + 12.0), NOTE.centre());
    }
    canvas.text("percentile", (f64::midpoint(LEFT, RIGHT), BOTTOM + 34.0), NOTE.centre());
    canvas.text("response time", (12.0, f64::midpoint(TOP, BOTTOM)), NOTE.centre().upwards());
}
