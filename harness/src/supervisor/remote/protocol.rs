//! The lines between the supervisor and an agent: one JSON object a line, on the agent's stdin and
//! stdout.

use serde::{Deserialize, Serialize};

use crate::measure::account::Page;
use crate::results::{Host, Noise};
use crate::roles::protocol::{FromRole, ToRole};

/// The longest line that is read, bytes: a message set's pages, packed.
pub(super) const LONGEST: usize = 8 << 20;

/// What a program is: both sides have to be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The version of `lab`, and the source revision.
    pub(super) version: String,
    /// The transports and applications that are built in.
    pub(super) features: Vec<String>,
}

impl Identity {
    pub(super) fn own() -> Self {
        let built = [
            ("apps", cfg!(feature = "apps")),
            ("http", cfg!(feature = "http")),
            ("mqtt", cfg!(feature = "mqtt")),
            ("nats", cfg!(feature = "nats")),
            ("outbox", cfg!(feature = "outbox")),
            ("rabbitmq", cfg!(feature = "rabbitmq")),
            ("redis", cfg!(feature = "redis")),
            ("stomp", cfg!(feature = "stomp")),
            ("websocket", cfg!(feature = "websocket")),
            ("zeromq", cfg!(feature = "zeromq")),
        ];
        let features = built.iter().filter(|(_, built)| *built).map(|(name, _)| (*name).to_owned());
        Self { version: crate::measure::host::version(), features: features.collect() }
    }

    /// `lab 0.1.0 (abc1234) with redis, zeromq`.
    pub(super) fn told(&self) -> String {
        let with =
            if self.features.is_empty() { "no transport".to_owned() } else { self.features.join(", ") };
        format!("lab {} with {with}", self.version)
    }
}

/// A line to an agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ToAgent {
    /// The first line: who asks.
    Hello(Identity),
    /// Say what time it is.
    Ping(u64),
    /// For the role.
    Role(Box<ToRole>),
    /// What has changed in others' accounts.
    Pages(Vec<Page>),
}

/// A line from an agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FromAgent {
    /// The answer to the first line: who is there, and on what machine.
    Hello(Identity, Box<Host>),
    /// The answer to a ping: its number, and the agent's own clock, ns.
    Pong(u64, u64),
    /// From the role.
    Role(Box<FromRole>),
    /// What has changed in the role's accounts.
    Pages(Vec<Page>),
    /// The role has ended; why, if not as it should, and how quiet the machine was meanwhile.
    Left(Option<String>, Noise),
}
