//! The result set: what a run leaves behind, and how it is written so that
//! nothing finished is ever lost.
//!
//! `run.json` holds everything a reader needs, and is replaced atomically after
//! every trial. The raw data, each trial's histograms (HdrHistogram V2, deflated,
//! base64: what other tools read too) and its interval series, is written file by
//! file to `raw/`, and packed into `raw.tar` when the run is over.

mod archive;
mod load;
mod machine;
mod model;
pub mod private;
mod search;
mod store;
mod summary;
mod trial;

use anyhow::Result;

pub use archive::ARCHIVE;
pub use load::{Arrivals, Load, LoadKind};
pub use machine::{Host, Noise, Versions};
pub use model::{Cell, FLOOR, Pause, Paused, Plan, Run, Skipped, Widening};
pub use search::{Attempt, Capacity, Objective, Part, Point, Purpose, Step, Subject, Sweep};
pub use store::Bundle;
pub use summary::{Estimate, Flag, Summary};
pub use trial::{Cost, Counts, Drain, Hops, Interval, Percentiles, Raw, Trial};

/// The version of the result format; older ones are read, newer ones refused.
pub const SCHEMA: u32 = 3;

/// The JSON schema of `run.json`, generated from the types above.
#[cfg(feature = "schema")]
pub fn schema() -> Result<String> {
    store::pretty(&schemars::schema_for!(Run))
}

/// The JSON schema of `run.json`, as it was generated and committed: CI holds it to the types.
#[cfg(not(feature = "schema"))]
pub fn schema() -> Result<String> {
    Ok(include_str!("../../../docs/schema.json").to_owned())
}
