//! Checks of the harness: against a simulated transport with known faults ([`selftest`]),
//! and against common ways to measure that give other numbers ([`pitfalls`]).

pub mod pitfalls;
pub mod selftest;
