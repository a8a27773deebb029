//! The plots: the event itself, and for each pitfall the reported value beside the actual
//! one.

use anyhow::Result;
use plotters::style::{Color as _, RGBColor};

use super::methods;
use super::model::{Sample, Samples, Unit, View, Views};
use super::page::{off, shown, title};
use super::recordings::Recordings;
use crate::report::canvas::{self, Canvas, HEAD, LABEL, NOTE, Point};
use crate::report::scale::Scale;
use crate::report::{number, palette};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = WIDTH - 24.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = HEIGHT - 46.0;

/// Samples that must be left beyond the end of a curve.
const LEFT_BEYOND: f64 = 10.0;

/// All pictures: file name and SVG, for a light page and a dark one.
///
/// # Errors
/// When the recordings cannot be looked at, or a picture cannot be drawn.
pub fn pictures(recordings: &Recordings, views: &Views) -> Result<Vec<(String, String)>> {
    let samples = recordings.samples()?;
    let mut pictures = Vec::new();
    let mut add = |name: &str, alt: &str, canvas: &Canvas| -> Result<()> {
        pictures.push((format!("{name}.svg"), canvas::standalone(&canvas.svg(alt)?)));
        Ok(())
    };
    add(
        "the-event",
        "Response times around the pause: in the open loop, they rise at once to the length of the pause and \
         then fall linearly; in the closed loop, one message is slow",
        &event(recordings, &samples),
    )?;
    for view in &views.views {
        let canvas = match view.name.as_str() {
            "averaged-percentiles" => levels(
                view,
                &methods::by_second(&samples.open, samples.from, 0.99),
                "second of the measured time",
            ),
            "single-run" => {
                let p99 = |run: &Vec<Sample>| methods::quantile(&methods::responses(run), 0.99);
                levels(view, &samples.runs.iter().map(p99).collect::<Vec<_>>(), "run")
            }
            "senders-rate" => bars(view),
            _ => curves(view, &samples),
        };
        let alt = format!(
            "{}, {}: reported {}, actual {}",
            title(view),
            view.measure,
            shown(&view.wrong),
            shown(&view.truth)
        );
        add(&view.name, &alt, &canvas)?;
    }
    Ok(pictures)
}

/// A canvas with the reported and the actual value above the plot.
fn headed(view: &View) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    canvas.text(format!("{}: {}, {}", title(view), view.measure, off(view)), (LEFT, 16.0), HEAD);
    key(&mut canvas, LEFT, &format!("reported {}", shown(&view.wrong)), palette::WRONG);
    key(&mut canvas, f64::midpoint(LEFT, RIGHT), &format!("actual {}", shown(&view.truth)), palette::TRUTH);
    canvas
}

fn key(canvas: &mut Canvas, x: f64, text: &str, colour: RGBColor) {
    canvas.line(vec![(x, 38.0), (x + 26.0, 38.0)], colour, 3.0);
    canvas.text(text, (x + 33.0, 38.0), LABEL);
}

fn horizontal(canvas: &mut Canvas, y: &Scale, text: impl Fn(f64) -> String) {
    for tick in y.ticks() {
        canvas.grid((LEFT, y.at(tick)), (RIGHT, y.at(tick)));
        canvas.text(text(tick), (LEFT - 8.0, y.at(tick)), NOTE.right());
    }
}

/// Response time by when a message was due, around the pause, on a linear axis.
fn event(recordings: &Recordings, samples: &Samples) -> Canvas {
    let made = &recordings.made;
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let start = made.open.warmup_s + made.pause.at_s;
    let (from, to) = (start - made.pause.for_s / 2.0, start + made.pause.for_s * 1.7);
    let near = |sample: &&Sample| (from..to).contains(&(sample.due as f64 / 1e9));
    let x = Scale::between((from, to), (LEFT, RIGHT));
    let responses = |samples: &[Sample]| samples.iter().filter(near).map(Sample::response).max();
    let most = responses(&samples.open).max(responses(&samples.closed)).unwrap_or_default();
    let y = Scale::linear(most as f64, (BOTTOM, TOP));
    let head = format!(
        "{}, {} messages a second: response time against due time",
        made.lab,
        number::rate(made.rate)
    );
    canvas.text(head, (LEFT, 16.0), HEAD);
    let slow = |samples: &[Sample]| samples.iter().filter(|sample| sample.response() > 10_000_000).count();
    let told = |name: &str, samples: &[Sample]| {
        format!("{name}; messages above 10 ms: {}", number::count(slow(samples) as u64))
    };
    key(&mut canvas, LEFT, &told("closed loop", &samples.closed), palette::WRONG);
    key(&mut canvas, f64::midpoint(LEFT, RIGHT), &told("open loop", &samples.open), palette::TRUTH);
    if let Some(paused) = made.open.paused {
        let at = |ns: u64| x.at(ns as f64 / 1e9);
        canvas.rect((at(paused.began_ns), TOP), (at(paused.ended_ns), BOTTOM), palette::SHADE);
    }
    horizontal(&mut canvas, &y, number::tick_time);
    for tick in x.ticks() {
        canvas.text(number::short(tick), (x.at(tick), BOTTOM + 12.0), NOTE.centre());
    }
    canvas.text(
        "seconds from the start; the broker was paused in the shaded time",
        (f64::midpoint(LEFT, RIGHT), BOTTOM + 32.0),
        NOTE.centre(),
    );
    let place =
        |sample: &Sample| -> Point { (x.at(sample.due as f64 / 1e9), y.at(sample.response() as f64)) };
    canvas.line(samples.open.iter().filter(near).map(place).collect(), palette::TRUTH, 2.0);
    // A line would show messages that were never sent. Dots that are close together are drawn
    // once.
    let mut last = (f64::MIN, f64::MIN);
    for point in samples.closed.iter().filter(near).map(place) {
        if (point.0 - last.0).hypot(point.1 - last.1) >= 2.0 {
            canvas.dot(point, 2.5, palette::WRONG);
            last = point;
        }
    }
    canvas
}

