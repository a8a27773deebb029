//! `lab agree`: do two runs of the same plan on the same machine agree? Counts how often
//! the intervals of a figure overlap, shows where they do not, and computes how much
//! wider they would have to be. [`save`] keeps this factor for the host, and later
//! measurements widen their intervals by it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::compare::history::host_name;
use crate::measure::host;
use crate::results::{
    self, BenchmarkCase, Estimate, Host, LoadKind, MOST_RECORD, Plan, Raw, ResultSet, Run, Summary, Widening,
};
use crate::stats::{self, FEWEST_PAIRS, LEAST, Pair, Share};

/// A figure of a case that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Figure {
    /// Messages a second at full speed.
    Throughput,
    /// Median response time at a rate, ns.
    P50,
    /// Its 99th percentile, ns.
    P99,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Throughput, Self::P50, Self::P99];

    /// As people read it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Throughput => "throughput at max",
            Self::P50 => "p50 at a rate",
            Self::P99 => "p99 at a rate",
        }
    }

    fn of(self, cell: &BenchmarkCase, summary: &Summary) -> Option<Estimate> {
        match (self, cell.load.kind) {
            (Self::Throughput, LoadKind::Max) => Some(summary.throughput_per_s),
            (Self::P50, LoadKind::Rate) => summary.response_p50_ns,
            (Self::P99, LoadKind::Rate) => summary.response_p99_ns,
            _ => None,
        }
    }
}

/// A result set, with the intervals from its own trials.
pub struct Measured {
    name: String,
    created: String,
    host: String,
    plan: Plan,
    /// The source revision that was measured.
    pub revision: Option<String>,
    cells: BTreeMap<String, Known>,
}

struct Known {
    guarantee: String,
    figures: Vec<(Figure, Estimate)>,
}

/// Fails unless what a result set says follows from its raw data.
///
/// # Errors
/// When a figure does not, or a recording is missing or damaged; the result set is named.
pub fn verify(result_set: &ResultSet, run: &Run) -> Result<()> {
    stats::verify(run, |cell, trial| result_set.raw(&cell.id, trial.index)).with_context(|| {
        format!(
            "the result set {} is refused: what it says does not follow from its raw data; copy it back from \
             where it came from, or measure again",
            result_set.dir().display()
        )
    })
}

/// Reads a result set. Its intervals are computed again from its recordings: those in
/// `run.json` may have been widened already.
///
/// # Errors
/// When `run.json` or the recording of a good trial is missing or damaged; it is named.
pub fn read(dir: &Path) -> Result<Measured> {
    let (result_set, run) = ResultSet::open(dir)?;
    verify(&result_set, &run)?;
    let mut cells = BTreeMap::new();
    // Searches differ in their trials and rates, so their cases are not compared.
    for cell in run.cells.iter().filter(|cell| cell.part_of.is_none()) {
        let raw =
            |index, failed: bool| if failed { Ok(Raw::default()) } else { result_set.raw(&cell.id, index) };
        let raws: Vec<Raw> = cell
            .trials
            .iter()
            .map(|trial| raw(trial.index, trial.failed.is_some()))
            .collect::<Result<_>>()
            .context("the intervals are computed from the recordings; copy them back beside run.json")?;
        let Some(summary) = stats::summarize(cell, &raws, run.seed)? else { continue };
        let figure = |figure: Figure| Some((figure, figure.of(cell, &summary)?));
        let figures = Figure::ALL.into_iter().filter_map(figure).collect();
        cells.insert(cell.id.clone(), Known { guarantee: cell.guarantee.clone(), figures });
    }
    Ok(Measured {
        name: run.name,
        created: run.created,
        host: host_name(&run.host),
        plan: run.plan,
        revision: run.versions.git,
        cells,
    })
}

