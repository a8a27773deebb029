//! How a run tells its progress.

use std::path::Path;

use labs::lab::Broker;

use crate::results::{Cell, Skipped};
use crate::trial::Watch;

/// How a run tells its progress.
pub trait Progress {
    /// So many trials are to be made.
    fn begin(&mut self, trials: usize, skipped: &[Skipped]);
    /// By now so many trials are expected: a search decides as it goes.
    fn expect(&mut self, trials: usize);
    /// Something is known that is not one trial's.
    fn note(&mut self, line: &str);
    /// A broker is being started.
    fn broker(&mut self, broker: Broker);
    /// A trial begins.
    fn next(&mut self, next: &Next<'_>);
    /// A trial goes on.
    fn watch(&mut self, cell: &Cell, watch: &Watch<'_>);
    /// A trial has ended; about so many seconds are left.
    fn trial(&mut self, cell: &Cell, made: usize, left_s: f64);
    /// Every cell of the bundle in this folder has so many trials, and more are to
    /// come. No trial and no broker runs until this returns.
    fn round(&mut self, bundle: &Path, trials: usize);
}

/// A trial that begins, and what comes after it.
pub struct Next<'a> {
    /// Its cell.
    pub cell: &'a Cell,
    /// Which of the cell's trials it is, from 0.
    pub trial: usize,
    /// How many the cell has; `None` where a search decides.
    pub of: Option<usize>,
    /// The cell of the trial after it, where that is known.
    pub then: Option<&'a Cell>,
}
