//! What is known when a run is over, and what is said of it.

use labs::catalog::Pattern;
use labs::lab::Guarantee;

use crate::fault::Covered;
use crate::results::{
    FaultCounts, FaultEvent, FaultInterval, FaultTimes, Injected, MessageFate, Verdict, Witness,
};

/// What is known when a run is over.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What the lab is held to.
    pub guarantee: Guarantee,
    /// Its pattern.
    pub pattern: Pattern,
    /// Whether messages are confirmed to their sender. If not, receipts take the place of confirmations.
    pub confirms: bool,
    /// Whether the guarantee covers the faults: [`crate::fault::covers_all`].
    pub covered: Covered,
    /// How many receivers there are, in the sense of receipts: requesters, for request/reply.
    pub receivers: u32,
    /// Of these, the ones that were killed and not started again. Of publish/subscribe, nothing is
    /// expected of them.
    pub gone: Vec<u32>,
    /// What was done, with the times at which it was done. In the order of time.
    pub injections: Vec<Injected>,
    /// Every message that was due.
    pub messages: Vec<MessageFate>,
    /// What roles and the fault engine did.
    pub events: Vec<FaultEvent>,
    /// Roles that ended with an error, which nobody had killed, and the error.
    pub failures: Vec<(String, String)>,
    /// Whether the drain ended because nothing more can come. If it timed out, what is missing is
    /// unaccounted for.
    pub drained: bool,
}

/// What is said of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// How long the fault was felt.
    pub times: FaultTimes,
    /// What became of the messages.
    pub counts: FaultCounts,
    /// Every 50 ms.
    pub series: Vec<FaultInterval>,
    /// Whether the promise was kept.
    pub verdict: Verdict,
    /// The reason.
    pub why: String,
    /// The proof, where it was not.
    pub witness: Option<Witness>,
    /// The event record: at most 200 messages, in the order in which they were due.
    pub messages: Vec<MessageFate>,
    /// The events, in the order of time.
    pub events: Vec<FaultEvent>,
}