/// Checks that these result sets can be compared.
///
/// # Errors
/// When there are fewer than two, or they are of several hosts or plans, or a lab
/// did not promise the same in all of them; what differs is named.
pub fn check(runs: &[Measured]) -> Result<()> {
    let [first, others @ ..] = runs else { bail!("no result set was given; give two") };
    ensure!(!others.is_empty(), "one result set was given; give two of the same plan and machine");
    for (at, run) in runs.iter().enumerate() {
        let twice = runs[..at].iter().any(|other| (&other.name, &other.created) == (&run.name, &run.created));
        ensure!(!twice, "{} was given twice: a run always agrees with itself", run.name);
    }
    for other in others {
        let (a, b) = (&first.name, &other.name);
        ensure!(
            first.host == other.host,
            "{a} was made on `{}` and {b} on `{}`; give result sets of the same machine",
            first.host,
            other.host
        );
        if let Some(what) = difference(&first.plan, &other.plan)? {
            bail!("{a} and {b} have different plans: {what}; give result sets of the same plan");
        }
        for (id, cell) in &first.cells {
            let Some(same) = other.cells.get(id) else { continue };
            ensure!(
                cell.guarantee == same.guarantee,
                "{id} is {} in {a} and {} in {b}: the settings of the brokers differ, so they cannot be \
                 compared",
                cell.guarantee,
                same.guarantee
            );
        }
    }
    Ok(())
}

/// The differences between two plans that change how a case is measured:
/// which labs were asked for, and the plan's name, do not.
fn difference(a: &Plan, b: &Plan) -> Result<Option<String>> {
    let [a, b] = [a, b].map(|plan| serde_json::to_value(plan).context("a plan is no JSON"));
    let (a, b) = (a?, b?);
    let fields = a.as_object().into_iter().flatten();
    let mut fields = fields.filter(|(name, _)| !["name", "labs", "floor"].contains(&name.as_str()));
    let differing = fields.find(|(name, value)| b.get(name) != Some(value));
    Ok(differing.map(|(name, value)| {
        format!("`{name}` is {value} and {}", b.get(name).unwrap_or(&serde_json::Value::Null))
    }))
}

/// The result of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The machine.
    pub host: String,
    /// The result sets.
    #[serde(rename = "bundles")]
    pub result_sets: Vec<String>,
    /// The pairs whose own intervals overlap.
    pub agreed: Share,
    /// The same, figure by figure.
    pub figures: Vec<OfFigure>,
    /// Pairs that do not agree, the widest gap first.
    pub apart: Vec<Apart>,
    /// How much wider intervals have to be.
    pub widening: Widening,
    /// The pairs whose intervals overlap then.
    pub widened: Share,
    /// Whether there are enough pairs for the factor to mean anything.
    pub enough: bool,
}

/// One figure's part of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfFigure {
    /// Which.
    pub figure: Figure,
    /// The pairs whose own intervals overlap.
    pub agreed: Share,
    /// The factor that these pairs alone would need.
    pub factor: f64,
}

/// A figure on which two result sets do not agree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Apart {
    /// The case.
    pub cell: String,
    /// Which figure of it.
    pub figure: Figure,
    /// The two result sets, by their index in [`Agreement::result_sets`].
    pub runs: [usize; 2],
    /// Their values.
    pub estimates: [Estimate; 2],
    /// The higher figure by the lower.
    pub ratio: f64,
    /// What lies between the intervals, as a share of the lower one's end.
    pub gap: f64,
    /// The factor that would make them touch.
    pub factor: f64,
}

/// Compares all pairs of result sets, in every case and figure that both have.
///
/// # Errors
/// When they have no figure in common.
pub fn compare(runs: &[Measured]) -> Result<Agreement> {
    let mut pairs: Vec<(Figure, Pair)> = Vec::new();
    let mut apart = Vec::new();
    for (second, b) in runs.iter().enumerate() {
        for (first, a) in runs[..second].iter().enumerate() {
            for (cell, figure, estimates, pair) in common(a, b) {
                pairs.push((figure, pair));
                if !stats::overlap(&pair) {
                    apart.push(Apart {
                        cell: cell.to_owned(),
                        figure,
                        runs: [first, second],
                        estimates,
                        ratio: pair.ratio(),
                        gap: pair.gap(),
                        factor: stats::stretch(&pair),
                    });
                }
            }
        }
    }
    apart.sort_by(|a, b| b.gap.total_cmp(&a.gap));
    let all: Vec<Pair> = pairs.iter().map(|(_, pair)| *pair).collect();
    let factor = stats::widening(&all)
        .context("these result sets have no figure in common: their labs differ, or all trials failed")?;
    let figures = Figure::ALL.into_iter().filter_map(|figure| {
        let own: Vec<Pair> = pairs.iter().filter(|(of, _)| *of == figure).map(|(_, pair)| *pair).collect();
        Some(OfFigure { figure, agreed: agreed(&own), factor: stats::widening(&own)? })
    });
    let before = agreed(&all);
    let reached = all.iter().filter(|pair| stats::stretch(pair) <= factor).count();
    Ok(Agreement {
        host: runs.first().map(|run| run.host.clone()).unwrap_or_default(),
        result_sets: runs.iter().map(|run| run.name.clone()).collect(),
        agreed: before,
        figures: figures.collect(),
        apart,
        widening: Widening {
            factor,
            least: LEAST,
            from: runs.iter().map(|run| run.name.clone()).collect(),
            agreed: before.share,
        },
        widened: stats::share(reached, all.len()),
        enough: all.len() >= FEWEST_PAIRS,
    })
}

