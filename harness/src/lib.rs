//! Measures the labs.
pub mod broker;
pub mod bundle;
pub mod cost;
pub mod doctor;
pub mod guard;
pub mod host;
pub mod noise;
pub mod process;
