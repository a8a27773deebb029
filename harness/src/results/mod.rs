//! The result set: what a run leaves behind, and how it is written so that
//! nothing finished is ever lost.
//!
//! `run.json` holds everything a reader needs, and is replaced atomically after
//! every trial. The raw data, each trial's histograms (HdrHistogram V2, deflated,
//! base64: what other tools read too) and its interval series, is written file by
//! file to `raw/`, and packed into `raw.tar` when the run is over.

mod archive;
mod fault;
mod fault_store;
mod file;
mod find;
mod json;
mod load;
mod machine;
mod model;
pub mod private;
mod scenario;
mod scenario_store;
mod schema;
mod search;
mod store;
mod summary;
mod trial;

pub use archive::ARCHIVE;
pub use fault::{
    EventKind, FAULT_INTERVAL_NS, FAULT_SCHEMA, FaultCounts, FaultEvent, FaultInterval, FaultRun, FaultSet,
    FaultTimes, Injected, MOST_MESSAGES, MessageFate, Positions, Received, SCORED_FAULTS, Verdict, Witness,
    WitnessStep,
};
pub use fault_store::{FAULTS, write_file};
pub use file::{MOST_PLAN, MOST_RECORD, read, read_text, write_named};
pub use find::find;
pub use load::{Arrivals, Load, LoadKind};
pub use machine::{Host, Noise, Versions};
pub use model::{BenchmarkCase, ECHO, FLOOR, Pause, Paused, Plan, Run, Skipped, Widening};
pub use scenario::Part as ScenarioPart;
pub use scenario::{
    Check, Fact, MOST_EVENTS, Outcome, SCENARIO_SCHEMA, SCENARIOS, ScenarioEvent, ScenarioRun, Series,
    together,
};
pub use scenario_store::ScenarioSet;
pub use schema::{SCHEMA, fault_schema, scenario_schema, schema};
pub use search::{Attempt, Capacity, Objective, Part, Point, Purpose, Step, Subject, Sweep};
pub use store::{Lock, RUN, ResultSet};
pub use summary::{Estimate, Flag, Summary};
pub use trial::{Cost, Counts, Drain, Hops, Interval, Percentiles, Raw, RoleHost, Trial};
