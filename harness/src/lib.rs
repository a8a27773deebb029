//! Measures the labs.
pub mod bundle;
