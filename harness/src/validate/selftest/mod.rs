//! The harness, put to the test: a transport whose truth is known, because it
//! makes it, is measured by the very loops and the very verdict that measure the
//! labs. What it did to each message it notes by itself, in full; the harness
//! must find all of it.
//!
//! In reading order: what is done to messages ([`fault`]), what is noted of each
//! ([`event_log`]), the transport ([`wire`], [`transport`]) as a lab of every contract
//! ([`simulated`]), what its notes come to ([`expected`]), what a check is ([`check`]) and
//! all of them ([`list`]), and how the harness is held against it ([`checker`], [`search`]).

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
pub use verdict::{Evidence, Verdict, carry_out};
