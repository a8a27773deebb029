//! One row for each case of a run, with everything that is said of it: what `lab export` writes,
//! what a report copies as CSV, and what `lab diff` and `lab site` compare and list.
//!
//! Rows have the units in which they were measured, named in each column, and full precision:
//! read back, they give the same figures.

mod csv;
mod figure;
mod markdown;
mod promise;
mod row;
#[cfg(test)]
mod tests;

pub(crate) use csv::{csv, inert};
pub use figure::Figure;
pub(crate) use figure::apart;
pub(crate) use markdown::markdown;
pub(crate) use promise::{Promise, Promises};
use row::row;
pub(crate) use row::{
    Row, cpu, cpu_interval, flags, interval, p50, ratio_to_baseline, throughput, trial_flags,
};

use crate::results::{Part, Purpose, Run, Step};

/// The rows of a run, with what is known of each lab's promise, in the order of `run.json`; then the
/// results of searches, which are the runs that confirmed a rate, and the points of sweeps. Other
/// steps of a search and baselines are no rows of their own.
pub(crate) fn rows(run: &Run, promises: &Promises) -> Vec<Row> {
    let parts = run.cells.iter().filter(|cell| match cell.part_of {
        Some(Part::Capacity) => run.capacities.iter().any(|found| {
            let confirms = |step: &&Step| {
                step.passed && step.purpose == Purpose::Confirm && Some(step.rate) == found.sustainable_per_s
            };
            found.steps.iter().rfind(confirms).is_some_and(|step| step.cell == cell.id)
        }),
        Some(Part::Sweep) => true,
        None => false,
    });
    let cells = run.cells.iter().filter(|cell| cell.is_answer()).chain(parts);
    cells.map(|cell| row(run, cell, promises.of(cell))).collect()
}
