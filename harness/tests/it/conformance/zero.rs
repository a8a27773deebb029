//! A knob that is turned down to 0 is taken as the smallest value that works, or refused, or
//! does what it says: messages that are kept for 0 ms are lost. It is never a panic, and no
//! call waits for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::{Result, ensure};
use labs::lab::Knob;

use super::{Promise, Site};

/// How long a message is waited for. Some knobs lose messages at 0, and then it never comes.
const PATIENCE: Duration = Duration::from_secs(2);
/// No exchange takes this long, on however slow a machine, unless it waits for what cannot come.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a promise's exchange once for each knob, with that knob at 0. What the lab promises may
/// depend on the knob, so an error is an answer, too.
pub(super) fn at_zero(knobs: &[Knob], site: &Site, exchange: &Promise) -> Result<()> {
    for knob in knobs {
        let name = format!("{}-{}", site.place().name(), knob.name);
        let site = site.clone().called(&name).with(&[(knob.name, 0)]).with_patience(PATIENCE);
        let ended = catch_unwind(AssertUnwindSafe(|| exchange.hold_within(site, LIMIT)));
        ensure!(ended.is_ok(), "zero: `{}` = 0 is a panic", knob.name);
        // A panic of a task is an error of the role that waits for it.
        let error = ended.ok().and_then(Result::err).map(|error| format!("{error:#}")).unwrap_or_default();
        let bad = ["panicked", "the check does not end"].iter().any(|word| error.contains(word));
        ensure!(!bad, "zero: `{}` = 0: {error}", knob.name);
    }
    Ok(())
}
