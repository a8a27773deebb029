//! The embedded MQTT broker, for machines on which nothing can be installed: `rumqttd`,
//! in a process of its own, so that it can be measured, paused and killed like the
//! others.
//!
//! It exists when `lab` was built with `--features embedded-mqtt`, which adds some 130
//! crates. It keeps everything in memory.

#[cfg(feature = "embedded-mqtt")]
mod here;

use std::collections::BTreeMap;

use labs::lab::Guarantee;

use super::private_options::About;
use crate::hint;

/// The name of its log.
pub(super) const LOG: &str = "embedded-mqtt";

/// The hidden subcommand that hosts it.
pub const COMMAND: &str = "embedded-mqtt";

/// Whether this program holds one.
pub const HERE: bool = cfg!(feature = "embedded-mqtt");

/// How to build a program that does.
pub const BUILD: &str = "cargo build --release -p harness --features embedded-mqtt";

/// Why durable labs do not run over it.
pub(super) fn keeps_nothing() -> String {
    format!(
        "the embedded MQTT broker keeps everything in memory, but durable labs need a broker whose messages \
         survive kill -9; install Mosquitto with `{}`",
        hint::command(&["doctor", "--install"])
    )
}

/// Which version, in listings and results.
pub const VERSION: &str = "rumqttd 0.20 (embedded)";

/// Bytes in a segment of a topic's log, and how many segments are kept: a
/// subscriber that falls further behind misses what is in the oldest.
const SEGMENTS: (usize, usize) = (64 << 20, 8);
/// Longest message, bytes.
const MAX_PAYLOAD: usize = 16 << 20;
/// Messages on their way to one client.
const IN_FLIGHT: usize = 65_000;

pub(super) fn about() -> About {
    let (size, count) = SEGMENTS;
    let settings = [
        ("max_segment_size", size.to_string()),
        ("max_segment_count", count.to_string()),
        ("max_payload_size", MAX_PAYLOAD.to_string()),
        ("max_inflight_count", IN_FLIGHT.to_string()),
    ];
    About {
        version: VERSION.to_owned(),
        settings: BTreeMap::from(settings.map(|(name, value)| (name.to_owned(), value))),
        limit: Some((Guarantee::AtLeastOnce, keeps_nothing())),
        ..About::default()
    }
}

#[cfg(not(feature = "embedded-mqtt"))]
pub(super) fn launch(_: &super::private_options::Options<'_>) -> anyhow::Result<super::private::Private> {
    anyhow::bail!("this program has no embedded MQTT broker; build one that has it with `{BUILD}`")
}

#[cfg(feature = "embedded-mqtt")]
pub use here::host;
#[cfg(feature = "embedded-mqtt")]
pub(super) use here::launch;
