//! Measurement pitfalls: one event measured in six ways that are common and wrong, each
//! beside the true value. Everything here is a function of recordings of all messages
//! ([`crate::measure::trace`]): nothing is run, and no histogram rounds.

mod methods;
mod model;
mod page;
mod picture;
mod recordings;
#[cfg(test)]
mod tests;

pub use model::{FEWEST, Figure, Flood, Made, RecordedTrial, SCHEMA, Unit, View, Views};
pub use page::body;
pub use picture::pictures;
pub use recordings::Recordings;
