//! Plot of a pipeline's hops: their median times, stacked.

use super::super::canvas::{Canvas, LABEL, NOTE};
use super::super::model::Comparison;
use super::super::scale::Scale;
use super::super::{number, palette};
use super::rows::Layout;
use crate::results::BenchmarkCase;

const WIDTH: f64 = 800.0;
const LABELS: f64 = 150.0;
/// Room to the right of the bars: the sum, and what each worker did.
const RIGHT: f64 = 190.0;

pub(super) fn draw(comparison: &Comparison<'_>) -> Option<Canvas> {
    let most =
        comparison.cells.iter().map(|cell| medians(cell).iter().map(|hop| hop.1).sum()).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let layout = Layout { origin: (12.0, 24.0), labels: LABELS, row: 26.0, head: 32.0 };
    let bottom = layout.origin.1 + layout.height(comparison);
    let mut canvas = Canvas::new(WIDTH, bottom + 46.0);
    let pixels = (12.0 + LABELS, WIDTH - RIGHT);
    let scale = Scale::linear(most, pixels);
    layout.axis(&mut canvas, comparison, &scale, number::tick_time);
    canvas.text("median of each hop", (f64::midpoint(pixels.0, pixels.1), bottom + 34.0), NOTE.centre());

    let names =
        comparison.cells.iter().map(|cell| medians(cell)).find(|hops| !hops.is_empty()).unwrap_or_default();
    let mut x = pixels.0;
    for (index, (name, _)) in names.iter().enumerate() {
        canvas.rect((x, 9.0), (x + 11.0, 20.0), palette::hop(index));
        canvas.text(*name, (x + 16.0, 14.5), NOTE);
        x += 34.0 + NOTE.width(name);
    }
    for (cell, y) in layout.names(&mut canvas, comparison) {
        let hops = medians(cell);
        if hops.is_empty() {
            let why = if cell.summary.is_some() { "too few samples" } else { "failed" };
            canvas.text(why, (pixels.0 + 6.0, y), NOTE);
            continue;
        }
        let mut sum = 0.0;
        for (index, (_, median)) in hops.iter().enumerate() {
            let from = scale.at(sum);
            sum += median;
            canvas.rect((from, y - 8.0), (scale.at(sum), y + 8.0), palette::hop(index));
        }
        let text = number::time(sum);
        let x = scale.at(sum) + 8.0;
        canvas.text(text.clone(), (x, y), LABEL);
        if let Some(shares) = shares(cell) {
            canvas.text(shares, (x + LABEL.width(&text) + 8.0, y), NOTE);
        }
    }
    Some(canvas)
}

/// Each hop with its median, ns; none where a median is withheld.
fn medians(cell: &BenchmarkCase) -> Vec<(&'static str, f64)> {
    let Some(hops) = cell.summary.as_ref().and_then(|summary| summary.hops_ns) else { return Vec::new() };
    let shown = hops.named().map(|(name, times)| Some((name, times.p50? as f64)));
    shown.into_iter().collect::<Option<_>>().unwrap_or_default()
}

/// The tasks of the least and the most busy worker, if there are several.
fn shares(cell: &BenchmarkCase) -> Option<String> {
    let shares = &cell.summary.as_ref()?.shares;
    let total = number::total(shares.iter().copied());
    let (least, most) = (shares.iter().min()?, shares.iter().max()?);
    let share = |part: u64| number::share(part as f64 / total as f64);
    (shares.len() > 1 && total > 0).then(|| match (share(*least), share(*most)) {
        (least, most) if least == most => format!("workers: {least} each"),
        (least, most) => format!("workers: {least} – {most}"),
    })
}
