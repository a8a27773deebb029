//! How a run tells its progress.

use labs::lab::Broker;

use crate::bundle::{Cell, Skipped};
use crate::trial::Watch;

/// How a run tells its progress.
pub trait Progress {
    /// So many trials are to be made.
    fn begin(&mut self, trials: usize, skipped: &[Skipped]);
    /// A broker is being started.
    fn broker(&mut self, broker: Broker);
    /// A trial begins.
    fn next(&mut self, next: &Next<'_>);
    /// A trial goes on.
    fn watch(&mut self, cell: &Cell, watch: &Watch<'_>);
    /// A trial has ended; about so many seconds are left.
    fn trial(&mut self, cell: &Cell, made: usize, left_s: f64);
}

/// A trial that begins, and what comes after it.
pub struct Next<'a> {
    /// Its cell.
    pub cell: &'a Cell,
    /// Which of the cell's trials it is, from 0.
    pub trial: usize,
    /// How many the cell has.
    pub of: usize,
    /// The cell of the trial after it.
    pub then: Option<&'a Cell>,
}
