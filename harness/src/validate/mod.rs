//! How the harness is checked: against a simulated transport with known faults
//! ([`selftest`]), and against common ways to measure, which show other numbers
//! ([`pitfalls`]).

pub mod pitfalls;
pub mod selftest;
