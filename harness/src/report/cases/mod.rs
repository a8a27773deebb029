//! One row for each case of a run, with everything that is said of it: what `lab export` writes,
//! what a report copies as CSV, and what `lab diff` and `lab site` compare and list.
//!
//! Rows have the units in which they were measured, named in each column, and full precision:
//! read back, they give the same figures.

mod csv;
mod markdown;
mod promise;
mod row;
#[cfg(test)]
mod tests;

pub(crate) use csv::{csv, inert};
pub(crate) use markdown::markdown;
pub(crate) use promise::{Promise, Promises};
use row::row;
pub(crate) use row::{
    Row, cpu, figures, flags, interval, p50, p99, ratio_to_baseline, throughput, trial_cpu,
};

use crate::results::Run;

/// The rows of a run, with what is known of each lab's promise, in the order of `run.json`; parts of
/// searches and baselines are no rows of their own.
pub(crate) fn rows(run: &Run, promises: &Promises) -> Vec<Row> {
    run.cells.iter().filter(|cell| cell.is_answer()).map(|cell| row(run, cell, promises.of(cell))).collect()
}
