//! What is not done in every trial.

use std::path::Path;

use anyhow::Result;
use labs::catalog::Pattern;

use super::{Spec, receivers};
use crate::recording::{self, Recording, Sources};
use crate::results::Pause;
use crate::role::protocol::{Kind, roles};

/// What a trial does besides offering the load and counting what comes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Script {
    /// Note every single message.
    pub record: bool,
    /// Make the private broker stand still for a while.
    pub pause: Option<Pause>,
    /// A closed loop at a pace: no message is sent before the last was received,
    /// and what was due meanwhile is never sent. Not a way to measure: it is what
    /// `lab wrong-views` holds beside the open loop. One-way and
    /// publish/subscribe only; a message that is lost ends it.
    pub lockstep: bool,
    /// Neither stamp nor account nor record, only counts; see `record/bare.rs`.
    pub bare: bool,
}

/// The recording of a trial that has ended.
pub(super) fn recording(spec: &Spec, accounts: &Path) -> Result<Recording> {
    let sender = roles(spec.handle.entry.pattern)[0];
    let (receiver, count) = receivers(spec);
    let names = |kind: Kind, count: usize| (0..count).map(|index| format!("{kind}-{index}")).collect();
    recording::gather(&Sources {
        accounts,
        senders: names(sender, spec.senders),
        receivers: names(receiver, count),
        copies: matches!(spec.handle.entry.pattern, Pattern::PubSub | Pattern::Durable),
    })
}
