//! Grading a class: one mark for each student and exercise.
//!
//! In reading order: who is in the class ([`roster`]), what a student has handed in ([`submission`]),
//! how it is run ([`run`]) in a network of its own ([`network`]), what came of it ([`mark`]), where
//! marks are kept so that an interrupted class goes on ([`store`]), and what is written from them: the
//! formats of other systems ([`format`]) and the pages ([`pages`]).

pub(crate) mod format;
pub(crate) mod mark;
mod network;
pub(crate) mod pages;
pub(crate) mod roster;
pub(crate) mod run;
pub(crate) mod store;
pub(crate) mod submission;
