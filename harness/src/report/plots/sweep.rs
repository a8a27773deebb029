//! Latency against load: how response times grow as a lab nears the rate that
//! it sustains.

use plotters::style::RGBColor;

use super::super::canvas::{Canvas, HEAD, NOTE, Point};
use super::super::limits::Limit;
use super::super::model::{pattern_title, short_name};
use super::super::scale::Scale;
use super::super::{number, palette};
use super::lines::{self, End, Look, Margin};
use crate::results::{Percentiles, Summary};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = HEIGHT - 48.0;

/// The shares of the sustainable rate that are marked at the axis.
const SHARES: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];

/// The frame that curves are drawn into: top left and bottom right, px.
struct Frame {
    from: Point,
    to: Point,
    x: Scale,
    y: Scale,
}

impl Frame {
    fn new(from: Point, to: Point, values: impl Iterator<Item = f64>) -> Self {
        Self {
            from,
            to,
            x: Scale::between((0.0, 1.05), (from.0, to.0)),
            y: Scale::log(values, (to.1, from.1)),
        }
    }

    fn at(&self, (share, ns): (f64, f64)) -> Point {
        (self.x.at(share), self.y.at(ns))
    }

    fn axes(&self, canvas: &mut Canvas) {
        for tick in self.y.ticks() {
            canvas.grid((self.from.0, self.y.at(tick)), (self.to.0, self.y.at(tick)));
            canvas.text(number::time(tick), (self.from.0 - 8.0, self.y.at(tick)), NOTE.right());
        }
        for share in SHARES {
            canvas.grid((self.x.at(share), self.from.1), (self.x.at(share), self.to.1));
            canvas.text(number::share(share), (self.x.at(share), self.to.1 + 12.0), NOTE.centre());
        }
    }
}

/// One figure of each point, where it is not withheld: share of the load, and ns.
fn curve(limit: &Limit<'_>, figure: impl Fn(&Summary) -> Option<u64>) -> Vec<(f64, f64)> {
    let points = limit.points();
    points.filter_map(|(point, summary)| Some((point.share, figure(summary)? as f64))).collect()
}

/// A curve of the picture of one lab.
struct Curve {
    name: &'static str,
    look: Look,
    points: Vec<(f64, f64)>,
    /// Measured ones have a dot at each point.
    measured: bool,
}

fn curves(limit: &Limit<'_>, colour: RGBColor) -> Vec<Curve> {
    let solid = |colour: RGBColor, width: f64| Look { colour, dash: None, width };
    let measured = |name: &'static str, look: Look, figure: fn(&Percentiles) -> Option<u64>| Curve {
        name,
        look,
        points: curve(limit, |summary| figure(&summary.response_ns)),
        measured: true,
    };
    let predicted = limit.sweep.into_iter().flat_map(|sweep| &sweep.points);
    vec![
        measured("p99", solid(colour, 2.0), |all| all.p99),
        measured("mean", solid(palette::INK, 2.0), |all| all.mean),
        measured("p50", Look { dash: Some((2.5, 3.5)), ..solid(colour, 2.0) }, |all| all.p50),
        Curve {
            name: "predicted",
            look: Look { dash: Some((9.0, 4.0)), ..solid(palette::INK, 1.25) },
            points: predicted.filter_map(|point| Some((point.share, point.predicted_ns?))).collect(),
            measured: false,
        },
        Curve {
            name: "lag p99",
            look: solid(palette::MUTED, 1.25),
            points: curve(limit, |summary| summary.lag_ns.p99),
            measured: true,
        },
    ]
}

