//! Supervises the roles of one run: starts them, introduces them to each other,
//! hears what they say, and stops them. It knows no pattern's meaning.

mod heard;
mod roles;
mod start;

pub use heard::Heard;
pub use roles::{Placement, Role, Roles};
