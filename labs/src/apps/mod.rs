//! Applications: several labs, or one in a larger setting, put to use.

pub mod answer;
#[cfg(all(feature = "rabbitmq", feature = "mqtt", feature = "stomp"))]
pub mod bridge;
pub mod chat;
pub mod child;
pub mod crack;
pub mod gather;
pub mod preinit;
pub mod web;
