//! Applications: several labs, or one in a larger setting, put to use.

pub mod bridge;
pub mod crack;
