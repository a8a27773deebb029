//! The scorecard as a picture: a colour and a sign in each cell.

use anyhow::Result;
use plotters::style::{Color as _, RGBAColor, RGBColor};

use super::super::canvas::{Canvas, HEAD, LABEL, NOTE};
use super::super::palette::{self, MUTED, SHADE, TRUTH, WRONG};
use super::grid::{Cell, Grid};
use crate::results::Verdict;

const LEFT: f64 = 190.0;
const COLUMN: f64 = 74.0;
const ROW: f64 = 22.0;
const HEADING: f64 = 48.0;
const GROUP: f64 = 30.0;
const LEGEND: f64 = 34.0;
/// Free around the colour of a cell.
const GAP: f64 = 1.5;

/// The sign of a verdict, which also says it without colours.
pub(super) const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Kept => "✓",
        Verdict::Broke => "✗",
        Verdict::CannotTell => "?",
        Verdict::NotPromised => "○",
        Verdict::DoesNotApply => "·",
    }
}

/// Blue and vermilion of the palette of the transports, which differ for readers with any common
/// colour vision, also in lightness. Pale, so that the sign is read on a light and a dark ground.
fn colour(verdict: Verdict) -> Option<RGBAColor> {
    const AMBER: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
    match verdict {
        Verdict::Kept => Some(TRUTH.mix(0.4)),
        Verdict::Broke => Some(WRONG.mix(0.8)),
        Verdict::CannotTell => Some(AMBER.mix(0.3)),
        Verdict::NotPromised => Some(SHADE.mix(1.0)),
        Verdict::DoesNotApply => None,
    }
}

/// The picture, SVG without a ground, and its alternative text.
pub(super) fn picture(grid: &Grid<'_>) -> Result<(String, String)> {
    let rows: usize = grid.groups.iter().map(|group| group.rows.len()).sum();
    let height = HEADING + GROUP * grid.groups.len() as f64 + ROW * rows as f64 + LEGEND;
    let width = (LEFT + COLUMN * grid.faults.len() as f64 + 10.0).max(620.0);
    let mut canvas = Canvas::new(width, height);
    for (index, fault) in grid.faults.iter().enumerate() {
        let middle = LEFT + COLUMN * (index as f64 + 0.5);
        let (who, what) = fault.split_once('-').unwrap_or((fault, ""));
        canvas.text(LABEL.fit(who, COLUMN - 4.0), (middle, 14.0), LABEL.centre());
        canvas.text(LABEL.fit(what, COLUMN - 4.0), (middle, 29.0), LABEL.centre());
    }
    let mut y = HEADING;
    for group in &grid.groups {
        canvas.text(group.guarantee, (8.0, y + GROUP - 12.0), HEAD);
        canvas.line(vec![(8.0, y + GROUP - 2.0), (width - 10.0, y + GROUP - 2.0)], MUTED, 1.0);
        y += GROUP;
        for row in &group.rows {
            canvas.text(LABEL.fit(row.lab, LEFT - 16.0), (8.0, y + ROW / 2.0), LABEL);
            for (index, cell) in row.cells.iter().enumerate() {
                if let Some(cell) = cell {
                    draw(&mut canvas, cell, (LEFT + COLUMN * index as f64, y));
                }
            }
            y += ROW;
        }
    }
    let mut x = 8.0;
    for verdict in Verdict::ALL {
        let at = (x, y + 10.0);
        ground(&mut canvas, verdict, at, 22.0);
        canvas.text(sign(verdict), (at.0 + 11.0, at.1 + ROW / 2.0), LABEL.centre());
        canvas.text(verdict.as_str(), (x + 28.0, at.1 + ROW / 2.0), NOTE);
        x += 46.0 + NOTE.width(verdict.as_str());
    }
    let alt = alt(grid);
    let svg = canvas.svg(&alt)?;
    Ok((alt, svg))
}

fn draw(canvas: &mut Canvas, cell: &Cell<'_>, (x, y): (f64, f64)) {
    ground(canvas, cell.verdict, (x, y), COLUMN);
    let middle = y + ROW / 2.0;
    if cell.runs == 1 {
        canvas.text(sign(cell.verdict), (x + COLUMN / 2.0, middle), LABEL.centre());
    } else {
        let share = format!("{}/{}", cell.agree, cell.runs);
        canvas.text(sign(cell.verdict), (x + 16.0, middle), LABEL.centre());
        canvas.text(share, (x + COLUMN - 8.0, middle), LABEL.right());
    }
}

fn ground(canvas: &mut Canvas, verdict: Verdict, (x, y): (f64, f64), width: f64) {
    if let Some(colour) = colour(verdict) {
        canvas.rect((x + GAP, y + GAP), (x + width - GAP, y + ROW - GAP), colour);
    }
}

fn alt(grid: &Grid<'_>) -> String {
    let cells = || grid.groups.iter().flat_map(|group| &group.rows).flat_map(|row| &row.cells).flatten();
    let counts = Verdict::ALL.map(|verdict| {
        let count = cells().filter(|cell| cell.verdict == verdict).count();
        format!("{count} {verdict}")
    });
    format!("Labs and faults: {}. The table says the same in words.", counts.join(", "))
}

/// The classes of cells in the page, in the same colours.
pub(super) fn style() -> String {
    let rules = Verdict::ALL.map(|verdict| {
        let ground = colour(verdict).map_or("none".to_owned(), |RGBAColor(r, g, b, alpha)| {
            format!("{}{:02x}", palette::hex(RGBColor(r, g, b)), (alpha * 255.0).round() as u8)
        });
        match verdict {
            // A grey of the page, which a dark page replaces.
            Verdict::NotPromised => format!(".{}{{background:var(--shade)}}", class(verdict)),
            _ => format!(".{}{{background:{ground}}}", class(verdict)),
        }
    });
    rules.concat()
}

/// The class of a verdict's cell.
pub(super) const fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Kept => "kept",
        Verdict::Broke => "broke",
        Verdict::CannotTell => "cannot-tell",
        Verdict::NotPromised => "not-promised",
        Verdict::DoesNotApply => "does-not-apply",
    }
}
