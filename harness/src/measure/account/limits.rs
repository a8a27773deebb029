//! How many producers and messages an account holds.

/// Most producers a trial can have.
pub const MAX_PRODUCERS: usize = 1024;
/// Most messages a producer can send in one trial: 2^30, a bitmap of 128 MiB.
pub const MAX_MESSAGES: u64 = 1 << 30;
