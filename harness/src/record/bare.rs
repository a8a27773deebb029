//! The bare loop: the same roles over the same lab, but with no stamp, no
//! checksum, no account and no record. What it moves more than the measured
//! loop is what the harness holds back, and that is all it is for: it cannot
//! tell a lost message from a slow one, so no result is made of it.

use bytes::Bytes;

use super::glance::Glance;
use super::{Books, Ledger, Seen};
use crate::account::{Counter, MAX_MESSAGES};
use crate::stamp::Stamp;

/// Messages for each look at the clock.
const LOOK: u32 = 64;

/// A sender that only counts.
pub(super) struct BareLedger {
    message: Bytes,
}

/// A receiver that only counts.
#[derive(Default)]
pub(super) struct BareBooks {
    count: u64,
}

impl Ledger {
    /// Makes it a bare one, which sends the same message over and over.
    pub fn strip(&mut self) {
        let message = self.message(0, 0, 0);
        self.bare = Some(BareLedger { message });
        self.glance = Glance::every(LOOK);
    }

    /// The message of a bare loop.
    #[inline]
    pub(super) fn bare_message(&self) -> Option<Bytes> {
        Some(self.bare.as_ref()?.message.clone())
    }
}

impl Books {
    /// Makes them bare ones.
    pub fn strip(&mut self) {
        self.bare = Some(BareBooks::default());
        self.glance = Glance::every(LOOK);
    }

    /// Counts a message, if these are bare books and it is no marker.
    #[inline]
    pub(super) fn count_bare(&mut self, message: &[u8]) -> Option<Seen> {
        let bare = self.bare.as_mut()?;
        if Stamp::peek(message) >= MAX_MESSAGES {
            return None;
        }
        self.measured += u64::from(self.window.holds(self.glance.now()));
        bare.count += 1;
        self.counters.set(Counter::Received, bare.count);
        self.counters.set_progress(0, bare.count);
        Some(Seen::New)
    }
}
