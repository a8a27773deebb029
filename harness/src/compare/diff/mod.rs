//! `lab diff`: two result sets side by side, also of two machines or plans. What both have is
//! compared by a ratio with its interval, and by the ratio of the shares of the baseline, which takes
//! the machine out in part. Where the interval includes 1, or a figure is not to be believed, it says
//! that it cannot tell.

mod differs;
mod markdown;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::history::host_name;
use super::reproducibility::verify;
use crate::report::cases;
pub use crate::report::cases::Figure;
use crate::report::{Figures, number, setting};
use crate::results::{BenchmarkCase, Estimate, ResultSet, Run};
use crate::stats::{self, Resampled};
use differs::{differs, intervals};
pub use markdown::{markdown, ratio};

/// One of the two result sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The machine: its name, number of CPUs and CPU.
    pub host: String,
    /// The version of `lab` and the source revision.
    pub version: String,
}

/// What one figure says of the second result set beside the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// More messages a second, less time, or less CPU time.
    Better,
    /// The opposite.
    Worse,
    /// The interval includes 1, or there is none that can be believed.
    CannotTell,
}

impl Verdict {
    /// The words used in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::CannotTell => "cannot tell",
        }
    }

    /// From the interval of a ratio, second by first.
    fn of(ratio: Option<&Estimate>, more_is_better: bool) -> Self {
        match ratio.and_then(cases::apart) {
            Some(order) if order.is_gt() == more_is_better => Self::Better,
            Some(_) => Self::Worse,
            None => Self::CannotTell,
        }
    }
}

/// One figure of one case that both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The lab.
    pub lab: String,
    /// Size, senders and receivers, varied knobs: `64 B, 1 → 1`.
    pub setting: String,
    /// `max`, `1000/s`.
    pub load: String,
    /// Which figure.
    pub figure: Figure,
    /// What the reports of both say: messages a second, or ns.
    pub values: [f64; 2],
    /// Second by first, with its 95 % interval.
    pub ratio: Option<Estimate>,
    /// What that says.
    pub verdict: Verdict,
    /// Each by its own baseline, where both were measured beside one: raw sockets on the same machine.
    pub by_baseline: Option<[f64; 2]>,
    /// Second by first of these.
    pub of_baseline: Option<Estimate>,
    /// What that says.
    pub baseline_verdict: Option<Verdict>,
    /// Why it cannot tell, and what differs between the two.
    pub notes: Vec<String>,
}

/// Two result sets side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The two.
    pub sides: [Side; 2],
    /// What differs between them beside the figures: machine, program, plan.
    pub differs: Vec<String>,
    /// How the intervals were widened, or that they were not.
    pub intervals: String,
    /// In how many figures the second is better.
    pub better: usize,
    /// In how many it is worse.
    pub worse: usize,
    /// Of how many nobody can tell.
    pub cannot_tell: usize,
    /// The figures that both have.
    pub compared: Vec<Compared>,
    /// Cases that only one has: of the first, of the second.
    pub only: [Vec<String>; 2],
}

impl Diff {
    /// `65 figures in both: B is better in 3, worse in 2, cannot tell in 60.`
    pub fn sentence(&self) -> String {
        if self.compared.is_empty() {
            return "They have no figure in common.".to_owned();
        }
        format!(
            "{} in both: B is better in {}, worse in {}, cannot tell in {}.",
            number::plural(self.compared.len(), "figure", "figures"),
            self.better,
            self.worse,
            self.cannot_tell
        )
    }
}

/// A result set that was read, with its figures ready to be compared.
pub struct Measured {
    /// What it says.
    pub run: Run,
    figures: Figures,
}

/// Reads a result set, and checks that what it says follows from its raw data. `side` is 0 or 1: two
/// runs of one plan may have one seed, and their resamples must not be the same.
///
/// # Errors
/// When `run.json` or a recording is missing or damaged, or a figure does not follow; it is named.
pub fn read(dir: &Path, side: u64) -> Result<Measured> {
    let (result_set, run) = ResultSet::open(dir)?;
    verify(&result_set, &run)?;
    let figures = Figures::read(&result_set, &run, run.seed.wrapping_add(side << 32))?;
    Ok(Measured { run, figures })
}

