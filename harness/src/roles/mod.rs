//! The measured loops, one file per pattern, generic over the contract. There are no
//! others: they drive every lab, whether its roles are processes or threads.

pub mod baseline;
pub mod protocol;

pub(crate) mod open_address;

mod adapters;
mod context;
mod durable;
mod enter;
mod error_budget;
mod handle;
mod in_flight;
mod in_flight_window;
mod manual;
mod message_text;
mod oneway;
mod own_address;
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
pub use message_text::MessageText;
pub use registry::{Handles, UNINSTRUMENTED, handles, knobs, uninstrumented_handles};
pub use role_process::main;
pub use runtime::{block_on, runtime};
