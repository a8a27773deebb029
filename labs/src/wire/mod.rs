//! What several labs of one family share: framing and connections for the
//! peer-to-peer labs, and what each client library needs to be used well.

pub(crate) mod amqp;
pub mod credit;
pub mod door;
pub(crate) mod file;
pub mod hand;
pub mod http;
pub mod hub;
pub(crate) mod jetstream;
pub(crate) mod keeper;
pub(crate) mod lease;
pub mod letters;
pub(crate) mod line;
pub mod lines;
pub mod link;
pub(crate) mod log;
pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod outbox;
pub(crate) mod redis;
pub(crate) mod resp;
pub mod socket;
pub mod stages;
pub mod stomp;
pub(crate) mod stream;
pub(crate) mod taker;
pub(crate) mod trim;
pub mod unsettled;
pub mod websocket;
pub(crate) mod window;
pub mod word;
pub mod zmq;
