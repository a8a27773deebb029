//! The axes of a plan: how the labs' figures depend on a varied parameter.

use super::model::{Comparison, pattern_title};
use super::number;
use crate::results::{BenchmarkCase, LoadKind};

/// One figure against one axis, the others at their first value.
pub(super) struct Axis<'a> {
    pub(super) pattern: &'a str,
    /// `receivers`, `size`, or a knob's name.
    pub(super) name: String,
    /// Throughput at maximum load; p50 at a rate otherwise.
    pub(super) is_max: bool,
    /// `maximum load`, `1 000/s`.
    pub(super) load: String,
    /// The settings that are the same in all of it: `64 B, 1 sender`.
    pub(super) fixed: String,
    pub(super) lines: Vec<Line<'a>>,
}

/// A lab along the axis.
pub(super) struct Line<'a> {
    /// Its first case, which gives its name and colour.
    pub(super) cell: &'a BenchmarkCase,
    /// In the order of the axis.
    pub(super) spots: Vec<Spot>,
}

/// A figure at one value of the axis: messages a second, or ns.
pub(super) struct Spot {
    pub(super) value: u64,
    pub(super) median: f64,
    /// The interval of a throughput; the median, where there is none.
    pub(super) low: f64,
    pub(super) high: f64,
}

/// A setting in which cases differ.
#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Size,
    Senders,
    Receivers,
    Knob(String),
}

impl Kind {
    fn of(&self, cell: &BenchmarkCase) -> Option<u64> {
        match self {
            Self::Size => Some(cell.size),
            Self::Senders => Some(cell.senders as u64),
            Self::Receivers => Some(cell.receivers as u64),
            Self::Knob(name) => cell.set.get(name).map(|value| *value as u64),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Size => "size",
            Self::Senders => "senders",
            Self::Receivers => "receivers",
            Self::Knob(name) => name,
        }
    }
}

impl Axis<'_> {
    /// Every value that was measured, in order.
    pub(super) fn values(&self) -> Vec<u64> {
        let mut values: Vec<u64> =
            self.lines.iter().flat_map(|line| line.spots.iter().map(|spot| spot.value)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// A value at the axis.
    pub(super) fn value_text(&self, value: u64) -> String {
        if self.name == Kind::Size.name() { number::bytes(value) } else { number::count(value) }
    }

    /// The guarantees of its lines, in their order.
    pub(super) fn guarantees(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for line in &self.lines {
            if !names.contains(&line.cell.guarantee.as_str()) {
                names.push(&line.cell.guarantee);
            }
        }
        names
    }

    /// `Pipeline: throughput by receivers, maximum load, 64 B`.
    pub(super) fn title(&self) -> String {
        let figure = if self.is_max { "throughput" } else { "p50" };
        let (pattern, name) = (pattern_title(self.pattern), &self.name);
        format!("{pattern}: {figure} by {name}, {}, {}", self.load, self.fixed)
    }

    /// A stem for its file.
    pub(super) fn stem(&self) -> String {
        let load = self.load.replace(['\u{202f}', '/'], "");
        let text = format!("{}.by-{}.{load}", self.pattern, self.name);
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
        text.chars().map(plain).collect()
    }
}

/// Every axis that has more than one value, pattern by pattern, under each load.
pub(super) fn axes<'a>(comparisons: &[Comparison<'a>]) -> Vec<Axis<'a>> {
    let mut axes = Vec::new();
    let mut seen: Vec<(&str, String)> = Vec::new();
    for comparison in comparisons.iter().filter(|comparison| comparison.kind() != LoadKind::Drain) {
        let load = comparison.load_text();
        if seen.contains(&(comparison.pattern, load.clone())) {
            continue;
        }
        seen.push((comparison.pattern, load.clone()));
        let of_load = comparisons
            .iter()
            .filter(|other| other.pattern == comparison.pattern && other.load_text() == load);
        let cells: Vec<&'a BenchmarkCase> = of_load.flat_map(|other| other.cells.iter().copied()).collect();
        let knobs = cells.iter().flat_map(|cell| cell.set.keys()).map(|name| Kind::Knob(name.clone()));
        let mut kinds: Vec<Kind> = vec![Kind::Size, Kind::Senders, Kind::Receivers];
        for knob in knobs {
            if !kinds.contains(&knob) {
                kinds.push(knob);
            }
        }
        for kind in &kinds {
            axes.extend(axis(comparison, &cells, (kind, &kinds)));
        }
    }
    axes
}

/// Nothing where it has one value only.
fn axis<'a>(
    comparison: &Comparison<'a>,
    cells: &[&'a BenchmarkCase],
    (kind, kinds): (&Kind, &[Kind]),
) -> Option<Axis<'a>> {
    // All other axes have the first of their values, which the plan names first or is smallest.
    let others = || kinds.iter().filter(|other| *other != kind);
    let first = |other: &Kind| cells.iter().filter_map(|cell| other.of(cell)).min();
    let stays = |cell: &&&BenchmarkCase| {
        others().all(|other| other.of(cell).is_none_or(|value| Some(value) == first(other)))
    };
    let mut lines: Vec<Line<'a>> = Vec::new();
    for cell in cells.iter().filter(stays).copied() {
        let Some(spot) = kind.of(cell).and_then(|value| spot(cell, value)) else { continue };
        match lines.iter_mut().find(|line| line.cell.lab == cell.lab) {
            Some(line) => line.spots.push(spot),
            None => lines.push(Line { cell, spots: vec![spot] }),
        }
    }
    for line in &mut lines {
        line.spots.sort_by_key(|spot| spot.value);
    }
    let fixed: Vec<String> = others().filter_map(|other| Some(fixed(other, first(other)?))).collect();
    let axis = Axis {
        pattern: comparison.pattern,
        name: kind.name().to_owned(),
        is_max: comparison.is_max(),
        load: comparison.load_text(),
        fixed: fixed.join(", "),
        lines,
    };
    (axis.values().len() > 1).then_some(axis)
}

fn spot(cell: &BenchmarkCase, value: u64) -> Option<Spot> {
    let summary = cell.summary.as_ref()?;
    if cell.load.kind == LoadKind::Max {
        let speed = summary.throughput_per_s;
        return Some(Spot { value, median: speed.median, low: speed.low, high: speed.high });
    }
    let p50 = summary.response_ns.p50? as f64;
    Some(Spot { value, median: p50, low: p50, high: p50 })
}

fn fixed(kind: &Kind, value: u64) -> String {
    match kind {
        Kind::Size => number::bytes(value),
        Kind::Senders => number::plural(value as usize, "sender", "senders"),
        Kind::Receivers => number::plural(value as usize, "receiver", "receivers"),
        Kind::Knob(name) => format!("{name} = {value}"),
    }
}
