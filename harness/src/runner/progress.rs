//! How a run reports its progress.

use std::path::Path;

use labs::lab::Broker;

use crate::results::{BenchmarkCase, Skipped};
use crate::trial::Watch;

/// Receives the progress of a run.
pub trait Progress {
    /// The run begins, with the number of trials to run.
    fn begin(&mut self, trials: usize, skipped: &[Skipped]);
    /// The number of trials expected now; a search decides step by step.
    fn expect(&mut self, trials: usize);
    /// Something is known that is not one trial's.
    fn note(&mut self, line: &str);
    /// A broker is being started.
    fn broker(&mut self, broker: Broker);
    /// A trial begins.
    fn next(&mut self, next: &Next<'_>);
    /// A trial is running.
    fn watch(&mut self, cell: &BenchmarkCase, watch: &Watch<'_>);
    /// A trial has ended; with the estimated seconds left.
    fn trial(&mut self, cell: &BenchmarkCase, made: usize, left_s: f64);
    /// Every case of the result set in this folder has this many trials, and more are to come.
    /// No trial and no broker runs until this returns.
    fn round(&mut self, result_set: &Path, trials: usize);
}

/// A trial that begins, and what comes after it.
pub struct Next<'a> {
    /// Its case.
    pub cell: &'a BenchmarkCase,
    /// The index of the trial within its case, from 0.
    pub trial: usize,
    /// The number of trials of the case; `None` if a search decides.
    pub of: Option<usize>,
    /// The case of the next trial, if known.
    pub then: Option<&'a BenchmarkCase>,
}
