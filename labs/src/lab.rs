//! The trait that every lab implements, with the guarantees, overload policies and ways to
//! join that a lab declares.
//!
//! This crate distinguishes four words: a message is *accepted* when the
//! client took it, *written* when it left the process, *confirmed* when the
//! other side took responsibility for it, and *received* when the far role has it.
//! Some clients cannot tell when a message is written; their labs say so.
//!
//! What `GUARANTEE`, `OVERLOAD` and `JOIN` mean for a pattern is written in its contract, for
//! example [`crate::queue`].
//!
//! The header of each lab's file says what is special about it, in four sections:
//!
//! - *Wire*: what goes over the wire, and who connects to whom.
//! - *Confirms*: what is confirmed, by whom, and what a call has done when it returns.
//! - *Survives*: the failures after which the lab goes on, and who connects again then. This does
//!   not say that no message is lost.
//! - *Loses*: which messages are gone after such a failure, or under overload, and which come twice.
//!
//! So a lab can survive a cut connection, because its roles join again by themselves, and lose the
//! messages that were on their way.
//!
//! `PLACE` in these headers, and in the commands that they name, stands for the name of the run,
//! [`Place::name`]: whatever a lab makes on a broker is named after it, or after it and a namespace
//! (`PLACE.tasks`). `lab run`, `lab bench` and `lab break` choose a new name for each run (`lab-` or
//! `lab-run-` or `lab-break-`, then eight hexadecimal digits) and do not print it: list what is on the
//! broker to see it. `lab play` uses `lab-play-PATTERN` (with a lab's variant behind it), or the name
//! after `--place`.

use std::fmt;

use anyhow::Result;

pub use crate::address::{BrokerAddress, Endpoint, Login};
pub use crate::broker::Broker;
pub use crate::guarantee::Guarantee;
pub use crate::knob::Knob;
pub use crate::place::{Directory, Place, Registry};

/// One pattern over one transport.
pub trait Lab: Sized + 'static {
    /// `"redis"`: with the pattern (and a variant) it is the lab's name, `pubsub-redis`.
    const TRANSPORT: &'static str;
    /// Tells two labs of one pattern and transport apart: `zeromq-dealer`.
    const VARIANT: Option<&'static str> = None;
    /// The broker between the peers; `None` if they connect directly.
    const BROKER: Option<Broker>;
    /// The oldest version of the broker that has all commands of the lab, as in `(7, 0)`.
    const BROKER_SINCE: Option<(u32, u32)> = None;
    /// What the lab needs of its broker that not every broker of this protocol has.
    const BROKER_FEATURES: &'static [BrokerFeature] = &[];
    /// What the lab promises about a message when something fails.
    const GUARANTEE: Guarantee;
    /// What happens to new messages when the receiving side is too slow.
    const OVERLOAD: Overload;
    /// Whether a role is certain to have joined when the call returns.
    const JOIN: Join;
    /// Who opens a connection again that was lost; see [`crate::recovery`].
    const RECOVERY: Recovery;
    /// The settings of this lab: all knobs that it reads with [`Place::knob`]. The channel that
    /// carries a pipeline's signal to stop is a publish/subscribe lab with knobs of its own.
    const KNOBS: &'static [Knob] = &[];

    /// Prepares the lab. Most labs over a broker check here that it is there, or create on it what
    /// they must have, such as a queue; the others only remember the place. No role has joined yet.
    async fn open(place: &Place) -> Result<Self>;

    /// Removes what the place has left on the broker, as far as the protocol can list it: the
    /// session of a durable subscriber over MQTT stays until it is forgotten. Called once, after
    /// all roles have left. It is not an error if there is nothing to remove.
    async fn remove(place: &Place) -> Result<()>;
}

/// What one broker of a protocol has and another lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrokerFeature {
    /// MQTT: several clients share a subscription, and each message goes to one of them.
    SharedSubscriptions,
    /// MQTT: messages at QoS 2.
    QualityOfService2,
}

impl BrokerFeature {
    /// Its name, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SharedSubscriptions => "shared subscriptions",
            Self::QualityOfService2 => "QoS 2",
        }
    }
}

/// What happens to new messages when the receiving side does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Overload {
    /// The sender waits: back-pressure reaches it.
    Waits,
    /// Messages are dropped, silently or counted.
    Drops,
    /// The slow receiver is disconnected.
    Disconnects,
    /// Messages are stored until the receiver fetches them, limited by memory or disk.
    Stores,
}

impl Overload {
    /// The words used in reports and results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Drops => "drops",
            Self::Disconnects => "disconnects",
            Self::Stores => "stores",
        }
    }
}

/// Whether a role is live when the call that joins (subscribes, connects) returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Join {
    /// Live when the call returns, because the other side has confirmed it.
    Confirmed,
    /// The other side does not confirm it: send probes until one arrives.
    Probed,
}

impl Join {
    /// The words used in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Probed => "probed",
        }
    }
}

/// Who opens a connection again that was lost, and joins again. The table in [`crate::recovery`]
/// says what is sent again then, and what is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// The client library, by itself. No lab uses it at present: the clients' own reconnecting is
    /// off.
    Client,
    /// This crate: the recovery layer, [`Recovering`](crate::recovery::Recovering), which wraps the
    /// lab, or the lab itself where its header says so.
    Ours,
    /// Nobody: there is no connection that could be lost.
    Nobody,
}

impl Recovery {
    /// The words used in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Ours => "ours",
            Self::Nobody => "nobody",
        }
    }
}

macro_rules! display_as_str {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    )*};
}
display_as_str!(Overload, Join, Recovery);
