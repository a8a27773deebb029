//! The layout that bar plots share: one row a lab, under a header for each guarantee.

use super::super::canvas::{Canvas, HEAD, LABEL, NOTE, Point};
use super::super::model::{Comparison, short_name};
use super::super::palette;
use super::super::scale::Scale;
use crate::results::BenchmarkCase;

/// Room for the label of a tick, px.
const LABEL_WIDTH: f64 = 34.0;

/// The number of panels beside each other, for this many panels.
pub(super) fn columns(panels: usize) -> usize {
    panels.clamp(1, 3)
}

/// The positions of panels with these heights.
pub(super) struct Tops {
    /// The top of each, px.
    pub(super) tops: Vec<f64>,
    /// Below the last.
    pub(super) bottom: f64,
}

/// Places panels in rows that are as high as their tallest, with `gap` px below it.
pub(super) fn place_panels(heights: &[f64], gap: f64) -> Tops {
    let (mut tops, mut y) = (Vec::new(), 0.0);
    for row in heights.chunks(columns(heights.len())) {
        tops.extend(row.iter().map(|_| y));
        y += row.iter().copied().fold(0.0, f64::max) + gap;
    }
    Tops { tops, bottom: y }
}

/// Measures of the layout, px.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Top left corner.
    pub(super) origin: Point,
    /// From the left edge to where bars begin.
    pub(super) labels: f64,
    /// Height of a row.
    pub(super) row: f64,
    /// Height of a header with the space above it.
    pub(super) head: f64,
}

impl Layout {
    /// The height that a comparison needs, px, without its axis.
    pub(super) fn height(&self, comparison: &Comparison<'_>) -> f64 {
        comparison.by_guarantee().iter().map(|(_, cells)| self.head + self.row * cells.len() as f64).sum()
    }

    /// Draws headers and names, and returns each case with the middle of its row.
    pub(super) fn names<'a>(
        &self,
        canvas: &mut Canvas,
        comparison: &Comparison<'a>,
    ) -> Vec<(&'a BenchmarkCase, f64)> {
        let mut rows = Vec::new();
        let (left, mut y) = self.origin;
        for (guarantee, cells) in comparison.by_guarantee() {
            canvas.text(guarantee, (left, y + self.head - 12.0), HEAD);
            y += self.head;
            for cell in cells {
                let middle = y + self.row / 2.0;
                let colour = palette::transport(&cell.transport);
                canvas.rect((left, middle - 4.0), (left + 8.0, middle + 4.0), colour);
                let name = LABEL.fit(short_name(cell), self.labels - 22.0);
                canvas.text(name, (left + 14.0, middle), LABEL);
                rows.push((cell, middle));
                y += self.row;
            }
        }
        rows
    }

    /// Grid lines and their labels below, for a comparison; `label` names a value.
    pub(super) fn axis(
        &self,
        canvas: &mut Canvas,
        comparison: &Comparison<'_>,
        scale: &Scale,
        label: impl Fn(f64) -> String,
    ) {
        let (top, bottom) = (self.origin.1 + self.head - 2.0, self.origin.1 + self.height(comparison) + 4.0);
        let mut free = f64::MIN;
        for tick in scale.ticks() {
            let x = scale.at(tick);
            canvas.grid((x, top), (x, bottom));
            // A label that would touch the one before it is left out.
            if x >= free {
                canvas.text(label(tick), (x, bottom + 11.0), NOTE.centre());
                free = x + LABEL_WIDTH;
            }
        }
    }
}
