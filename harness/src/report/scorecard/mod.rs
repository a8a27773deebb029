//! The scorecard: labs × faults, drawn from a set of fault runs alone, and a page with the evidence
//! for each of its cells. Nothing here runs anything.

mod explains;
mod grid;
mod page;
mod picture;
#[cfg(test)]
mod tests;
mod timeline;

pub use explains::explains;
pub use page::{DOCS, PAGE, draw, table, write};
