//! The figures of all cases of a run, as the report shows them, ready to be divided by each other:
//! medians over the trials, and percentiles of the merged histograms.

use std::collections::BTreeMap;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::cases::{self, Figure};
use crate::results::{BenchmarkCase, Estimate, LoadKind, Raw, ResultSet, Run};
use crate::stats::{self, Resampled};

/// Each figure of each case with its bootstrap resamples.
#[derive(Default)]
pub(crate) struct Figures {
    known: BTreeMap<(String, Figure), Resampled>,
    /// By how much intervals are widened.
    factor: f64,
}

impl Figures {
    /// `times` gives p50 and p99 of a case at a rate, resampled with a seed of its own. Two runs that
    /// are compared with each other need different values of `from`, the first seed.
    pub(crate) fn of(
        run: &Run,
        from: u64,
        times: impl Fn(&BenchmarkCase, u64) -> Result<[Option<Resampled>; 2]>,
    ) -> Result<Self> {
        let mut known = BTreeMap::new();
        let cells = run.cells.iter().filter(|cell| cell.part_of.is_none() && cell.good_trials() > 0);
        for (at, cell) in (0..).zip(cells) {
            let seed = from.wrapping_add(at);
            let mut add = |figure, resampled: Option<Resampled>| {
                if let Some(resampled) = resampled {
                    known.insert((cell.id.clone(), figure), resampled);
                }
            };
            if cell.load.kind == LoadKind::Rate {
                let [p50, p99] = times(cell, seed)?;
                add(Figure::P50, p50);
                add(Figure::P99, p99);
            } else {
                add(Figure::Throughput, Resampled::median(&Figure::Throughput.trials(cell), seed));
            }
            // The report adds up the medians of the roles.
            let cpu = Resampled::median(&Figure::Cpu.trials(cell), seed);
            add(Figure::Cpu, cases::cpu(cell).and_then(|shown| Some(cpu?.shown_as(shown))));
        }
        Ok(Self { known, factor: run.widening.as_ref().map_or(1.0, |widening| widening.factor) })
    }

    /// Of a result set, from its recordings.
    pub(crate) fn read(result_set: &ResultSet, run: &Run, from: u64) -> Result<Self> {
        Self::of(run, from, |cell, seed| {
            let good = cell.trials.iter().filter(|trial| trial.failed.is_none());
            let raws: Vec<Raw> =
                good.map(|trial| result_set.raw(&cell.id, trial.index)).collect::<Result<_>>()?;
            times(cell, &raws, seed)
        })
    }

    /// A figure of a case, where it has it.
    pub(crate) fn get(&self, cell: &BenchmarkCase, figure: Figure) -> Option<&Resampled> {
        self.known.get(&(cell.id.clone(), figure))
    }

    /// A figure of the first case by that of the second, with its interval, widened as all of the
    /// run's are; nothing where one of them has none, or a single trial, which has no interval.
    pub(super) fn ratio(&self, cells: [&BenchmarkCase; 2], figure: Figure) -> Option<Estimate> {
        let [first, second] = cells.map(|cell| self.get(cell, figure).filter(|_| cell.good_trials() > 1));
        Some(stats::widen(first?.ratio(second?)?, self.factor))
    }
}

/// p50 and p99 of the response time over the good trials, whose recordings these are, where the
/// summary has them: with too few samples they are withheld.
pub(super) fn times(cell: &BenchmarkCase, raws: &[Raw], seed: u64) -> Result<[Option<Resampled>; 2]> {
    let trials: Vec<Histogram<u64>> =
        raws.iter().map(|raw| stats::decode(&raw.response)).collect::<Result<_>>()?;
    let shown = cell.summary.as_ref().map(|summary| summary.response_ns).unwrap_or_default();
    let of = |shown: Option<u64>, at| shown.and_then(|_| Resampled::quantile(&trials, at, seed));
    Ok([of(shown.p50, 0.5), of(shown.p99, 0.99)])
}
