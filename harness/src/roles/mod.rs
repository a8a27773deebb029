//! The measured loops: one file a pattern, generic over the contract. They are
//! the only ones there are; every lab is driven by these, whether its roles are
//! processes of their own or threads.

pub mod baseline;
pub mod protocol;

mod adapters;
mod context;
mod durable;
mod enter;
mod error_budget;
mod handle;
mod in_flight;
mod in_flight_window;
mod manual;
mod oneway;
mod pipeline;
mod pubsub;
mod queue;
mod registry;
mod reqrep;
mod role_process;
mod runtime;
mod send_loop;

pub use context::LEAVE;
pub use handle::{Handle, Outbox, Peers, RemoveFn, RoleFn};
pub use registry::{Handles, UNINSTRUMENTED, handles, knobs, uninstrumented_handles};
pub use role_process::main;
pub use runtime::{block_on, runtime};
