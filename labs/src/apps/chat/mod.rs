//! A chat, written once: publish/subscribe between browsers, over whatever
//! transport is named.
//!
//! Each *instance* is a web server. A browser talks to one of them over a
//! WebSocket, and the instances talk to each other over a publish/subscribe lab
//! ([`relay`]). Over `none` that lab lives in the instance's own memory, and two
//! instances are two islands. A room is a topic; an instance subscribes to all
//! rooms at once with the transport's own wildcard ([`room`]).
//!
//! Where the transport has durable subscribers, a *history service* ([`history`])
//! is one of them: it keeps what was said in a store of its own, acknowledges it
//! when the store has it, and answers questions over the same transport's
//! request/reply lab ([`archive`]). What comes live may be lost on the way; what
//! the history says is complete, in its order, and without duplicates. So the
//! [`hub`] hands browsers both, and identifiers tell what they have already.
//!
//! An instance tells the time, for the page to show how long each leg took. The
//! labs have no clock, and neither has this: it is handed one.
//!
//! Start it: `just chat redis`.

pub mod archive;
mod client;
pub mod history;
pub mod hub;
pub mod instance;
pub mod message;
pub mod over;
pub mod relay;
pub mod room;
pub mod store;

/// Microseconds since 1970, of a clock that all processes of a machine share.
pub type Now = fn() -> u64;
