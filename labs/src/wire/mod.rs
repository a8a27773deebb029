//! What several labs of one family share: framing and connections for the
//! peer-to-peer labs, and what each client library needs to be used well.

#[cfg(feature = "rabbitmq")]
pub(crate) mod amqp;
pub mod credit;
pub mod door;
pub(crate) mod file;
pub mod hand;
#[cfg(feature = "http")]
pub mod http;
pub mod hub;
#[cfg(feature = "nats")]
pub(crate) mod jetstream;
#[cfg(any(feature = "outbox", feature = "zeromq"))]
pub(crate) mod keeper;
#[cfg(feature = "redis")]
pub mod letters;
#[cfg(feature = "outbox")]
pub(crate) mod line;
#[cfg(any(feature = "outbox", feature = "zeromq"))]
pub mod lines;
pub mod link;
#[cfg(feature = "outbox")]
pub(crate) mod log;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt;
#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(feature = "outbox")]
pub(crate) mod outbox;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "redis")]
pub(crate) mod resp;
pub mod socket;
pub mod stages;
#[cfg(feature = "stomp")]
pub mod stomp;
#[cfg(feature = "redis")]
pub(crate) mod stream;
#[cfg(feature = "redis")]
pub(crate) mod trim;
pub mod unsettled;
#[cfg(feature = "websocket")]
pub mod websocket;
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(crate) mod window;
pub mod word;
#[cfg(feature = "zeromq")]
pub mod zmq;
