//! Request/reply: two one-way channels, and a way to tell which reply belongs to which
//! request.
//!
//! Shape: N requesters, M responders. Peer to peer, responders bind.
//!
//! What the constants of [`Lab`] mean here:
//!
//! - `GUARANTEE` is that of a request. At most once: a request is lost if the responder that
//!   received it crashes; its `ask` then fails or waits without end, so callers set a timeout.
//!   At least once: another responder gets it, and may do the work a second time. The reply is
//!   the only confirmation.
//! - `OVERLOAD`: when responders are too slow, `ask` waits, requests are dropped, or the broker
//!   stores them.
//! - `JOIN` is confirmed in every lab: when `responder` returns, the responder can receive
//!   requests.
//!
//! An error is *transient* if a new connection may mend it: the connection is gone, or the broker is
//! starting. [`crate::recovery`] does that. All others are *final*. Each operation says which it has.

use std::fmt;

use anyhow::Result;

use crate::lab::Lab;
pub use crate::message::{Command, Document};

pub mod correlation;
pub mod return_address;

#[cfg(feature = "http")]
pub mod http;
pub mod inproc;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "redis")]
pub mod redis_stream;
#[cfg(feature = "stomp")]
pub mod stomp;
pub mod tcp;
pub mod unix;
#[cfg(feature = "websocket")]
pub mod websocket;
#[cfg(feature = "zeromq")]
pub mod zeromq;
#[cfg(feature = "zeromq")]
pub mod zeromq_dealer;

/// How a reply finds its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// One request at a time: the next reply belongs to it.
    Lockstep,
    /// The request carries a correlation identifier, and its reply carries the same one.
    CorrelationId,
    /// Every request carries its own address for the reply.
    ReplyAddress,
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lockstep => "lockstep",
            Self::CorrelationId => "correlation identifier",
            Self::ReplyAddress => "reply address",
        })
    }
}

/// Marks the error of a request that a broker has not passed on, because no responder is there.
/// One may come. Find it with [`anyhow::Error::is`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoResponder;

impl fmt::Display for NoResponder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("no responder is there; the request was not passed on")
    }
}

/// The requesting end.
pub trait Requester {
    /// Sends the request and returns its reply. Many requests may be in flight; labs
    /// that work in lockstep send them one after the other. Dropping the future abandons
    /// the request: a late reply is dropped and never given to another request. Transient: the
    /// connection was lost before the reply came; the request may have been handled, so that only
    /// the caller can decide whether to ask again. Final: the request is too long, nobody can answer
    /// it, or the responder has refused.
    async fn ask(&self, request: Command) -> Result<Document>;
}

/// The responding end.
pub trait Responder {
    /// The address for a reply. It is passed by value, so that a request is answered once.
    type ReplyTo;
    /// The next request. Cancel-safe. Replies accepted earlier are written
    /// before this waits. `None` only when no requester can connect any more.
    /// A request that cannot be answered, because it names no return address, is skipped and
    /// counted at the place. Transient: the connection was lost. Final: what came is not of this
    /// protocol.
    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>>;
    /// Accepts the reply. It is written at the latest when [`Responder::next`]
    /// has to wait. It is not an error if the requester has left. Transient: the connection was
    /// lost, and perhaps the reply. Final: the reply is too long.
    async fn reply(&mut self, to: Self::ReplyTo, reply: Document) -> Result<()>;
}

/// The request/reply contract.
pub trait RequestReply: Lab {
    /// How replies find their requests.
    const MATCHING: Matching;
    /// The requesting end.
    type Requester: Requester + 'static;
    /// The responding end.
    type Responder: Responder + 'static;
    /// Joins as a requester.
    async fn requester(&self) -> Result<Self::Requester>;
    /// Joins as a responder.
    async fn responder(&self) -> Result<Self::Responder>;
}
