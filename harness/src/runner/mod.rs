//! Runs a plan: makes its cases and trials in random order, starts the broker that each
//! needs, searches for capacities, and writes the result set after each trial.

mod available;
mod broker_slot;
mod cases;
pub(crate) mod limit;
mod progress;
mod request;
mod run;
mod schedule;
mod search;

pub(crate) use cases::same_program_and_machine;
pub use progress::{Next, Progress};
pub use request::{Request, default_out};
pub use run::{check, run};
