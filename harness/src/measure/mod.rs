//! How time and messages are measured: the clock and when messages are due, the
//! header in each message, each role's account and recorders, and what a role, a
//! broker and the machine used meanwhile. Nothing here knows a pattern or a lab.

pub mod clock;
pub mod schedule;

pub mod header;

pub mod account;
pub mod trace;

mod cached_clock;
pub mod recorder;

mod cgroup;
pub mod cost;
pub mod host;
pub mod noise;
