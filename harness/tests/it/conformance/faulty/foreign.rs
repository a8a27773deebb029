//! What the lab in memory takes for a message that no lab wrote.

use anyhow::{Result, ensure};
use labs::lab::Place;

use super::fault::*;

/// Its body.
pub(in super::super) const FOREIGN: &[u8] = b"foreign";

/// Whether to skip a body. It is counted, unless that is the fault.
pub(super) fn skips(body: &[u8], place: &Place, fault: usize) -> Result<bool> {
    if body != FOREIGN {
        return Ok(false);
    }
    ensure!(fault != ENDS_AT_FOREIGN, "this is not a message of a lab");
    if fault != IGNORES_FOREIGN {
        place.message_skipped("a foreign body");
    }
    Ok(true)
}
