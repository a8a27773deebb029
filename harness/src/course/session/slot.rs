//! A place for a program.

use std::path::PathBuf;

use crate::course::history::Fields;
use crate::course::program::Program;

/// A place for a program: the process in it may be killed and started again.
pub(super) struct Slot {
    pub(super) program: Option<Program>,
    pub(super) init: Fields,
    pub(super) state: PathBuf,
    /// Whether the checker has killed it, so that its end is no surprise.
    pub(super) killed: bool,
    pub(super) stopped: bool,
    pub(super) ended: bool,
}
