//! Optional trial features.

use crate::results::Pause;

/// What a trial does besides offering the load and counting what comes.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrialOptions {
    /// Note every single message.
    pub record: bool,
    /// Make the private broker stand still for a while.
    pub pause: Option<Pause>,
    /// A closed loop at a pace: no message is sent before the last was received,
    /// and what was due meanwhile is never sent. Not a way to measure: it is what
    /// `lab wrong-views` holds beside the open loop. One-way and
    /// publish/subscribe only; a message that is lost ends it.
    pub lockstep: bool,
}
