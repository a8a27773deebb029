//! Measures the labs.
pub mod bundle;
pub mod report;
pub mod stats;
