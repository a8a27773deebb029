//! Response time over the trial: one small panel a lab, on common axes.

use plotters::style::Color as _;

use super::super::evidence::{Evidence, Recording, Sheet, short_name};
use super::super::figure::{Canvas, HEAD, NOTE, Point};
use super::super::scale::Scale;
use super::super::{number, palette};
use crate::bundle::{Cell, Interval, Raw};

const WIDTH: f64 = 800.0;
const COLUMNS: usize = 3;
const LEFT: f64 = 62.0;
const GAP: f64 = 16.0;
const PANEL: f64 = (WIDTH - LEFT - 12.0 - GAP * 2.0) / 3.0;
const PLOT: f64 = 110.0;
const ROW: f64 = PLOT + 54.0;
/// More points than this in a panel are a smear, and make a large file.
const MOST_INTERVALS: usize = 120;

pub(super) fn draw(evidence: &Evidence<'_>, sheet: &Sheet<'_>) -> Option<Canvas> {
    let ordered = sheet.by_guarantee().into_iter().flat_map(|(_, cells)| cells);
    let panels: Vec<(&Cell, &Recording)> = ordered
        .filter_map(|cell| Some((cell, evidence.recording(cell)?)))
        .filter(|(_, recording)| recording.trials.iter().any(|raw| !raw.series.is_empty()))
        .collect();
    if panels.is_empty() {
        return None;
    }
    let trials = || panels.iter().flat_map(|(_, recording)| &recording.trials);
    let values = trials().flat_map(|raw| means(raw).chain(maxima(raw))).map(|(_, ns)| ns);
    let y = Scale::log(values, (PLOT, 0.0));
    let end = trials().map(|raw| raw.interval_ns as f64 * raw.series.len() as f64).fold(0.0, f64::max);
    let x = Scale::between((0.0, end / 1e9), (0.0, PANEL));

    let mut canvas = Canvas::new(WIDTH, ROW * panels.len().div_ceil(COLUMNS) as f64 + 16.0);
    for (index, (cell, recording)) in panels.iter().enumerate() {
        let column = (index % COLUMNS) as f64;
        let origin = (LEFT + column * (PANEL + GAP), (index / COLUMNS) as f64 * ROW + 26.0);
        let colour = palette::transport(&cell.transport);
        axes(&mut canvas, origin, recording, (&x, &y), index % COLUMNS == 0);
        canvas.text(HEAD.fit(short_name(cell), PANEL - 95.0), (origin.0, origin.1 - 10.0), HEAD);
        canvas.text(cell.guarantee.as_str(), (origin.0 + PANEL, origin.1 - 10.0), NOTE.right());
        let place = |(seconds, ns): (f64, f64)| -> Point { (origin.0 + x.at(seconds), origin.1 + y.at(ns)) };
        for raw in &recording.trials {
            for point in maxima(raw) {
                canvas.dot(place(point), 1.25, colour.mix(0.6));
            }
            canvas.line(means(raw).map(place).collect(), colour, 1.25);
        }
    }
    let bottom = canvas.height - 10.0;
    canvas.text("seconds from the start", (f64::midpoint(LEFT, WIDTH), bottom), NOTE.centre());
    Some(canvas)
}

fn axes(
    canvas: &mut Canvas,
    (left, top): Point,
    recording: &Recording,
    (x, y): (&Scale, &Scale),
    names: bool,
) {
    let warm = recording.trials.iter().map(|raw| raw.measure_from_ns).max().unwrap_or_default();
    if warm > 0 {
        canvas.rect((left, top), (left + x.at(warm as f64 / 1e9), top + PLOT), palette::SHADE);
    }
    for tick in y.ticks() {
        canvas.grid((left, top + y.at(tick)), (left + PANEL, top + y.at(tick)));
        if names {
            canvas.text(number::time(tick), (left - 6.0, top + y.at(tick)), NOTE.right());
        }
    }
    for tick in x.ticks() {
        canvas.text(number::short(tick), (left + x.at(tick), top + PLOT + 12.0), NOTE.centre());
    }
}

/// Seconds from the start (the interval's middle) and the mean, ns.
fn means(raw: &Raw) -> impl Iterator<Item = (f64, f64)> + '_ {
    intervals(raw).map(|(at, interval)| (at, interval.sum_ns as f64 / interval.received as f64))
}

/// Seconds from the start (the interval's middle) and the largest, ns.
fn maxima(raw: &Raw) -> impl Iterator<Item = (f64, f64)> + '_ {
    intervals(raw).map(|(at, interval)| (at, interval.max_ns as f64))
}

/// The intervals in which something was received, with the seconds of their
/// middle. Neighbours are put together where there are more than a panel shows.
fn intervals(raw: &Raw) -> impl Iterator<Item = (f64, Interval)> + '_ {
    let together = raw.series.len().div_ceil(MOST_INTERVALS).max(1);
    let seconds = raw.interval_ns as f64 / 1e9 * together as f64;
    raw.series
        .chunks(together)
        .map(|chunk| Interval {
            received: chunk.iter().map(|interval| interval.received).sum(),
            max_ns: chunk.iter().map(|interval| interval.max_ns).max().unwrap_or_default(),
            sum_ns: chunk.iter().map(|interval| interval.sum_ns).sum(),
            offered: chunk.iter().map(|interval| interval.offered).sum(),
        })
        .enumerate()
        .filter(|(_, interval)| interval.received > 0)
        .map(move |(index, interval)| ((index as f64 + 0.5) * seconds, interval))
}
