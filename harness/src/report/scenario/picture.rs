//! A run of a scenario over time: a lane for each role, and below them what was measured.

use anyhow::Result;
use plotters::style::RGBColor;

use super::super::canvas::{Canvas, HEAD, LABEL, NOTE};
use super::super::number;
use super::super::palette::{GRID, INK, MUTED, SHADE, TRUTH, WRONG};
use super::super::scale::Scale;
use crate::results::{ScenarioEvent, ScenarioPart, ScenarioRun, Series};

const WIDTH: f64 = 820.0;
const LEFT: f64 = 118.0;
const RIGHT: f64 = WIDTH - 18.0;
/// Above the lanes of a part: its name and what was done.
const ABOVE: f64 = 42.0;
const LANE: f64 = 20.0;
/// Below them: the axis.
const BELOW: f64 = 34.0;
const PLOT: f64 = 110.0;
const LEGEND: f64 = 40.0;
/// Who does things from outside.
const LAB: &str = "lab";
const DONE: RGBColor = RGBColor(0x00, 0x9e, 0x73);
const AGAIN: RGBColor = RGBColor(0xe6, 0x9f, 0x00);

/// What marks mean, in the order of the legend.
const KINDS: [(&str, RGBColor, &[&str]); 5] = [
    ("sent", MUTED, &["sent", "written", "asked", "was asked", "requested"]),
    ("received", TRUTH, &["received", "got the reply", "replied"]),
    ("received again", AGAIN, &["received again", "did before"]),
    ("done, acknowledged", DONE, &["did", "acked", "finished", "confirmed", "reconnected"]),
    ("failed, lost", WRONG, &["failed", "nacked", "is gone", "incident", "lost connection", "noticed"]),
];

fn kind(what: &str) -> Option<usize> {
    KINDS.iter().position(|(_, _, words)| words.contains(&what))
}

/// The roles of a part, in the order in which they are first heard.
fn lanes(part: &ScenarioPart) -> Vec<&str> {
    let mut lanes: Vec<&str> = Vec::new();
    for event in part.events.iter().filter(|event| event.who != LAB && event.who != "engine") {
        if !lanes.contains(&event.who.as_str()) {
            lanes.push(&event.who);
        }
    }
    lanes
}

fn height(part: &ScenarioPart) -> f64 {
    ABOVE + lanes(part).len() as f64 * LANE + BELOW + part.series.len() as f64 * (PLOT + BELOW)
}

/// The picture, SVG without a ground.
pub(super) fn picture(run: &ScenarioRun) -> Result<String> {
    let whole = LEGEND + run.parts.iter().map(height).sum::<f64>();
    let mut canvas = Canvas::new(WIDTH, whole.max(LEGEND + 40.0));
    let mut left = 14.0;
    for (name, colour, _) in KINDS {
        canvas.dot((left, 16.0), 4.0, colour);
        canvas.text(name, (left + 10.0, 16.0), NOTE);
        left += 34.0 + NOTE.width(name);
    }
    let mut top = LEGEND;
    for part in &run.parts {
        draw(&mut canvas, part, top);
        top += height(part);
    }
    if run.parts.is_empty() {
        canvas.text("there is no picture of this scenario: see its figures", (14.0, LEGEND + 16.0), LABEL);
    }
    canvas.svg(&format!("{} over {}, over time: {}", run.title, run.lab, run.outcome))
}

fn draw(canvas: &mut Canvas, part: &ScenarioPart, top: f64) {
    let lanes = lanes(part);
    let ends = part.events.iter().map(|event| event.at as f64 / 1e9);
    let points = part.series.iter().flat_map(|series| series.points.iter().map(|(at, _)| *at));
    let last = ends.chain(points).fold(0.01, f64::max);
    let x = Scale::between((0.0, last), (LEFT, RIGHT));
    canvas.text(HEAD.fit(&part.name, RIGHT - 14.0), (14.0, top + 8.0), HEAD);
    let lane_top = top + ABOVE;
    let bottom = lane_top + lanes.len() as f64 * LANE;
    for (number, who) in lanes.iter().enumerate() {
        let y = lane_top + (number as f64 + 0.5) * LANE;
        if number % 2 == 0 {
            canvas.rect((LEFT, y - LANE / 2.0), (RIGHT, y + LANE / 2.0), SHADE);
        }
        canvas.text(LABEL.fit(who, LEFT - 26.0), (LEFT - 10.0, y), LABEL.right());
    }
    acts(canvas, part, &x, (lane_top, bottom));
    for event in &part.events {
        let Some(lane) = lanes.iter().position(|who| *who == event.who) else { continue };
        let Some(kind) = kind(&event.what) else { continue };
        // Kinds have a height of their own within the lane, so that none hides another.
        let y = lane_top + (lane as f64 + 0.5) * LANE + (kind as f64 - 2.0) * 3.2;
        canvas.dot((x.at(event.at as f64 / 1e9), y), 2.2, KINDS[kind].1);
    }
    axis(canvas, &x, bottom);
    let mut below = bottom + BELOW;
    for series in &part.series {
        plot(canvas, series, &x, below);
        below += PLOT + BELOW;
    }
}

/// What was done from outside: a line, and its name where there is room.
fn acts(canvas: &mut Canvas, part: &ScenarioPart, x: &Scale, (top, bottom): (f64, f64)) {
    let mut free = f64::MIN;
    let is_act = |event: &&ScenarioEvent| event.who == LAB || event.who == "engine";
    for event in part.events.iter().filter(is_act) {
        let at = x.at(event.at as f64 / 1e9);
        canvas.line(vec![(at, top - 6.0), (at, bottom)], INK, 1.2);
        let words = NOTE.fit(&format!("{} {}", event.what, event.text), 210.0);
        let width = NOTE.width(&words);
        let left = at.min(RIGHT - width);
        if left > free {
            canvas.text(words, (left, top - 13.0), NOTE);
            free = left + width + 8.0;
        }
    }
}

fn axis(canvas: &mut Canvas, x: &Scale, bottom: f64) {
    canvas.line(vec![(LEFT, bottom), (RIGHT, bottom)], GRID, 1.0);
    for tick in x.ticks() {
        let label = if tick > 0.0 { number::time(tick * 1e9) } else { "0".to_owned() };
        canvas.text(label, (x.at(tick), bottom + 11.0), NOTE.centre());
    }
}

fn plot(canvas: &mut Canvas, series: &Series, x: &Scale, top: f64) {
    let bottom = top + PLOT;
    let most = series.points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let y = Scale::linear(most.max(1e-9), (bottom, top + 12.0));
    for tick in y.ticks() {
        canvas.grid((LEFT, y.at(tick)), (RIGHT, y.at(tick)));
        canvas.text(number::short(tick), (LEFT - 8.0, y.at(tick)), NOTE.right());
    }
    canvas.text(format!("{}, {}", series.name, series.unit), (14.0, top), NOTE);
    let points = series.points.iter().map(|(at, value)| (x.at(*at), y.at(*value))).collect();
    canvas.line(points, TRUTH, 1.6);
    axis(canvas, x, bottom);
}
