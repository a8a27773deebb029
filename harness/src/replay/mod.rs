//! A replay: the record of one run with real roles, for pictures of it.
//!
//! A [`Recorder`] makes it while roles report; `runs` makes it of a finished run under faults.
//! It is drawn by a page in the browser (`page`) and as lanes in the terminal (`lanes`), and
//! exported for other tools (`shiviz`, `otel`). `account` says what became of each message: the
//! page works that out by itself, in JavaScript, and a test compares the two. Nothing here
//! runs anything.

mod account;
mod lanes;
mod model;
mod otel;
mod page;
mod recorder;
mod runs;
mod saved;
mod shiviz;
mod thinned;

pub(crate) use account::{State, fates};
pub(crate) use lanes::Lanes;
pub(crate) use model::{Head, Lane, Replay, ReplayEvent, ReplayWhat, Side};
#[cfg(feature = "apps")]
pub(crate) use page::{LIVE, SCRIPT, STYLE};
pub(crate) use recorder::{Keep, PROBE, Recorder};
pub(crate) use runs::of_fault_run;
#[cfg(feature = "apps")]
pub(crate) use saved::text;
pub(crate) use saved::{Format, save};
