//! Plot of a figure against a varied parameter: messages a second at full speed, or p50
//! at a rate, one line per lab.

use super::super::axes::{Axis, Spot};
use super::super::canvas::{Canvas, NOTE, Point};
use super::super::model::short_name;
use super::super::scale::Scale;
use super::super::{number, palette};
use super::lines::{self, End, Look, Margin};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 48.0;

/// If the largest value of an axis is this many times the smallest, equal factors are equally
/// far apart.
const LOG_FROM: f64 = 8.0;

pub(super) fn draw(axis: &Axis<'_>) -> Option<Canvas> {
    let spots = || axis.lines.iter().flat_map(|line| &line.spots);
    spots().next()?;
    let values = axis.values();
    let (least, most) = (*values.first()? as f64, *values.last()? as f64);
    // A margin at both ends, so that the first dot is not on the axis.
    let pixels = (LEFT + 24.0, RIGHT - 24.0);
    let is_log = least > 0.0 && most >= least * LOG_FROM;
    let x = |value: u64| {
        let share = if is_log {
            (value as f64 / least).ln() / (most / least).ln()
        } else {
            (value as f64 - least) / (most - least).max(1.0)
        };
        pixels.0 + share * (pixels.1 - pixels.0)
    };
    let y = Scale::log(spots().flat_map(|spot| [spot.low, spot.median, spot.high]), (BOTTOM, TOP));

    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    for tick in y.ticks() {
        canvas.grid((LEFT, y.at(tick)), (RIGHT, y.at(tick)));
        let label = if axis.is_max { number::short(tick) } else { number::time(tick) };
        canvas.text(label, (LEFT - 8.0, y.at(tick)), NOTE.right());
    }
    for value in &values {
        canvas.grid((x(*value), TOP), (x(*value), BOTTOM));
        canvas.text(axis.value_text(*value), (x(*value), BOTTOM + 12.0), NOTE.centre());
    }
    let scale = if is_log { ", logarithmic" } else { "" };
    let name = format!("{}{scale}", axis.name);
    canvas.text(name, (f64::midpoint(LEFT, RIGHT), BOTTOM + 34.0), NOTE.centre());
    let figure = if axis.is_max { "messages/s" } else { "response p50" };
    canvas.text(figure, (12.0, f64::midpoint(TOP, BOTTOM)), NOTE.centre().upwards());
    lines::guarantees(&mut canvas, (LEFT, 14.0), axis.guarantees().into_iter());

    let mut ends = Vec::new();
    for line in &axis.lines {
        let colour = palette::transport(&line.cell.transport);
        let place = |spot: &Spot| -> Point { (x(spot.value), y.at(spot.median)) };
        let points: Vec<Point> = line.spots.iter().map(place).collect();
        lines::line(
            &mut canvas,
            &points,
            Look { colour, dash: lines::dash(&line.cell.guarantee), width: 2.0 },
        );
        for spot in &line.spots {
            let at = place(spot);
            canvas.line(vec![(at.0, y.at(spot.low)), (at.0, y.at(spot.high))], colour, 1.25);
            canvas.dot(at, 3.0, colour);
        }
        ends.extend(points.last().map(|at| End { at: *at, name: short_name(line.cell).to_owned(), colour }));
    }
    lines::names(
        &mut canvas,
        ends,
        Margin { left: RIGHT + 6.0, width: WIDTH - RIGHT - 10.0, bottom: BOTTOM },
    );
    Some(canvas)
}