/// The distribution of the samples that a pitfall keeps beside that of all messages, on an axis
/// of nines.
fn curves(view: &View, samples: &Samples) -> Canvas {
    let mut canvas = headed(view);
    let all = methods::responses(&samples.open);
    let truth = curve(all.len(), |share| methods::quantile(&all, share) as f64);
    let wrong = if view.name == "millisecond-clock" {
        let coarse = methods::milliseconds(&all);
        let kept: f64 = coarse.iter().map(|(_, weight)| weight).sum();
        curve(kept as usize, |share| methods::weighted_quantile(&coarse, share) as f64 * 1e6)
    } else {
        let kept = match view.name.as_str() {
            "closed-loop" => methods::services(&samples.closed),
            _ => methods::last_of_batches(&samples.open),
        };
        curve(kept.len(), |share| methods::quantile(&kept, share) as f64)
    };
    let last = truth.iter().chain(&wrong).map(|point| point.0).fold(1.0, f64::max);
    let x = Scale::between((0.0, last), (LEFT, RIGHT));
    let y = Scale::log(truth.iter().chain(&wrong).map(|point| point.1), (BOTTOM, TOP));
    horizontal(&mut canvas, &y, number::time);
    let marks =
        [(0.0, "0"), (0.301, "50 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %")];
    for (nines, label) in marks.into_iter().filter(|mark| mark.0 <= last) {
        canvas.grid((x.at(nines), TOP), (x.at(nines), BOTTOM));
        canvas.text(label, (x.at(nines), BOTTOM + 12.0), NOTE.centre());
    }
    canvas.text("percentile", (f64::midpoint(LEFT, RIGHT), BOTTOM + 32.0), NOTE.centre());
    for (points, colour) in [(truth, palette::TRUTH), (wrong, palette::WRONG)] {
        canvas.line(points.iter().map(|(nines, ns)| (x.at(*nines), y.at(*ns))).collect(), colour, 2.0);
    }
    canvas
}

/// Nines and ns, as far as ten of `count` samples lie beyond.
fn curve(count: usize, at: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let nines = (count as f64 / LEFT_BEYOND).log10().max(0.0);
    let steps = (nines / 0.02).ceil().max(1.0) as u32;
    let places = (0..=steps).map(|step| nines * f64::from(step) / f64::from(steps));
    places.map(|x| (x, at(1.0 - 10_f64.powf(-x)).max(1.0))).collect()
}

/// One dot for each part, and lines for the reported and the actual value.
fn levels(view: &View, values: &[u64], part: &str) -> Canvas {
    let mut canvas = headed(view);
    let all = values.iter().copied().chain([view.wrong.value, view.truth.value]);
    let y = Scale::log(all.map(|ns| ns as f64), (BOTTOM, TOP));
    horizontal(&mut canvas, &y, number::time);
    for (figure, colour) in [(&view.truth, palette::TRUTH), (&view.wrong, palette::WRONG)] {
        let level = y.at(figure.value as f64);
        canvas.line(vec![(LEFT, level), (RIGHT, level)], colour, 2.0);
    }
    let width = (RIGHT - LEFT) / values.len().max(1) as f64;
    for (index, ns) in values.iter().enumerate() {
        let x = LEFT + (index as f64 + 0.5) * width;
        canvas.dot((x, y.at(*ns as f64)), 4.0, palette::INK);
        canvas.text((index + 1).to_string(), (x, BOTTOM + 12.0), NOTE.centre());
    }
    let text = format!("{part}; a dot is its p99");
    canvas.text(text, (f64::midpoint(LEFT, RIGHT), BOTTOM + 32.0), NOTE.centre());
    canvas
}

/// Two bars.
fn bars(view: &View) -> Canvas {
    let mut canvas = headed(view);
    let most = view.wrong.value.max(view.truth.value) as f64;
    let x = Scale::linear(most, (LEFT, RIGHT));
    for tick in x.ticks() {
        canvas.grid((x.at(tick), TOP), (x.at(tick), BOTTOM));
        canvas.text(number::short(tick), (x.at(tick), BOTTOM + 12.0), NOTE.centre());
    }
    let height = (BOTTOM - TOP) / 2.0;
    let rows = [(&view.wrong, palette::WRONG), (&view.truth, palette::TRUTH)];
    for ((figure, colour), top) in rows.into_iter().zip([TOP, TOP + height]) {
        let end = x.at(figure.value as f64);
        canvas.rect((LEFT, top + height * 0.45), (end, top + height * 0.9), colour.mix(0.85));
        canvas.text(figure.what.as_str(), (LEFT, top + height * 0.28), LABEL);
    }
    let unit = if view.wrong.unit == Unit::PerSecond { "messages a second" } else { "" };
    canvas.text(unit, (f64::midpoint(LEFT, RIGHT), BOTTOM + 32.0), NOTE.centre());
    canvas
}
