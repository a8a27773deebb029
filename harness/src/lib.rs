//! Measures the labs, and proves its own numbers.
pub mod account;
pub mod bundle;
pub mod clock;
pub mod cost;
pub mod load;
pub mod record;
pub mod role;
pub mod stamp;
pub mod stats;
