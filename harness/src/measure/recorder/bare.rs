//! The bare loop: the same roles over the same lab, but with no stamp, no
//! checksum, no account and no record. What it moves more than the measured
//! loop is what the harness holds back, and that is all it is for: it cannot
//! tell a lost message from a slow one, so no result is made of it.

use bytes::Bytes;

/// Messages for each look at the clock.
pub(super) const LOOK: u32 = 64;

/// A sender that only counts.
pub(super) struct BareSender {
    pub(super) message: Bytes,
}

/// A receiver that only counts.
#[derive(Default)]
pub(super) struct BareReceiver {
    pub(super) count: u64,
}