/// Compares two runs.
pub fn diff(a: &Measured, b: &Measured) -> Result<Diff> {
    let mut compared = Vec::new();
    let mut matched = BTreeSet::new();
    let of = |run: &'_ Run| run.cells.iter().filter(|cell| cell.is_answer()).cloned().collect::<Vec<_>>();
    let (ours, theirs) = (of(&a.run), of(&b.run));
    let mut only = [Vec::new(), Vec::new()];
    for cell in &ours {
        let Some(same) = theirs.iter().find(|other| key(other) == key(cell)) else {
            only[0].push(title(cell));
            continue;
        };
        matched.insert(same.id.as_str());
        for figure in Figure::ALL {
            compared.extend(compare([a, b], [cell, same], figure));
        }
    }
    only[1].extend(theirs.iter().filter(|cell| !matched.contains(cell.id.as_str())).map(title));
    let count = |verdict| compared.iter().filter(|one: &&Compared| one.verdict == verdict).count();
    Ok(Diff {
        sides: [side(&a.run), side(&b.run)],
        differs: differs(&a.run, &b.run)?,
        intervals: intervals(&a.run, &b.run),
        better: count(Verdict::Better),
        worse: count(Verdict::Worse),
        cannot_tell: count(Verdict::CannotTell),
        compared,
        only,
    })
}

fn side(run: &Run) -> Side {
    Side {
        name: run.name.clone(),
        created: run.created.clone(),
        host: host_name(&run.host),
        version: run.versions.program(),
    }
}

/// What makes two cases the same.
fn key(cell: &BenchmarkCase) -> impl PartialEq + '_ {
    (&cell.lab, cell.size, cell.senders, cell.receivers, &cell.set, cell.load.label())
}

fn title(cell: &BenchmarkCase) -> String {
    format!("{}, {}, {}", cell.lab, setting(cell), cell.load.label())
}

/// One figure of a case; nothing where one of the two does not have it.
fn compare(sets: [&Measured; 2], cells: [&BenchmarkCase; 2], figure: Figure) -> Option<Compared> {
    let [first, second] = cells;
    let [Some(a), Some(b)] = [0, 1].map(|at| sets[at].figures.get(cells[at], figure)) else { return None };
    let factor = factor(sets);
    let by = |more: &Resampled, less: &Resampled| Some(stats::widen(more.ratio(less)?, factor));
    let several = cells.iter().all(|cell| cell.good_trials() > 1);
    let shares = figure.has_baseline().then(|| [0, 1].map(|at| baseline(sets[at], cells[at], figure)));
    let shares = match shares {
        Some([Some(of_a), Some(of_b)]) => a.over(of_a).zip(b.over(of_b)),
        _ => None,
    };
    let cannot = if first.guarantee != second.guarantee {
        Some(format!("A promises {}, B {}", first.guarantee, second.guarantee))
    } else if !several {
        Some("of one trial there is no interval".to_owned())
    } else {
        figure.spoilt_by(cells).map(|flag| format!("one of the two is flagged {}", flag.as_str()))
    };
    let verdict = |ratio: Option<&Estimate>| match cannot {
        Some(_) => Verdict::CannotTell,
        None => Verdict::of(ratio, figure.more_is_better()),
    };
    let ratio = several.then(|| by(b, a)).flatten();
    let of_baseline = shares.as_ref().filter(|_| several).and_then(|(a, b)| by(b, a));
    let (verdict, baseline_verdict) =
        (verdict(ratio.as_ref()), of_baseline.as_ref().map(|ratio| verdict(Some(ratio))));
    Some(Compared {
        lab: first.lab.clone(),
        setting: setting(first),
        load: number::load(&first.load),
        figure,
        values: [a.value(), b.value()],
        ratio,
        verdict,
        by_baseline: shares.map(|(a, b)| [a.value(), b.value()]),
        of_baseline,
        baseline_verdict,
        notes: cannot.into_iter().chain(knobs(cells)).collect(),
    })
}

/// The baseline beneath a case, where it has several trials.
fn baseline<'a>(set: &'a Measured, cell: &BenchmarkCase, figure: Figure) -> Option<&'a Resampled> {
    let baseline = set.run.cells.iter().find(|baseline| Some(&baseline.id) == cell.floor.as_ref())?;
    set.figures.get(baseline, figure).filter(|_| baseline.good_trials() > 1)
}

/// Knobs that differ: the lab was not set in the same way.
fn knobs([first, second]: [&BenchmarkCase; 2]) -> Option<String> {
    let names: BTreeSet<&String> = first.knobs.keys().chain(second.knobs.keys()).collect();
    let value = |cell: &BenchmarkCase, name: &str| {
        cell.knobs.get(name).map_or_else(|| "not known".to_owned(), usize::to_string)
    };
    let differ: Vec<String> = names
        .into_iter()
        .filter(|name| first.knobs.get(*name) != second.knobs.get(*name))
        .map(|name| format!("{name}: A {}, B {}", value(first, name), value(second, name)))
        .collect();
    (!differ.is_empty()).then(|| differ.join(", "))
}

/// The wider of the factors of both runs; 1 where neither has one.
fn factor(sets: [&Measured; 2]) -> f64 {
    let widened = sets.iter().filter_map(|set| set.run.widening.as_ref());
    widened.map(|widening| widening.factor).fold(1.0, f64::max)
}
