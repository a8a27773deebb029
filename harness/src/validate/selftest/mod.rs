//! The self-test of the harness: a simulated transport with known faults is measured by
//! the same loops and evaluation as the labs. It keeps a full log of what it did to each
//! message, and the harness must find all of it.
//!
//! In reading order: the faults ([`fault`]), the log of each message ([`event_log`]), the
//! transport ([`wire`], [`transport`]) as a lab of every contract ([`simulated`]), the
//! expected results ([`expected`]), a check ([`check`]) and all of them ([`list`]), and
//! the comparison with what the harness found ([`checker`], [`search`]).

mod check;
mod checker;
mod event_log;
mod expected;
mod fault;
mod list;
mod run;
mod search;
mod simulated;
mod transport;
mod verdict;
mod wire;

pub use check::Check;
pub use checker::{Figure, HAIR_NS, RANKS, SHARE, Value};
pub use fault::Harm;
pub use list::all;
pub use run::run;
pub use verdict::{CheckRun, Verdict, run_trial};
