//! One run over time: messages sent, confirmed and received a second, and when each fault began and
//! was over.

use anyhow::Result;
use plotters::style::RGBColor;

use super::super::canvas::{Canvas, NOTE, Point};
use super::super::number;
use super::super::palette::{INK, SHADE};
use super::super::scale::Scale;
use crate::results::{FAULT_INTERVAL_NS, FaultInterval, FaultRun};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = HEIGHT - 36.0;
/// More points than this make a large file and show no more.
const MOST_POINTS: usize = 300;
/// What comes at once after a fault would make all else flat: higher rates than this many times the
/// offered one are drawn at the edge, and their peak is written.
const MOST_TIMES: f64 = 4.0;

/// From the palette of the transports. The lines differ in lightness and in width, because they lie on
/// each other while all is well.
const CONFIRMED: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const RECEIVED: RGBColor = RGBColor(0x12, 0x5a, 0x8a);
const SENT: RGBColor = RGBColor(0xbf, 0xca, 0xd4);

struct Line {
    name: &'static str,
    colour: RGBColor,
    width: f64,
    count: fn(&FaultInterval) -> u64,
}

const LINES: [Line; 3] = [
    Line { name: "sent", colour: SENT, width: 8.0, count: |interval| interval.sent },
    Line { name: "confirmed", colour: CONFIRMED, width: 4.0, count: |interval| interval.confirmed },
    Line { name: "received", colour: RECEIVED, width: 1.5, count: |interval| interval.received },
];

/// The plot, SVG without a ground, and its alternative text; `None` if the run has no series.
pub(super) fn timeline(run: &FaultRun) -> Result<Option<(String, String)>> {
    if run.series.is_empty() {
        return Ok(None);
    }
    let together = run.series.len().div_ceil(MOST_POINTS).max(1);
    let seconds = FAULT_INTERVAL_NS as f64 / 1e9;
    let rates = |line: &Line| -> Vec<f64> {
        let chunk = |chunk: &[FaultInterval]| {
            number::total(chunk.iter().map(line.count)) as f64 / (chunk.len() as f64 * seconds)
        };
        run.series.chunks(together).map(chunk).collect()
    };
    let lines: Vec<(&Line, Vec<f64>)> = LINES
        .iter()
        .map(|line| (line, rates(line)))
        .filter(|(_, rates)| rates.iter().any(|rate| *rate > 0.0))
        .collect();
    let peak = lines.iter().flat_map(|(_, rates)| rates).fold(0.0_f64, |peak, rate| peak.max(*rate));
    let most = if run.rate_per_s > 0.0 { peak.min(MOST_TIMES * run.rate_per_s) } else { peak };
    let x = Scale::between((0.0, run.series.len() as f64 * seconds), (LEFT, RIGHT));
    let y = Scale::linear(most, (BOTTOM, TOP));

    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    for injected in &run.faults {
        let ends = [injected.began_ns, injected.healed_ns].map(|ns| x.at(ns as f64 / 1e9));
        canvas.rect((ends[0], TOP), (ends[1].max(ends[0] + 1.0), BOTTOM), SHADE);
    }
    for tick in y.ticks() {
        canvas.grid((LEFT, y.at(tick)), (RIGHT, y.at(tick)));
        canvas.text(number::short(tick), (LEFT - 8.0, y.at(tick)), NOTE.right());
    }
    for tick in x.ticks() {
        canvas.text(number::short(tick), (x.at(tick), BOTTOM + 12.0), NOTE.centre());
    }
    for (line, rates) in &lines {
        let step = seconds * together as f64;
        let place =
            |(index, rate): (usize, &f64)| -> Point { (x.at((index as f64 + 0.5) * step), y.at(*rate)) };
        canvas.line(rates.iter().enumerate().map(place).collect(), line.colour, line.width);
    }
    marks(&mut canvas, run, &x);
    legend(&mut canvas, &lines, (peak > most * 1.01).then_some(peak));
    canvas.text("seconds from the start", (f64::midpoint(LEFT, RIGHT), HEIGHT - 9.0), NOTE.centre());
    let alt = alt(run, peak);
    let svg = canvas.svg(&alt)?;
    Ok(Some((alt, svg)))
}

/// A line where a fault began, with its name, and one where it was over.
fn marks(canvas: &mut Canvas, run: &FaultRun, x: &Scale) {
    let mut free_from = [f64::MIN; 2];
    for injected in &run.faults {
        let at = |ns: u64| x.at(ns as f64 / 1e9);
        let (began, healed) = (at(injected.began_ns), at(injected.healed_ns));
        canvas.line(vec![(began, TOP - 6.0), (began, BOTTOM)], INK, 1.5);
        let name = NOTE.fit(&injected.fault, 150.0);
        let width = NOTE.width(&name);
        // Of two that are near each other, one is written higher.
        let row = usize::from(began - 4.0 < free_from[0]);
        let left = began.min(RIGHT - width);
        canvas.text(name, (left, TOP - 14.0 - 13.0 * row as f64), NOTE);
        free_from[row] = left + width;
        if healed > began + 1.0 {
            canvas.line(vec![(healed, TOP), (healed, BOTTOM)], INK, 0.75);
            if healed > free_from[0] + 4.0 && healed + NOTE.width("over") < RIGHT {
                canvas.text("over", (healed, TOP - 14.0), NOTE);
                free_from[0] = healed + NOTE.width("over");
            }
        }
    }
}

fn legend(canvas: &mut Canvas, lines: &[(&Line, Vec<f64>)], peak: Option<f64>) {
    let mut left = LEFT;
    for (line, _) in lines {
        canvas.line(vec![(left, 12.0), (left + 26.0, 12.0)], line.colour, line.width);
        canvas.text(line.name, (left + 32.0, 12.0), NOTE);
        left += 52.0 + NOTE.width(line.name);
    }
    let unit = match peak {
        Some(peak) => format!("messages/s; peak {}, cut off", number::short(peak)),
        None => "messages/s".to_owned(),
    };
    canvas.text(unit, (RIGHT, 12.0), NOTE.right());
}

fn alt(run: &FaultRun, peak: f64) -> String {
    let each = run.faults.iter().map(|injected| {
        let [began, healed] = [injected.began_ns, injected.healed_ns].map(|ns| number::time(ns as f64));
        format!("{} from {began} to {healed}", injected.fault)
    });
    let faults = each.collect::<Vec<_>>().join(", ");
    format!(
        "Messages a second of {}: {} offered, at most {} at once; {faults}",
        run.lab,
        number::short(run.rate_per_s),
        number::short(peak)
    )
}
