//! The course: exercises in any language, and the checker that judges programs.
//!
//! In reading order: what an exercise is ([`exercise`]), the record of a run ([`history`]), a program
//! that runs ([`program`]) within [`limits`], where its effects go ([`sink`]), the checker's own ends
//! of the transports ([`redis`], [`tcp`]), one run ([`session`]), its verdict and the search for a
//! smaller one ([`check`]), the picture of it ([`witness`]), the exercises themselves
//! ([`exercises`]), the student's folder ([`workspace`]), and a whole class ([`grade`]).
//!
//! The checker never takes a program's word. Bodies of messages are random and not derived from
//! the seed; a spy sees what goes over the transport; effects go to the checker's own sink.

pub(crate) mod check;
pub(crate) mod exercise;
pub(crate) mod exercises;
pub(crate) mod grade;
mod history;
mod limits;
pub(crate) mod plan;
mod program;
mod redis;
mod session;
mod sink;
pub(crate) mod start;
mod tcp;
mod trouble;
pub(crate) mod witness;
pub(crate) mod workspace;
