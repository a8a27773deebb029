//! The faults applied to messages in transit. The seed alone decides which messages are
//! affected, so the same seed affects the same messages.

use serde::Serialize;

/// Which message: its sender's number, and its number with that sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) producer: u32,
    pub(super) sequence: u64,
}

/// A fault of a single message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// The client says no.
    Refused,
    /// Accepted, confirmed where the pattern confirms, and dropped.
    Dropped,
    /// Accepted, never confirmed, and dropped.
    Swallowed,
    /// Delivered twice.
    Repeated,
    /// Delivered twice, the second time marked as a redelivery.
    RepeatedMarked,
    /// Delivered once, marked as a redelivery: who had it first died with it.
    Marked,
    /// Overtaken by the messages behind it.
    Late,
    /// One bit is flipped.
    Damaged,
    /// A message of another run comes with it.
    Strayed,
    /// Its request is answered with the reply to another one.
    Misanswered,
    /// It takes longer than the others.
    Slow,
}

/// One pause of the transport.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    /// When it begins, ns from the common start.
    pub(super) at_ns: u64,
    /// How long it is, ns.
    pub(super) for_ns: u64,
}

/// A sender's clock that jumps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The first message whose header has the time of the changed clock.
    pub(super) from: u64,
    /// How far, ns; below zero it falls behind.
    pub(super) by_ns: i64,
}

/// Everything that is done. The default does nothing: a perfect transport.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// Harms, with how many messages of a thousand suffer each; at most one each.
    pub(super) shares: &'static [(Harm, u32)],
    /// The only receiver that is harmed; all of them without it.
    pub(super) only: Option<usize>,
    /// The latency of every message, ns.
    pub(super) delay_ns: u64,
    /// The extra latency of a slow message, ns.
    pub(super) slow_ns: u64,
    /// How many later messages overtake a late one.
    pub(super) overtaken_by: usize,
    /// Nothing passes.
    pub(super) stall: Option<Pause>,
    /// The sender's call does not return.
    pub(super) block: Option<Pause>,
    /// The receiver takes one message in this time, ns.
    pub(super) gap_ns: Option<u64>,
    /// From accepted to confirmed, ns.
    pub(super) confirm_ns: u64,
    /// The sender's clock jumps.
    pub(super) clock: Option<Step>,
}

impl Faults {
    /// The faults of a message on its way to a receiver.
    pub(super) fn harm(&self, seed: u64, id: Id, receiver: usize) -> Option<Harm> {
        if self.only.is_some_and(|only| only != receiver) {
            return None;
        }
        let mut drawn = (lot(seed, id, receiver as u64) % 1000) as u32;
        for (harm, share) in self.shares {
            if drawn < *share {
                return Some(*harm);
            }
            drawn -= share;
        }
        None
    }

    /// The error of the clock that writes a message's header, ns.
    pub(super) fn shift(&self, id: Id) -> i64 {
        self.clock.filter(|step| id.sequence >= step.from).map_or(0, |step| step.by_ns)
    }
}

/// A number that looks random and belongs to the message: two rounds of
/// splitmix64's output function (Steele, Lea and Flood, "Fast Splittable
/// Pseudorandom Number Generators").
pub(super) fn lot(seed: u64, id: Id, salt: u64) -> u64 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let whose = mix(seed ^ (u64::from(id.producer) << 32) ^ (salt << 48));
    mix(whose.wrapping_add(id.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_have_their_shares_and_come_from_the_seed() {
        let faults = Faults { shares: &[(Harm::Dropped, 20), (Harm::Late, 100)], ..Faults::default() };
        let harms = |seed| -> Vec<Option<Harm>> {
            (0..100_000).map(|sequence| faults.harm(seed, Id { producer: 0, sequence }, 0)).collect()
        };
        let drawn = harms(7);
        assert_eq!(drawn, harms(7));
        assert_ne!(drawn, harms(8));
        // Binomial deviations are 44 and 95; these bounds are five of them.
        let count = |harm| drawn.iter().filter(|drawn| **drawn == Some(harm)).count();
        assert!(count(Harm::Dropped).abs_diff(2_000) < 220, "{}", count(Harm::Dropped));
        assert!(count(Harm::Late).abs_diff(10_000) < 475, "{}", count(Harm::Late));
    }

    #[test]
    fn one_receiver_may_be_the_only_one_to_suffer() {
        let faults = Faults { shares: &[(Harm::Dropped, 1000)], only: Some(1), ..Faults::default() };
        let id = Id { producer: 0, sequence: 3 };
        assert_eq!([0, 1, 2].map(|to| faults.harm(1, id, to)), [None, Some(Harm::Dropped), None]);
    }
}
