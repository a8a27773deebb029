//! Percentiles and flags as text.

use super::super::number;
use crate::results::{Flag, Percentiles};

/// A percentile, or that it is withheld, or a dash where nothing was recorded.
pub(super) fn percentile(all: &Percentiles, value: Option<u64>) -> String {
    match value {
        Some(ns) => number::time(ns as f64),
        None if all.count > 0 => "withheld".to_owned(),
        None => "–".to_owned(),
    }
}

/// Flags by name.
pub(super) fn join(flags: &[Flag]) -> String {
    flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(", ")
}
