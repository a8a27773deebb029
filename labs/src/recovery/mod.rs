//! Recovery: what happens when the connection to the broker or to a peer is lost.
//!
//! [`Recovering<L>`](Recovering) is the lab `L` with recovery. It implements the same contracts with
//! the same constants. When an operation of one of its ends fails because the connection is gone,
//! or because the broker is starting again ([`is_transient`]), it drops that end, opens the lab and
//! joins again, and goes on as the contract demands. Every other error is *final* and is returned
//! at once: a refused login, a message that is too large, something that is not permitted.
//!
//! What happens to a message depends on who is responsible for it:
//!
//! | end | when its connection is lost |
//! | --- | --- |
//! | sender, publisher: at most once | the message is given up, because it may have been written; what was accepted and not written is lost |
//! | publisher, `push`: at least once | all that was accepted since the last `flush` is sent again |
//! | producer | every `send` in flight sends its message again, until it is confirmed |
//! | receiver, subscriber | joins again; what was sent meanwhile is missed |
//! | consumer, `pull` | joins again; unsettled deliveries come again, and their old receipts do nothing |
//! | requester | the `ask` fails with [`ConnectionLost`]: its caller decides whether to ask again; at least once: asks again |
//! | responder | joins again; replies to requests from before are dropped |
//!
//! Read in this order: [`Delays`] says how often and how long it is tried, `link` holds an end and
//! opens it again, `shared` does so for ends that many calls use at once, `outgoing` keeps what is
//! not confirmed, and one file for each contract puts these together.
//!
//! Limits: the first attempt is made at once, later ones after 10 ms, doubling up to 1 s, each with
//! jitter. An attempt may take 10 s. 30 s after the last success it is given up, and the operation
//! returns the last error. Nothing here costs anything while the connection holds: an end is
//! checked for presence, and a message of an at-least-once publisher is counted by reference.
//!
//! An end that connects, connects again to the same addresses. An end that listens goes on
//! listening: there, a peer that leaves is not an error.
//!
//! Some labs without a broker connect again by themselves, because they hold several connections
//! and lose one at a time: the requesters of `reqrep-tcp`, `reqrep-unix`, `reqrep-websocket`,
//! `reqrep-http` and `reqrep-zeromq`, and the consumers of `queue-tcp` and `queue-zeromq`. The
//! table holds for them, too.
//!
//! What is sent again may come twice. [`Remembered`] is what a receiver needs to be *idempotent*: to do
//! once what comes twice.

use anyhow::Result;

use crate::lab::{Broker, BrokerFeature, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};

mod backoff;
mod link;
mod oneway;
mod outgoing;
mod pipeline;
mod pubsub;
mod queue;
mod remembered;
mod reqrep;
mod shared;
mod transient;

#[cfg(test)]
mod tests;

#[cfg(feature = "outbox")]
pub(crate) use backoff::with_jitter;
pub use backoff::{Delays, Retry};
pub use remembered::Remembered;
pub use transient::{ConnectionLost, Disconnected, disconnected, is_transient};

/// The lab `L`, whose lost connections are opened again where `L::RECOVERY` is
/// [`Recovery::Ours`]. Elsewhere it passes every call and every error on.
pub struct Recovering<L> {
    lab: L,
    place: Place,
}

impl<L: Lab> Lab for Recovering<L> {
    const TRANSPORT: &'static str = L::TRANSPORT;
    const VARIANT: Option<&'static str> = L::VARIANT;
    const BROKER: Option<Broker> = L::BROKER;
    const BROKER_SINCE: Option<(u32, u32)> = L::BROKER_SINCE;
    const BROKER_FEATURES: &'static [BrokerFeature] = L::BROKER_FEATURES;
    const GUARANTEE: Guarantee = L::GUARANTEE;
    const OVERLOAD: Overload = L::OVERLOAD;
    const JOIN: Join = L::JOIN;
    const RECOVERY: Recovery = L::RECOVERY;
    const KNOBS: &'static [Knob] = L::KNOBS;

    /// Opens `L`. The first time an error is returned at once: nobody has joined yet, and an
    /// address may simply be wrong.
    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { lab: L::open(place).await?, place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        L::remove(place).await
    }
}
