//! Shared parts of line plots: dashes that distinguish guarantees, a legend for them, and
//! names at the ends of the lines.

use plotters::style::RGBColor;

use super::super::canvas::{Canvas, LABEL, NOTE, Point};
use super::super::palette;

/// The lengths of dashes and gaps of a dashed line, px.
pub(super) type Dash = (f64, f64);

/// How lines of each guarantee are dashed.
const GUARANTEES: [(&str, Option<Dash>); 3] =
    [("at-most-once", None), ("at-least-once", Some((9.0, 4.0))), ("durable", Some((2.5, 3.5)))];

/// The dashes of a guarantee; none is a solid line.
pub(super) fn dash(guarantee: &str) -> Option<Dash> {
    GUARANTEES.iter().find(|(known, _)| *known == guarantee).and_then(|(_, dash)| *dash)
}

/// How a line looks.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) colour: RGBColor,
    pub(super) dash: Option<Dash>,
    /// px.
    pub(super) width: f64,
}

/// Draws a line, dashed or not.
pub(super) fn line(canvas: &mut Canvas, points: &[Point], look: Look) {
    match look.dash {
        None => canvas.line(points.to_vec(), look.colour, look.width),
        Some(dash) => {
            for piece in pieces(points, dash) {
                canvas.line(piece, look.colour, look.width);
            }
        }
    }
}

/// What solid and dashed mean: one sample a guarantee, from `at` to the right.
pub(super) fn guarantees<'a>(canvas: &mut Canvas, at: Point, names: impl Iterator<Item = &'a str>) {
    let samples = names.map(|name| (name, Look { colour: palette::MUTED, dash: dash(name), width: 2.0 }));
    legend(canvas, at, samples);
}

/// Samples of lines with their names, from `at` to the right.
pub(super) fn legend<'a>(canvas: &mut Canvas, at: Point, samples: impl Iterator<Item = (&'a str, Look)>) {
    let (mut x, y) = at;
    for (name, look) in samples {
        line(canvas, &[(x, y), (x + 30.0, y)], look);
        canvas.text(name, (x + 37.0, y), NOTE);
        x += 56.0 + NOTE.width(name);
    }
}

/// The end of a line, with its name.
pub(super) struct End {
    pub(super) at: Point,
    pub(super) name: String,
    pub(super) colour: RGBColor,
}

/// The space for names, px.
#[derive(Clone, Copy)]
pub(super) struct Margin {
    /// From here to the right.
    pub(super) left: f64,
    /// The width of the space.
    pub(super) width: f64,
    /// No lower than here.
    pub(super) bottom: f64,
}

/// Names at the ends of their lines, moved apart where they would overlap.
pub(super) fn names(canvas: &mut Canvas, mut ends: Vec<End>, margin: Margin) {
    const APART: f64 = 16.0;
    ends.sort_by(|a, b| a.at.1.total_cmp(&b.at.1));
    let mut places: Vec<f64> = Vec::new();
    for end in &ends {
        let lowest = places.last().map_or(f64::MIN, |previous| previous + APART);
        places.push(end.at.1.max(lowest));
    }
    // Names pushed below the plot move up again.
    let mut limit = margin.bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - APART;
    }
    for (end, y) in ends.into_iter().zip(places) {
        canvas.line(vec![end.at, (margin.left, y)], end.colour, 1.0);
        canvas.text(LABEL.fit(&end.name, margin.width - 4.0), (margin.left + 4.0, y), LABEL);
    }
}

/// The pieces of a line that are drawn when it is dashed.
fn pieces(points: &[Point], (on, off): Dash) -> Vec<Vec<Point>> {
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
