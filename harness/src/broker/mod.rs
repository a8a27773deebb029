//! Brokers for a run: the user's own, or private ones. A private broker is started on a
//! free port of 127.0.0.1 with a temporary folder of its own, and leaves nothing behind.
//!
//! This module knows no lab. The settings of a private broker make the labs' guarantees
//! true; they are read back if the broker can report them.

mod amqp;
mod choice;
mod conversation;
pub mod embedded;
mod find;
mod install;
mod mqtt;
mod nats;
mod plugins;
mod ports;
mod private;
mod private_options;
mod rabbitmq;
mod redis;
mod requirements;
mod server;
mod source;
mod stomp;
mod wheel;

pub use choice::{Choice, Choices, address, for_another_terminal};
pub use find::{Missing, find, find_on, version_of};
pub use install::install;
pub use ports::free as free_port;
pub use private_options::{Options, check_setting};
pub use requirements::Needs;
pub use server::Server;
pub use source::Source;
pub use wheel::Wheel;
