//! Supervises the roles of one run: starts them, tells them each other's addresses, reads
//! their reports, and stops them. It does not know what a pattern means.

mod heard;
pub mod remote;
mod roles;
mod start;

pub use heard::Heard;
pub use remote::{Launch, Side};
pub use roles::{Placement, Role, Roles};
