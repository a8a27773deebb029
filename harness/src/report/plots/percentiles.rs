//! Response time by percentile, on an axis of nines.

use super::super::evidence::{Evidence, Sheet, short_name};
use super::super::figure::{Canvas, LABEL, NOTE, Point};
use super::super::scale::Scale;
use super::super::{number, palette};
use crate::bundle::Cell;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 650.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 48.0;

/// Samples that must be left beyond the end of a curve.
const LEFT_BEYOND: f64 = 10.0;

/// How lines of each guarantee are dashed, px: drawn, left out.
const DASHES: [(&str, Option<(f64, f64)>); 3] =
    [("at-most-once", None), ("at-least-once", Some((9.0, 4.0))), ("durable", Some((2.5, 3.5)))];

struct Curve<'a> {
    cell: &'a Cell,
    /// Nines (-log10 of the share beyond) and ns.
    points: Vec<(f64, f64)>,
}

pub(super) fn draw(evidence: &Evidence<'_>, sheet: &Sheet<'_>) -> Option<Canvas> {
    let curves: Vec<Curve<'_>> = sheet.cells.iter().filter_map(|cell| curve(evidence, cell)).collect();
    let last = curves.iter().filter_map(|curve| curve.points.last()).map(|end| end.0).fold(0.0, f64::max);
    if curves.is_empty() {
        return None;
    }
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let x = Scale::between((0.0, last.max(1.0)), (LEFT, RIGHT));
    let all = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let y = Scale::log(all, (BOTTOM, TOP));
    axes(&mut canvas, &x, &y, last.max(1.0));
    legend(&mut canvas, sheet);

    let mut ends = Vec::new();
    for curve in &curves {
        let points: Vec<Point> = curve.points.iter().map(|(nines, ns)| (x.at(*nines), y.at(*ns))).collect();
        let Some(end) = points.last().copied() else { continue };
        let colour = palette::transport(&curve.cell.transport);
        match dash(&curve.cell.guarantee) {
            None => canvas.line(points, colour, 2.0),
            Some(pattern) => {
                for piece in dashed(&points, pattern) {
                    canvas.line(piece, colour, 2.0);
                }
            }
        }
        canvas.dot(end, 3.0, colour);
        ends.push((end, curve.cell));
    }
    labels(&mut canvas, ends);
    Some(canvas)
}

fn curve<'a>(evidence: &Evidence<'_>, cell: &'a Cell) -> Option<Curve<'a>> {
    let response = &evidence.recording(cell)?.response;
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

/// What solid and dashed mean, for the guarantees in this picture.
fn legend(canvas: &mut Canvas, sheet: &Sheet<'_>) {
    let mut x = LEFT;
    for (guarantee, _) in sheet.by_guarantee() {
        let line = vec![(x, 14.0), (x + 30.0, 14.0)];
        let pieces = dash(guarantee).map_or_else(|| vec![line.clone()], |pattern| dashed(&line, pattern));
        for piece in pieces {
            canvas.line(piece, palette::MUTED, 2.0);
        }
        canvas.text(guarantee, (x + 37.0, 14.0), NOTE);
        x += 60.0 + NOTE.width(guarantee);
    }
}

fn dash(guarantee: &str) -> Option<(f64, f64)> {
    DASHES.iter().find(|(known, _)| *known == guarantee).and_then(|(_, pattern)| *pattern)
}

/// The pieces of a line that are drawn when it is dashed.
fn dashed(points: &[Point], (on, off): (f64, f64)) -> Vec<Vec<Point>> {
    let mut pieces = vec![points.first().copied().into_iter().collect::<Vec<_>>()];
    let (mut drawing, mut left) = (true, on);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            let step = left.min(length);
            if length > 0.0 {
                let share = step / length;
                from = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
            }
            if drawing && let Some(piece) = pieces.last_mut() {
                piece.push(from);
            }
            left -= step;
            if left > 1e-9 {
                break;
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
            if drawing {
                pieces.push(vec![from]);
            }
            if step >= length {
                break;
            }
        }
    }
    pieces
}

/// Names at the ends of their curves, moved apart where they would overlap.
fn labels(canvas: &mut Canvas, mut ends: Vec<(Point, &Cell)>) {
    const APART: f64 = 16.0;
    ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let mut places: Vec<f64> = Vec::new();
    for ((_, y), _) in &ends {
        let lowest = places.last().map_or(f64::MIN, |previous| previous + APART);
        places.push(y.max(lowest));
    }
    // What has been pushed below the plot moves up again.
    let mut limit = BOTTOM;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - APART;
    }
    for ((end, cell), y) in ends.into_iter().zip(places) {
        let colour = palette::transport(&cell.transport);
        canvas.line(vec![end, (RIGHT + 14.0, y)], colour, 1.0);
        canvas.text(LABEL.fit(short_name(cell), WIDTH - RIGHT - 22.0), (RIGHT + 18.0, y), LABEL);
    }
}
