//! Plot of the sustainable rates: from the highest rate that passed to the lowest that
//! failed, one panel per pattern, on one scale.

use plotters::style::Color as _;

use super::super::canvas::{Canvas, HEAD, LABEL, NOTE};
use super::super::limits::Limit;
use super::super::model::{Comparison, pattern_title};
use super::super::scale::Scale;
use super::super::{number, palette};
use super::rows::{Layout, columns, place_panels};

const PANEL: f64 = 350.0;
const LABELS: f64 = 124.0;
const VALUES: f64 = 62.0;

pub(super) fn draw(limits: &[Limit<'_>]) -> Option<Canvas> {
    let mut panels: Vec<(Comparison<'_>, Vec<&Limit<'_>>)> = Vec::new();
    for limit in limits.iter().filter(|limit| limit.capacity.is_some()) {
        match panels.last_mut().filter(|(comparison, _)| comparison.pattern == limit.subject.pattern) {
            Some((comparison, own)) => {
                comparison.cells.push(limit.cell);
                own.push(limit);
            }
            None => {
                let comparison =
                    Comparison { pattern: &limit.subject.pattern, cells: vec![limit.cell], run: limit.run };
                panels.push((comparison, vec![limit]));
            }
        }
    }
    if panels.is_empty() {
        return None;
    }
    let layout = Layout { origin: (0.0, 0.0), labels: LABELS, row: 20.0, head: 28.0 };
    let heights: Vec<f64> = panels.iter().map(|(comparison, _)| layout.height(comparison)).collect();
    let tops = place_panels(&heights, 62.0);
    let all = || limits.iter().flat_map(ends);
    let mut canvas = Canvas::new(PANEL * columns(panels.len()) as f64 + 12.0, 0.0);
    for (index, (comparison, own)) in panels.iter().enumerate() {
        let x = 12.0 + (index % columns(panels.len())) as f64 * PANEL;
        let y = 8.0 + tops.tops[index];
        let layout = Layout { origin: (x, y + 18.0), ..layout };
        let right = x + PANEL - 24.0;
        let scale = Scale::log(all(), (x + LABELS, right - VALUES));
        canvas.text(pattern_title(comparison.pattern), (x, y + 10.0), HEAD);
        canvas.line(vec![(x, y + 22.0), (right, y + 22.0)], palette::MUTED, 1.0);
        layout.axis(&mut canvas, comparison, &scale, number::short);
        // Limits are in the order of guarantees already, as the rows are.
        for (limit, (_, middle)) in own.iter().zip(layout.names(&mut canvas, comparison)) {
            mark(&mut canvas, limit, middle, &scale, (x + LABELS, right));
        }
    }
    let mut y = 8.0 + tops.bottom;
    for note in [
        "messages/s offered, logarithmic scale",
        "line: sustained, confirmed by a longer run; bar: up to the lowest rate that failed",
        "≥: no rate that the generator could offer failed",
    ] {
        canvas.text(note, (12.0, y), NOTE);
        y += 15.0;
    }
    let widest = canvas.width.max(560.0);
    canvas.width = widest;
    canvas.height = y;
    Some(canvas)
}

fn ends(limit: &Limit<'_>) -> impl Iterator<Item = f64> + use<> {
    let capacity = limit.capacity;
    [
        capacity.and_then(|found| found.sustainable_per_s),
        capacity.and_then(|found| found.highest_pass_per_s),
        capacity.and_then(|found| found.lowest_fail_per_s),
    ]
    .into_iter()
    .flatten()
}

fn mark(canvas: &mut Canvas, limit: &Limit<'_>, y: f64, scale: &Scale, (left, right): (f64, f64)) {
    let Some(capacity) = limit.capacity else { return };
    let colour = palette::transport(&limit.cell.transport);
    let sustained = capacity.sustainable_per_s;
    let pass = capacity.highest_pass_per_s.or(sustained);
    let fail = capacity.lowest_fail_per_s;
    // A guide for the eye; on a logarithmic scale its length says nothing.
    if let Some(rate) = sustained {
        canvas.rect((left, y - 1.0), (scale.at(rate), y + 1.0), colour.mix(0.5));
    }
    // Between what passed and what failed the limit lies; a search within 5 % makes a thin bar.
    if let (Some(from), Some(to)) = (sustained.or(pass), fail) {
        canvas.rect(
            (scale.at(from) - 1.0, y - 5.0),
            (scale.at(to).max(scale.at(from) + 3.0), y + 5.0),
            colour.mix(0.55),
        );
    }
    if let Some(rate) = sustained {
        let x = scale.at(rate);
        canvas.line(vec![(x, y - 6.5), (x, y + 6.5)], palette::INK, 1.5);
        if fail.is_none() {
            canvas.line(vec![(x, y), (x + 9.0, y), (x + 5.0, y - 3.5)], palette::INK, 1.25);
            canvas.line(vec![(x + 9.0, y), (x + 5.0, y + 3.5)], palette::INK, 1.25);
        }
    }
    let text = match (sustained, fail) {
        (Some(rate), Some(_)) => number::short(rate),
        (Some(rate), None) => format!("≥\u{202f}{}", number::short(rate)),
        (None, Some(rate)) => format!("<\u{202f}{}", number::short(rate)),
        (None, None) => "–".to_owned(),
    };
    canvas.text(text, (right, y), LABEL.right());
}
