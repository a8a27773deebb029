//! Roles on other hosts, started by whatever carries a stream: `ssh host`, `kubectl exec -i pod --`,
//! `ip netns exec b`. On the other side the same program runs as an *agent*: it starts the role there,
//! passes its lines on, and keeps a copy of the accounts in step with the supervisor's, so that
//! neither the roles nor the supervisor know that there is no shared memory.
//!
//! The role's clock is the supervisor's: the agent's clock is compared with it over the control lines,
//! and the role adds the difference ([`clocks`]).

mod agent;
mod clocks;
mod launch;
mod lines;
mod link;
mod protocol;
mod socket;

pub use agent::main as agent;
pub use launch::Launch;
pub(super) use link::spawn;
pub use link::{Side, SideClock};
pub use socket::{CONNECTIONS, TOKEN, Token, dial, reach, serve};
