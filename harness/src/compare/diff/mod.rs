//! `lab diff`: two result sets side by side, also of two machines or plans. What both have is
//! compared by a ratio with its interval, and by the ratio of the shares of the baseline, which takes
//! the machine out in part. Where the interval includes 1, or a figure is not to be believed, it says
//! that it cannot tell.

mod figure;
mod markdown;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

pub use figure::Figure;
pub use markdown::{markdown, ratio};

use super::history::host_name;
use super::reproducibility::verify;
use crate::report::{cases, setting};
use crate::results::{BenchmarkCase, Estimate, Flag, Plan, ResultSet, Run};
use crate::stats;

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
        match ratio {
            Some(ratio) if ratio.low > 1.0 => {
                if more_is_better {
                    Self::Better
                } else {
                    Self::Worse
                }
            }
            Some(ratio) if ratio.high < 1.0 => {
                if more_is_better {
                    Self::Worse
                } else {
                    Self::Better
                }
            }
            _ => Self::CannotTell,
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
    /// The median over the trials of each; messages a second, or ns.
    pub values: [f64; 2],
    /// Second by first, with its 95 % interval.
    pub ratio: Option<Estimate>,
    /// What that says.
    pub verdict: Verdict,
    /// The same ratio of the shares of the baseline, where both were measured beside one.
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
    /// The figures that both have.
    pub compared: Vec<Compared>,
    /// Cases that only one has: of the first, of the second.
    pub only: [Vec<String>; 2],
}

impl Diff {
    /// How many figures have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.compared.iter().filter(|one| one.verdict == verdict).count()
    }
}

/// Reads a result set, and checks that what it says follows from its raw data.
///
/// # Errors
/// When `run.json` or a recording is missing or damaged, or a figure does not follow; it is named.
pub fn read(dir: &Path) -> Result<Run> {
    let (result_set, run) = ResultSet::open(dir)?;
    verify(&result_set, &run)?;
    Ok(run)
}

/// Compares two runs.
pub fn diff(a: &Run, b: &Run) -> Result<Diff> {
    let mut compared = Vec::new();
    let mut matched = BTreeSet::new();
    let of = |run: &Run| run.cells.iter().filter(|cell| cell.is_answer()).cloned().collect::<Vec<_>>();
    let (ours, theirs) = (of(a), of(b));
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
    Ok(Diff {
        sides: [side(a), side(b)],
        differs: differs(a, b)?,
        intervals: intervals(a, b),
        compared,
        only,
    })
}

