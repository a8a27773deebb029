//! Supervises the roles of one run: starts them, introduces them to each other,
//! hears what they say, and stops them. It knows no pattern's meaning.

mod cast;
mod heard;
mod start;

pub use cast::{Actor, Cast, Housing};
pub use heard::Heard;
