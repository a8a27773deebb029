//! Failure scenarios: what goes wrong with messages, as lessons that prove themselves.
//!
//! A scenario plays roles of a real lab by hand, does something to them, and checks what it claims
//! from the events that the roles reported: [`Scenario`] says what is played and why, `run` holds
//! the roles of one part of it, `log` answers questions about what they reported, `experiment`
//! starts the broker and collects the checks, and `scenarios` has one file for each. `predict` plays
//! smaller scenes of the same kind, which answer questions about one lab.

mod acts;
mod experiment;
mod log;
mod play;
mod predict;
mod run;
mod scenario;
mod scenarios;
mod stranger;
mod thinned;

pub use experiment::Sources;
pub(crate) use experiment::{Experiment, Purpose};
pub(crate) use play::recorded;
pub use play::run;
pub(crate) use predict::{Question, Seen, Session, questions};
pub(crate) use run::{LAB, Run};
pub use scenario::Scenario;
pub use scenarios::ALL;
