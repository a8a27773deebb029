//! How a role that is played by hand does many things by itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a consumer, a worker or a responder handles what it gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// Work on each message, milliseconds.
    pub work_ms: u64,
    /// Messages with this text in them take longer, milliseconds.
    pub slow: Option<(String, u64)>,
    /// When a delivery is acknowledged.
    pub ack: AckWhen,
    /// Messages with this text in them cannot be handled: their deliveries are given back.
    pub refuse: Option<String>,
    /// The effect of the work is not reported: the acknowledgement says enough.
    pub quiet: bool,
    /// The file in which an idempotent consumer remembers the messages whose effect is there.
    pub once: Option<PathBuf>,
}

/// When a delivery is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AckWhen {
    /// When the work is done.
    #[default]
    After,
    /// Before the work begins.
    Before,
    /// Not at all.
    Never,
}

/// Many messages: `PREFIX0000`, `PREFIX0001` and so on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Burst {
    /// What the messages begin with.
    pub prefix: String,
    /// The number of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// From one to the next, microseconds; 0: as fast as it goes.
    pub every_us: u64,
    /// Bodies are filled with spaces up to this size, bytes.
    pub size: usize,
    /// Most messages of a producer that are sent and not confirmed; 0: no limit.
    pub in_flight: usize,
    /// Messages belong in turn to so many keys, named `a`, `b` and so on: `PREFIX0000@a`; 0: to none.
    pub keys: u32,
    /// What a flush follows.
    pub flush: Flush,
}

/// Which messages of a burst are followed by a flush.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flush {
    /// Every message.
    #[default]
    Each,
    /// The last one.
    Last,
    /// None: it would wait for those that do not read.
    Never,
}

impl Burst {
    /// The text of a message, without what fills it up.
    pub fn text(&self, number: u32) -> String {
        let key = number.checked_rem(self.keys).and_then(|key| char::from_u32(u32::from('a') + key));
        let key = key.map(|key| format!("@{key}")).unwrap_or_default();
        format!("{}{number:04}{key}", self.prefix)
    }

    /// The body of a message.
    pub fn body(&self, number: u32) -> Vec<u8> {
        let mut body = self.text(number).into_bytes();
        body.resize(body.len().max(self.size), b' ');
        body
    }

    /// The numbers of its messages.
    pub fn numbers(&self) -> std::ops::Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }
}
