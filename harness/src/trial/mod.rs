//! One trial: the roles of one lab under one load, from joining to the last
//! message accounted for.

mod evaluate;
mod flags;
mod inits;
mod leftovers;
mod options;
pub mod pause;
mod pipeline_work;
mod reconcile;
mod recording;
mod role_counts;
mod run;
mod second_look;
mod spec;
mod watch;

pub use evaluate::{TrialInputs, evaluate};
pub use flags::flags;
pub(crate) use flags::{FOREIGN, OVERSLEEP, STEAL};
pub(crate) use inits::inits;
pub use leftovers::remove;
pub(crate) use leftovers::{done, note, remove_all};
pub use options::TrialOptions;
pub use pipeline_work::PipelineWork;
pub use reconcile::Reconciled;
pub use role_counts::{check_shape, role_counts};
pub use run::{run, run_number};
pub(crate) use second_look::{has_store, look_again};
pub(crate) use spec::receivers;
pub use spec::{Outcome, Spec};
pub use watch::Watch;
