//! The schedule of a run: the remaining trials, in random order.

use std::collections::BTreeMap;

use labs::lab::{Broker, Guarantee};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use crate::results::Run;
use crate::roles::Handle;

/// One trial that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) cell: usize,
    pub(super) trial: usize,
}

/// Which broker a lab needs, and whether it has to keep things on disk.
pub(super) type Need = Option<(Broker, bool)>;

/// The trials that share one start of a broker.
pub(super) struct Block {
    pub(super) broker: Need,
    pub(super) steps: Vec<Step>,
}

/// One trial of every case that does not have it yet.
pub(super) struct Round {
    /// The number of trials that each case has after it.
    pub(super) trials: usize,
    pub(super) blocks: Vec<Block>,
}

/// The remaining trials in random order: round by round, broker by broker (one lives at a time
/// and is new in each round), trial by trial.
pub(super) fn schedule(run: &Run, handles: &[Handle], random: &mut SmallRng) -> Vec<Round> {
    let mut rounds = Vec::new();
    for trial in 0..run.plan.trials {
        let mut round: BTreeMap<Need, Vec<Step>> = BTreeMap::new();
        for (at, cell) in run.cells.iter().enumerate() {
            let Some(handle) = handles.iter().find(|handle| handle.entry.name == cell.lab) else { continue };
            if cell.part_of.is_some() {
                continue;
            }
            if !cell.trials.iter().any(|done| done.index == trial && done.failed.is_none()) {
                round.entry(need(handle)).or_default().push(Step { cell: at, trial });
            }
        }
        let mut blocks: Vec<Block> = round
            .into_iter()
            .map(|(broker, mut steps)| {
                steps.shuffle(random);
                Block { broker, steps }
            })
            .collect();
        blocks.shuffle(random);
        if !blocks.is_empty() {
            rounds.push(Round { trials: trial + 1, blocks });
        }
    }
    rounds
}

/// The broker that a lab needs. Redis writes to disk only for labs that need it.
pub(super) fn need(handle: &Handle) -> Need {
    let durable = handle.entry.guarantee == Guarantee::Durable && handle.entry.broker == Some(Broker::Redis);
    handle.entry.broker.map(|broker| (broker, durable))
}
