//! Response time over the trial: one small panel a lab, on common axes.

use plotters::style::{Color as _, RGBColor};

use super::super::canvas::{Canvas, HEAD, NOTE, Point};
use super::super::model::{Comparison, Recording, ReportData, short_name};
use super::super::scale::Scale;
use super::super::{number, palette};
use super::lines::{self, Look};
use crate::results::{BenchmarkCase, Interval, Raw};

const WIDTH: f64 = 800.0;
const COLUMNS: usize = 3;
const LEFT: f64 = 62.0;
const GAP: f64 = 16.0;
const PANEL: f64 = (WIDTH - LEFT - 12.0 - GAP * 2.0) / 3.0;
const PLOT: f64 = 110.0;
const ROW: f64 = PLOT + 54.0;
/// The strip below a panel with messages due and received, if arrivals are uneven.
const STRIP: f64 = 44.0;
const STRIP_GAP: f64 = 14.0;
/// More points than this in a panel are a smear, and make a large file.
const MOST_INTERVALS: usize = 80;

pub(super) fn draw(data: &ReportData<'_>, comparison: &Comparison<'_>) -> Option<Canvas> {
    let ordered = comparison.by_guarantee().into_iter().flat_map(|(_, cells)| cells);
    let panels: Vec<(&BenchmarkCase, &Recording)> = ordered
        .filter_map(|cell| Some((cell, data.recording(cell)?)))
        .filter(|(_, recording)| recording.trials.iter().any(|raw| intervals(raw).next().is_some()))
        .collect();
    if panels.is_empty() {
        return None;
    }
    let trials = || panels.iter().flat_map(|(_, recording)| &recording.trials);
    let values = trials().flat_map(|raw| means(raw).chain(maxima(raw))).map(|(_, ns)| ns);
    let values = values.chain(panels.iter().filter_map(|(cell, _)| overslept(cell)));
    let y = Scale::log(values, (PLOT, 0.0));
    let end = trials().map(|raw| raw.interval_ns as f64 * raw.series.len() as f64).fold(0.0, f64::max);
    let x = Scale::between((0.0, end / 1e9), (0.0, PANEL));

    let flows = comparison.is_uneven().then(|| trials().flat_map(flow).fold(0.0, f64::max));
    let strip = flows.map(|most| Scale::linear(most, (STRIP, 0.0)));
    let row = ROW + if strip.is_some() { STRIP + STRIP_GAP } else { 0.0 };
    let mut canvas = Canvas::new(WIDTH, row * panels.len().div_ceil(COLUMNS) as f64 + 16.0);
    for (index, (cell, recording)) in panels.iter().enumerate() {
        let column = (index % COLUMNS) as f64;
        let origin = (LEFT + column * (PANEL + GAP), (index / COLUMNS) as f64 * row + 26.0);
        let colour = palette::transport(&cell.transport);
        axes(&mut canvas, origin, recording, (&x, &y), index % COLUMNS == 0);
        if let Some(ns) = overslept(cell) {
            let ends = [(origin.0, origin.1 + y.at(ns)), (origin.0 + PANEL, origin.1 + y.at(ns))];
            lines::line(
                &mut canvas,
                &ends,
                Look { colour: palette::MUTED, dash: Some((6.0, 4.0)), width: 1.0 },
            );
        }
        canvas.text(HEAD.fit(short_name(cell), PANEL - 95.0), (origin.0, origin.1 - 10.0), HEAD);
        canvas.text(cell.guarantee.as_str(), (origin.0 + PANEL, origin.1 - 10.0), NOTE.right());
        let place = |(seconds, ns): (f64, f64)| -> Point { (origin.0 + x.at(seconds), origin.1 + y.at(ns)) };
        for raw in &recording.trials {
            for point in maxima(raw) {
                canvas.dot(place(point), 1.25, colour.mix(0.6));
            }
            canvas.line(means(raw).map(place).collect(), colour, 1.25);
        }
        if let (Some(scale), Some(raw)) = (&strip, recording.trials.first()) {
            let top = (origin.0, origin.1 + PLOT + 22.0);
            flows_of(&mut canvas, top, raw, (&x, scale), colour);
            if index % COLUMNS == 0 {
                for tick in scale.ticks().into_iter().step_by(2) {
                    let text = format!("{}/s", number::short(tick));
                    canvas.text(text, (origin.0 - 6.0, top.1 + scale.at(tick)), NOTE.right());
                }
            }
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

/// Messages due and received a second, in a strip below a panel.
fn flows_of(canvas: &mut Canvas, (left, top): Point, raw: &Raw, (x, y): (&Scale, &Scale), colour: RGBColor) {
    canvas.grid((left, top + y.at(0.0)), (left + PANEL, top + y.at(0.0)));
    let line = |which: fn(&(f64, [f64; 2])) -> f64| -> Vec<Point> {
        let points = flow_points(raw);
        points.iter().map(|point| (left + x.at(point.0), top + y.at(which(point)))).collect()
    };
    canvas.line(line(|(_, [due, _])| *due), palette::MUTED, 1.5);
    canvas.line(line(|(_, [_, received])| *received), colour, 1.25);
}

/// Seconds from the start, and messages due and received a second.
fn flow_points(raw: &Raw) -> Vec<(f64, [f64; 2])> {
    let (seconds, all) = together(raw);
    let points = all.enumerate().map(|(index, interval)| {
        let rates = [interval.offered, interval.received].map(|count| count as f64 / seconds);
        ((index as f64 + 0.5) * seconds, rates)
    });
    points.collect()
}

fn flow(raw: &Raw) -> Vec<f64> {
    flow_points(raw).into_iter().flat_map(|(_, rates)| rates).collect()
}

/// The longest time that an idle thread overslept during the good trials of a case, ns.
fn overslept(cell: &BenchmarkCase) -> Option<f64> {
    let good = cell.trials.iter().filter(|trial| trial.failed.is_none());
    good.map(|trial| trial.noise.oversleep_max_ns).max().filter(|ns| *ns > 0).map(|ns| ns as f64)
}

/// Seconds from the start (the interval's middle) and the mean, ns.
fn means(raw: &Raw) -> impl Iterator<Item = (f64, f64)> + '_ {
    intervals(raw).map(|(at, interval)| (at, interval.sum_ns as f64 / interval.received as f64))
}

/// Seconds from the start (the interval's middle) and the largest, ns.
fn maxima(raw: &Raw) -> impl Iterator<Item = (f64, f64)> + '_ {
    intervals(raw).map(|(at, interval)| (at, interval.max_ns as f64))
}

/// The intervals in which something was received, with the seconds of their middle. Times that are withheld
/// are zeros.
fn intervals(raw: &Raw) -> impl Iterator<Item = (f64, Interval)> + '_ {
    let (seconds, all) = together(raw);
    all.enumerate()
        .filter(|(_, interval)| interval.received > 0 && interval.sum_ns > 0)
        .map(move |(index, interval)| ((index as f64 + 0.5) * seconds, interval))
}

/// The length of an interval in seconds, and all of them. Neighbours are put
/// together where there are more than a panel shows.
fn together(raw: &Raw) -> (f64, impl Iterator<Item = Interval> + '_) {
    let together = raw.series.len().div_ceil(MOST_INTERVALS).max(1);
    let seconds = raw.interval_ns as f64 / 1e9 * together as f64;
    let all = raw.series.chunks(together).map(|chunk| Interval {
        received: number::total(chunk.iter().map(|interval| interval.received)),
        max_ns: chunk.iter().map(|interval| interval.max_ns).max().unwrap_or_default(),
        sum_ns: number::total(chunk.iter().map(|interval| interval.sum_ns)),
        offered: number::total(chunk.iter().map(|interval| interval.offered)),
    });
    (seconds, all)
}
