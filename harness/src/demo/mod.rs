//! Commands that show a pattern with real messages instead of measuring it: a
//! scenario for each pattern, roles played by hand, and the applications. Each file
//! has a command's options and does what they ask.

#[cfg(all(feature = "apps", feature = "rabbitmq", feature = "mqtt", feature = "stomp"))]
pub(crate) mod bridge;
#[cfg(feature = "apps")]
pub(crate) mod chat;
#[cfg(feature = "apps")]
pub(crate) mod correlation;
#[cfg(feature = "apps")]
pub(crate) mod crack;
pub(crate) mod dead;
#[cfg(feature = "apps")]
mod incidents;
mod place;
pub(crate) mod play;
#[cfg(feature = "apps")]
pub(crate) mod preinit;
#[cfg(feature = "apps")]
pub(crate) mod scatter_gather;
pub(crate) mod scenario;
