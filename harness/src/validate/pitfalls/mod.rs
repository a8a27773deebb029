//! One event, looked at in six ways that are common and wrong, each beside the
//! truth. Everything here is a function of recordings in which every message
//! stands ([`crate::measure::trace`]): nothing is run, and no histogram rounds.

mod evidence;
mod methods;
mod model;
mod page;
mod picture;
#[cfg(test)]
mod tests;

pub use evidence::Evidence;
pub use model::{FEWEST, Figure, Flood, Made, SCHEMA, Take, Unit, View, Views};
pub use page::body;
pub use picture::pictures;
