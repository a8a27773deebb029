//! The percentiles and flags of one case as text.

use super::super::number;
use crate::results::{BenchmarkCase, Flag, Percentiles};

/// A percentile, or that it is withheld, or a dash where nothing was recorded.
pub(super) fn percentile(all: &Percentiles, value: Option<u64>) -> String {
    match value {
        Some(ns) => number::time(ns as f64),
        None if all.count > 0 => "withheld".to_owned(),
        None => "–".to_owned(),
    }
}

/// All flags of a case; those of failed trials only if no trial was good.
pub(super) fn flags(cell: &BenchmarkCase) -> Vec<Flag> {
    match &cell.summary {
        Some(summary) => summary.flags.clone(),
        None => cell.trials.iter().flat_map(|trial| trial.flags.iter().copied()).collect(),
    }
}

/// Flags by name.
pub(super) fn join(flags: &[Flag]) -> String {
    flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(", ")
}
