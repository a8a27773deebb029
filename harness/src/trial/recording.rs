//! The message trace of a trial that has ended, put together from its roles' files.

use std::path::Path;

use anyhow::Result;

use super::spec::{Spec, receivers};
use crate::measure::trace::{self, MessageTrace, Sources};
use crate::roles::protocol::{Kind, kinds};

/// The recording of a trial that has ended.
pub(super) fn recording(spec: &Spec, accounts: &Path) -> Result<MessageTrace> {
    let sender = kinds(spec.handle.entry.pattern)[0];
    let (receiver, count) = receivers(spec);
    let names = |kind: Kind, count: usize| (0..count).map(|index| format!("{kind}-{index}")).collect();
    trace::gather(&Sources {
        accounts,
        senders: names(sender, spec.senders),
        receivers: names(receiver, count),
        copies: spec.handle.entry.pattern.is_fan_out(),
    })
}