fn agreed(pairs: &[Pair]) -> Share {
    stats::share(pairs.iter().filter(|pair| stats::overlap(pair)).count(), pairs.len())
}

/// The figures that both have, with what each says.
fn common<'a>(
    a: &'a Measured,
    b: &'a Measured,
) -> impl Iterator<Item = (&'a str, Figure, [Estimate; 2], Pair)> {
    a.cells.iter().filter_map(|(id, cell)| Some((id, cell, b.cells.get(id)?))).flat_map(|(id, cell, same)| {
        cell.figures.iter().filter_map(|(figure, one)| {
            let (_, other) = same.figures.iter().find(|(of, _)| of == figure)?;
            Some((id.as_str(), *figure, [*one, *other], Pair::new(*one, *other)?))
        })
    })
}

/// The factor that is kept for a host: `agreement-HOST.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Saved {
    /// The host, with its CPU: another one gets nothing from it.
    host: String,
    widening: Widening,
    agreed: Share,
    widened: Share,
}

/// Where the agreement of this host's runs is kept.
pub fn file(results: &Path, host: &Host) -> PathBuf {
    results.join(format!("agreement-{}.json", host::file_name(host)))
}

/// Keeps an agreement for this host; the file that it is in.
///
/// # Errors
/// If the result sets are of another host, too few pairs were compared, or the file cannot be
/// written.
pub fn save(agreement: &Agreement, results: &Path, host: &Host) -> Result<PathBuf> {
    let here = host_name(host);
    ensure!(
        agreement.host == here,
        "these result sets were made on `{}`, but this host is `{here}`; run --save on the host where they \
         were made",
        agreement.host
    );
    ensure!(
        agreement.enough,
        "only {} pairs of figures were compared, but a share of 95 % needs {FEWEST_PAIRS}; compare runs of \
         more labs",
        agreement.agreed.of
    );
    let path = file(results, host);
    let saved = Saved {
        host: here,
        widening: agreement.widening.clone(),
        agreed: agreement.agreed,
        widened: agreement.widened,
    };
    let mut text = serde_json::to_string_pretty(&saved)?;
    text.push('\n');
    fs::create_dir_all(results).with_context(|| format!("cannot create {}", results.display()))?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The factor for this host's runs; `None` where nothing was saved, or of a machine of this
/// name with another CPU.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn saved(results: &Path, host: &Host) -> Result<Option<Widening>> {
    let path = file(results, host);
    let Some(text) = results::read(&path, MOST_RECORD)? else { return Ok(None) };
    let saved: Saved = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} is damaged; create it again with `{}`, or remove it (intervals are then not widened)",
            path.display(),
            crate::hint::command(&["agree", "DIR", "DIR", "--save"])
        )
    })?;
    Ok((saved.host == host_name(host)).then_some(saved.widening))
}

/// Widens all intervals of a summary.
pub fn apply(widening: &Widening, summary: &mut Summary) {
    let wider = |estimate: &mut Estimate| *estimate = stats::widen(*estimate, widening.factor);
    wider(&mut summary.throughput_per_s);
    summary.response_p50_ns.iter_mut().for_each(wider);
    summary.response_p99_ns.iter_mut().for_each(wider);
}
