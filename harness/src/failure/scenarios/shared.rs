//! What several scenarios need.

use labs::catalog::Entry;
use labs::lab::Guarantee;

/// Knobs with which work that nobody finishes is given to another consumer soon.
pub(super) const SOON: [(&str, usize); 5] =
    [("play-prefetch", 1), ("lease-ms", 1_000), ("claim-ms", 1_000), ("look-ms", 50), ("wait-ms", 50)];

/// Why roles of a lab cannot be killed or stopped.
pub(super) fn one_process(entry: &Entry) -> Option<&'static str> {
    entry.in_process().then_some("its roles are threads of one process, which cannot be killed")
}

/// Why a lab does not keep messages.
pub(super) fn keeps_nothing(entry: &Entry) -> Option<&'static str> {
    (entry.guarantee == Guarantee::AtMostOnce)
        .then_some("it promises at most one delivery, and keeps nothing")
}
