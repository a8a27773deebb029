//! What several labs of one family share: framing and connections for the
//! peer-to-peer labs, and what each client library needs to be used well.

#[cfg(feature = "rabbitmq")]
pub(crate) mod amqp;
pub mod frames;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt;
#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(any(feature = "outbox", feature = "zeromq"))]
pub mod peer_queue;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod responders;
pub mod sockets;
pub mod stage_end;
#[cfg(feature = "stomp")]
pub mod stomp;
#[cfg(feature = "websocket")]
pub mod websocket;
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(crate) mod window;
#[cfg(feature = "zeromq")]
pub mod zmq;
