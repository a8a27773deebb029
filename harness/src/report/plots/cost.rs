//! Plot of CPU time per message, stacked by role.

use std::collections::BTreeSet;

use super::super::canvas::{Canvas, LABEL, NOTE};
use super::super::model::Comparison;
use super::super::scale::Scale;
use super::super::{number, palette};
use super::rows::Layout;
use crate::results::BenchmarkCase;

const WIDTH: f64 = 800.0;
const LABELS: f64 = 150.0;

pub(super) fn draw(comparison: &Comparison<'_>) -> Option<Canvas> {
    let roles = kinds(comparison);
    if roles.is_empty() {
        return None;
    }
    let layout = Layout { origin: (12.0, 24.0), labels: LABELS, row: 26.0, head: 32.0 };
    let bottom = layout.origin.1 + layout.height(comparison);
    let mut canvas = Canvas::new(WIDTH, bottom + 46.0);
    let pixels = (12.0 + LABELS, WIDTH - 100.0);
    let scale = Scale::linear(comparison.cells.iter().map(|cell| total(cell)).fold(0.0, f64::max), pixels);
    layout.axis(&mut canvas, comparison, &scale, number::tick_time);
    canvas.text("CPU time per message", (f64::midpoint(pixels.0, pixels.1), bottom + 34.0), NOTE.centre());

    let mut x = pixels.0;
    for (index, role) in roles.iter().enumerate() {
        canvas.rect((x, 9.0), (x + 11.0, 20.0), palette::role(index, role));
        canvas.text(role.clone(), (x + 16.0, 14.5), NOTE);
        x += 34.0 + NOTE.width(role);
    }
    for (cell, y) in layout.names(&mut canvas, comparison) {
        let Some(summary) = &cell.summary else {
            canvas.text("failed", (pixels.0 + 6.0, y), NOTE);
            continue;
        };
        let mut sum = 0.0;
        for (index, role) in roles.iter().enumerate() {
            let Some(cost) = summary.cost.get(role) else { continue };
            let from = scale.at(sum);
            sum += cost.cpu_ns_per_msg;
            canvas.rect((from, y - 8.0), (scale.at(sum), y + 8.0), palette::role(index, role));
        }
        canvas.text(number::time(sum), (scale.at(sum) + 8.0, y), LABEL);
    }
    Some(canvas)
}

/// Every role of the comparison; the broker last.
fn kinds(comparison: &Comparison<'_>) -> Vec<String> {
    let summaries = comparison.cells.iter().filter_map(|cell| cell.summary.as_ref());
    let names: BTreeSet<(bool, String)> = summaries
        .flat_map(|summary| summary.cost.keys())
        .map(|role| (role == "broker", role.clone()))
        .collect();
    let mut names: Vec<String> = names.into_iter().map(|(_, role)| role).collect();
    // The sending side comes first.
    let order = ["sender", "requester", "publisher", "ventilator", "producer", "worker"];
    names.sort_by_key(|role| match order.iter().position(|known| known == role) {
        Some(index) => index,
        None if role == "broker" => usize::MAX,
        None => order.len(),
    });
    names
}

fn total(cell: &BenchmarkCase) -> f64 {
    cell.summary.iter().flat_map(|summary| summary.cost.values()).map(|cost| cost.cpu_ns_per_msg).sum()
}