/// The picture of one lab.
pub(super) fn draw(limit: &Limit<'_>) -> Option<Canvas> {
    let colour = palette::transport(&limit.cell.transport);
    let curves: Vec<Curve> =
        curves(limit, colour).into_iter().filter(|curve| !curve.points.is_empty()).collect();
    if !curves.iter().any(|curve| curve.measured) {
        return None;
    }
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let values = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let frame = Frame::new((LEFT, TOP), (RIGHT, BOTTOM), values);
    frame.axes(&mut canvas);
    lines::legend(&mut canvas, (LEFT, 14.0), curves.iter().map(|curve| (curve.name, curve.look)));
    let about = limit
        .sustainable()
        .map_or_else(String::new, |rate| format!(": 100\u{202f}% is {}/s", number::rate(rate)));
    let middle = f64::midpoint(LEFT, RIGHT);
    canvas.text(format!("share of the sustainable rate{about}"), (middle, BOTTOM + 34.0), NOTE.centre());
    canvas.text("response time", (12.0, f64::midpoint(TOP, BOTTOM)), NOTE.centre().upwards());
    if let Some(knee) = limit.sweep.and_then(|sweep| sweep.knee) {
        let x = frame.x.at(knee);
        canvas.line(vec![(x, TOP - 4.0), (x, BOTTOM)], palette::MUTED, 1.25);
        canvas.text(format!("knee {}", number::share(knee)), (x, TOP - 13.0), NOTE.centre());
    }
    let mut ends = Vec::new();
    for curve in &curves {
        let points: Vec<Point> = curve.points.iter().map(|point| frame.at(*point)).collect();
        lines::line(&mut canvas, &points, curve.look);
        if curve.measured {
            for point in &points {
                canvas.dot(*point, 1.25 + curve.look.width / 2.0, curve.look.colour);
            }
        }
        ends.extend(points.last().map(|end| End {
            at: *end,
            name: curve.name.to_owned(),
            colour: curve.look.colour,
        }));
    }
    lines::names(
        &mut canvas,
        ends,
        Margin { left: RIGHT + 12.0, width: WIDTH - RIGHT - 14.0, bottom: BOTTOM },
    );
    Some(canvas)
}

/// The p99 of a lab against its load, and the lab.
type Tail<'a> = (&'a Limit<'a>, Vec<(f64, f64)>);

const PANEL: f64 = 530.0;
const PLOT: f64 = 230.0;

/// All labs: p99 against load, a panel a pattern, on one scale.
pub(super) fn overview(limits: &[Limit<'_>]) -> Option<Canvas> {
    let tails = limits.iter().map(|limit| (limit, curve(limit, |summary| summary.response_ns.p99)));
    let mut panels: Vec<Vec<Tail<'_>>> = Vec::new();
    for tail in tails.filter(|(_, points)| !points.is_empty()) {
        match panels.last_mut().filter(|panel| panel[0].0.subject.pattern == tail.0.subject.pattern) {
            Some(panel) => panel.push(tail),
            None => panels.push(vec![tail]),
        }
    }
    if panels.is_empty() {
        return None;
    }
    let columns = panels.len().min(2);
    let row = PLOT + 84.0;
    let (width, height) = (PANEL * columns as f64 + 8.0, row * panels.len().div_ceil(columns) as f64 + 48.0);
    let mut canvas = Canvas::new(width, height);
    for (index, own) in panels.iter().enumerate() {
        let (x, y) = (8.0 + (index % columns) as f64 * PANEL, 8.0 + (index / columns) as f64 * row);
        let all = panels.iter().flatten().flat_map(|(_, points)| points.iter().map(|point| point.1));
        let frame = Frame::new((x + 60.0, y + 34.0), (x + PANEL - 142.0, y + 34.0 + PLOT), all);
        canvas.text(pattern_title(&own[0].0.subject.pattern), (x, y + 10.0), HEAD);
        canvas.line(vec![(x, y + 22.0), (x + PANEL - 16.0, y + 22.0)], palette::MUTED, 1.0);
        panel(&mut canvas, &frame, own);
    }
    let mut guarantees: Vec<&str> = Vec::new();
    for limit in limits {
        if !guarantees.contains(&limit.cell.guarantee.as_str()) {
            guarantees.push(&limit.cell.guarantee);
        }
    }
    let bottom = canvas.height - 10.0;
    lines::guarantees(&mut canvas, (8.0, bottom - 20.0), guarantees.into_iter());
    canvas.text("p99 of response against the share of each lab's sustainable rate", (8.0, bottom), NOTE);
    Some(canvas)
}

fn panel(canvas: &mut Canvas, frame: &Frame, own: &[Tail<'_>]) {
    frame.axes(canvas);
    let mut ends = Vec::new();
    for (limit, points) in own {
        let colour = palette::transport(&limit.cell.transport);
        let points: Vec<Point> = points.iter().map(|point| frame.at(*point)).collect();
        let look = Look { colour, dash: lines::dash(&limit.cell.guarantee), width: 2.0 };
        lines::line(canvas, &points, look);
        ends.extend(points.last().map(|at| End { at: *at, name: short_name(limit.cell).to_owned(), colour }));
    }
    let (left, bottom) = frame.to;
    lines::names(canvas, ends, Margin { left: left + 10.0, width: 128.0, bottom });
}
