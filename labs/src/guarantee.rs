//! What a lab promises about its messages. A setting can take something from it
//! (`Knob::weaker`).

use std::fmt;

/// What a lab promises about a message it has taken responsibility for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guarantee {
    /// Each message arrives once or not at all. None is lost while nothing fails, unless the lab
    /// drops messages under overload (`Overload::Drops`).
    AtMostOnce,
    /// A confirmed message arrives at least once while the broker (or the peer
    /// that holds it) lives; a crash of the consumer loses none.
    AtLeastOnce,
    /// As above, and confirmed messages survive kill -9 of the process that
    /// holds them: the broker, or the producer if the queue lives with it.
    /// They are available again after its restart.
    Durable,
}

impl Guarantee {
    /// The words used in reports and results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at-most-once",
            Self::AtLeastOnce => "at-least-once",
            Self::Durable => "durable",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
