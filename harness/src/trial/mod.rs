//! One trial: the roles of one lab under one load, from joining to the last
//! message accounted for.

mod evaluate;
mod flags;
mod options;
pub mod pause;
mod pipeline_work;
mod reconcile;
mod recording;
mod role_counts;
mod run;
mod spec;
mod watch;

pub use evaluate::{Seen, evaluate};
pub use flags::flags;
pub(crate) use flags::{FOREIGN, OVERSLEEP, STEAL};
pub use options::Script;
pub use pipeline_work::Work;
pub use reconcile::Settled;
pub use role_counts::{check_shape, crowd};
pub use run::{remove, run, run_number};
pub use spec::{Outcome, Spec};
pub use watch::Watch;
