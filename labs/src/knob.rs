//! Knobs: numbers of a lab that can be set from outside.

use crate::guarantee::Guarantee;

/// A number of a lab that can be set from outside.
///
/// A lab declares its knobs as constants, lists them in
/// [`Lab::KNOBS`](crate::lab::Lab::KNOBS) and reads them with
/// [`Place::knob`](crate::place::Place::knob). The values read are recorded with the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knob {
    /// What `--set` and results call it: `batch`.
    pub name: &'static str,
    /// Its value where none is set.
    pub default: usize,
    /// Its meaning, with its unit, in one line.
    pub meaning: &'static str,
    /// A value with which the lab promises less than it does otherwise, and what it promises then.
    pub weaker: Option<(usize, Guarantee)>,
}

impl Knob {
    /// A knob with its default and its meaning.
    pub const fn new(name: &'static str, default: usize, meaning: &'static str) -> Self {
        Self { name, default, meaning, weaker: None }
    }

    /// The same knob; where it has this value, the lab promises no more than this.
    #[must_use]
    pub const fn weaker_at(self, value: usize, guarantee: Guarantee) -> Self {
        Self { weaker: Some((value, guarantee)), ..self }
    }
}