fn side(run: &Run) -> Side {
    let revision = run.versions.git.as_ref().map(|git| format!(" ({git})")).unwrap_or_default();
    Side {
        name: run.name.clone(),
        created: run.created.clone(),
        host: host_name(&run.host),
        version: format!("{}{revision}", run.versions.lab),
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
fn compare(runs: [&Run; 2], cells: [&BenchmarkCase; 2], figure: Figure) -> Option<Compared> {
    let [first, second] = cells;
    let values = [figure.value(first)?, figure.value(second)?];
    let factor = factor(runs);
    let widened = |ratio: Estimate| stats::widen(ratio, factor);
    let [a, b] = cells.map(|cell| figure.trials(cell));
    let several = a.len() > 1 && b.len() > 1;
    let ratio = several.then(|| stats::ratio(&b, &a, runs[0].seed)).flatten().map(widened);
    let baselines = figure.has_baseline().then(|| [0, 1].map(|at| baseline(runs[at], cells[at], figure)));
    let of_baseline = match baselines {
        Some([Some(of_a), Some(of_b)]) if several && of_a.len() > 1 && of_b.len() > 1 => {
            stats::ratio_of_ratios([&b, &of_b], [&a, &of_a], runs[0].seed).map(widened)
        }
        _ => None,
    };
    let mut notes = Vec::new();
    let unbelievable = unbelievable(cells, figure);
    let cannot = if first.guarantee != second.guarantee {
        Some(format!("it promises {} and {}", first.guarantee, second.guarantee))
    } else if !several {
        Some("of one trial there is no interval".to_owned())
    } else {
        unbelievable
    };
    let verdict = |ratio: Option<&Estimate>| match cannot {
        Some(_) => Verdict::CannotTell,
        None => Verdict::of(ratio, figure.more_is_better()),
    };
    let (verdict, baseline_verdict) =
        (verdict(ratio.as_ref()), of_baseline.as_ref().map(|ratio| verdict(Some(ratio))));
    notes.extend(cannot);
    notes.extend(knobs(cells));
    Some(Compared {
        lab: first.lab.clone(),
        setting: setting(first),
        load: first.load.label(),
        figure,
        values,
        ratio,
        verdict,
        of_baseline,
        baseline_verdict,
        notes,
    })
}

/// The trials of the baseline beneath a case.
fn baseline(run: &Run, cell: &BenchmarkCase, figure: Figure) -> Option<Vec<f64>> {
    let baseline = run.cells.iter().find(|baseline| Some(&baseline.id) == cell.floor.as_ref())?;
    Some(figure.trials(baseline))
}

/// Why a figure of one of the two is not to be compared at all.
fn unbelievable(cells: [&BenchmarkCase; 2], figure: Figure) -> Option<String> {
    let flags = cells.into_iter().flat_map(cases::flags);
    let spoils = |flag: &Flag| match flag {
        Flag::NegativeLatency | Flag::GeneratorLimited | Flag::UncertainClock => {
            matches!(figure, Figure::P50 | Figure::P99)
        }
        Flag::HarnessCpu => figure == Figure::Throughput,
        Flag::BrokenPromise => true,
        _ => false,
    };
    let found = flags.filter(spoils).min()?;
    Some(format!("one of the two is flagged {}", found.as_str()))
}

/// Knobs that differ: the lab was not set in the same way.
fn knobs([first, second]: [&BenchmarkCase; 2]) -> Option<String> {
    let names: BTreeSet<&String> = first.knobs.keys().chain(second.knobs.keys()).collect();
    let value = |cell: &BenchmarkCase, name: &str| {
        cell.knobs.get(name).map_or_else(|| "not set".to_owned(), usize::to_string)
    };
    let differ: Vec<String> = names
        .into_iter()
        .filter(|name| first.knobs.get(*name) != second.knobs.get(*name))
        .map(|name| format!("{name} is {} and {}", value(first, name), value(second, name)))
        .collect();
    (!differ.is_empty()).then(|| differ.join(", "))
}

/// The wider of the factors of both runs; 1 where neither has one.
fn factor(runs: [&Run; 2]) -> f64 {
    runs.iter().filter_map(|run| run.widening.as_ref()).map(|widening| widening.factor).fold(1.0, f64::max)
}

fn intervals(a: &Run, b: &Run) -> String {
    match factor([a, b]) {
        factor if factor > 1.0 => format!(
            "A and B are medians over the trials. Intervals (95\u{202f}%, over the trials of both) are widened by \
             {factor}, for how much runs of one plan on one machine were seen to differ."
        ),
        _ => format!(
            "A and B are medians over the trials. Intervals (95\u{202f}%) show how the trials of each run differ, and not how runs of one machine \
             differ from each other: `{}` measures that.",
            crate::hint::command(&["agree", "DIR", "DIR", "--save"])
        ),
    }
}

/// Machine, program and plan, where they differ.
fn differs(a: &Run, b: &Run) -> Result<Vec<String>> {
    let mut differs = Vec::new();
    let mut add = |what: &str, of_a: &str, of_b: &str| {
        if of_a != of_b {
            differs.push(format!("{what}: {of_a} and {of_b}"));
        }
    };
    add("machine", &host_name(&a.host), &host_name(&b.host));
    add("kernel", &a.host.kernel, &b.host.kernel);
    add("lab", &side(a).version, &side(b).version);
    add("compiler", &a.versions.rustc, &b.versions.rustc);
    add("built as", &a.versions.profile, &b.versions.profile);
    let names: BTreeSet<&String> = a.versions.brokers.keys().chain(b.versions.brokers.keys()).collect();
    for name in names {
        // A broker that only one run needed is no difference.
        if let (Some(of_a), Some(of_b)) = (a.versions.brokers.get(name), b.versions.brokers.get(name)) {
            add(name, of_a, of_b);
        }
    }
    for (name, of_a, of_b) in plan_differences(&a.plan, &b.plan)? {
        add(&format!("plan, {name}"), &of_a, &of_b);
    }
    Ok(differs)
}

/// The fields of a plan that change how a case is measured, with both values.
fn plan_differences(a: &Plan, b: &Plan) -> Result<Vec<(String, String, String)>> {
    const CASES: [&str; 8] = ["name", "labs", "sizes", "loads", "senders", "receivers", "axes", "floor"];
    let (of_a, of_b) = (serde_json::to_value(a)?, serde_json::to_value(b)?);
    let differing = a.differences(b)?.into_iter().filter(|name| !CASES.contains(&name.as_str()));
    Ok(differing.map(|name| (name.clone(), of_a[&name].to_string(), of_b[&name].to_string())).collect())
}
