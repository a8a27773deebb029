//! The account of a fault: from what became of every message to times, counts and a verdict.
//!
//! Pure: the same observations give the same account. All times are ns from the common start.
//!
//! | figure | definition |
//! | --- | --- |
//! | the fault | from the begin of the first injection to the end of the last |
//! | service | a confirmation; a receipt, where nothing is confirmed |
//! | response | from due to received, by the slowest of the receivers that expect the message |
//! | to detect | from the fault's begin to the first of: a role that noticed a lost connection, connected again or failed, a message that was refused, a deadline that was missed |
//! | deadline | 100 ms after due, or ten times the p99 of response before the fault, if that is more |
//! | without service | the longest time between two services, of those that begin before 100 ms after the fault's end and end after its begin |
//! | to recover | from the fault's end to the begin of the first 100 ms whose messages had a p99 of response of at most twice that before the fault |
//! | backlog | most messages due and not yet received at one moment from the fault's begin on; those that are never received do not count |
//! | drain | from the fault's end until the backlog, past its peak, was as small as its largest before the fault |
//! | lost | not received, and the drain has shown that nothing more comes; otherwise it is *unaccounted* |
//! | beginning, middle, end | lost although confirmed: confirmed before the fault, during it, after it |
//!
//! The verdict follows from the guarantee, where it covers the fault. *Kept* means:
//!
//! - at most once: each receiver gets messages again that were sent after the fault, nothing comes
//!   twice, and nothing is lost outside of the window. The window of a sender and a receiver begins
//!   100 ms before the fault (or twice the p99 of response, if that is more: what was in flight), and
//!   ends when the receiver has the first message that was sent after the fault, or when the last
//!   role has connected again.
//! - at least once, durable: no confirmed message is lost.
//!
//! A broken promise needs one message as its witness. Without one, the verdict is *cannot tell* when
//! there was no service during or after the fault, when there were fewer than 20 services before or
//! after it, or when a message that would matter is unaccounted for.

mod counts;
mod deliveries;
mod observed;
mod record;
mod settle;
#[cfg(test)]
mod tests;
mod times;
mod verdict;
mod witness;

pub use observed::{Account, Observed};
pub use settle::account;
