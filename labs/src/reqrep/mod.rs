//! Request/reply: two one-way channels, and a way to tell which reply belongs
//! to which request.
//!
//! Shape: N requesters, M responders. Peer to peer, responders bind.

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
    /// One request at a time: the next reply is the reply.
    Lockstep,
    /// A correlation identifier travels with the request and comes back.
    CorrelationId,
    /// Every request carries an address of its own to reply to.
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

/// Asks.
pub trait Requester {
    /// Sends the request and returns its reply. Many may be in flight; labs
    /// that work in lockstep take turns inside. Dropping the future abandons
    /// the request: its late reply is dropped, never handed to another.
    async fn ask(&self, request: Command) -> Result<Document>;
}

/// Answers.
pub trait Responder {
    /// Where a reply goes; by value, so that a request is answered once.
    type ReplyTo;
    /// The next request. Cancel-safe. Replies accepted earlier are written
    /// before this waits. `None` only when no requester can come any more.
    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>>;
    /// Accepts the reply; it is written at the latest when [`Responder::next`]
    /// has to wait. A requester that has gone is not an error.
    async fn reply(&mut self, to: Self::ReplyTo, reply: Document) -> Result<()>;
}

/// The request/reply contract.
pub trait RequestReply: Lab {
    /// How replies find their requests.
    const MATCHING: Matching;
    /// The asking end.
    type Requester: Requester;
    /// The answering end.
    type Responder: Responder;
    /// Joins as a requester.
    async fn requester(&self) -> Result<Self::Requester>;
    /// Joins as a responder.
    async fn responder(&self) -> Result<Self::Responder>;
}
