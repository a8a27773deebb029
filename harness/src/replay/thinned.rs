//! Leaves out messages, so that a picture and a file stay small.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Replay, ReplayWhat};

impl Replay {
    /// The replay with at most so many messages and events of messages. Messages that were lost, missed
    /// or delivered again come first. They fill at most half of the places, while there are usual
    /// messages for the other half.
    pub(super) fn thinned(mut self, most_messages: usize, most_events: usize) -> Self {
        let mut events: BTreeMap<&str, usize> = BTreeMap::new();
        let mut order: Vec<&str> = Vec::new();
        let (mut special, mut arrived) = (BTreeSet::new(), BTreeSet::new());
        for event in &self.events {
            let Some(message) = event.message.as_deref() else { continue };
            let count = events.entry(message).or_default();
            *count += 1;
            if *count == 1 {
                order.push(message);
            }
            let again = event.attempt.is_some_and(|attempt| attempt > 1);
            let unusual = matches!(
                event.what,
                ReplayWhat::Failed | ReplayWhat::Nacked | ReplayWhat::Dead | ReplayWhat::Note
            );
            if again || unusual {
                special.insert(message);
            }
            if matches!(event.what, ReplayWhat::Received | ReplayWhat::Answered) {
                arrived.insert(message);
            }
        }
        let is_special = |message: &&&str| special.contains(**message) || !arrived.contains(**message);
        let first = order.iter().filter(is_special).take(most_messages / 2);
        let (mut room, mut kept) = (most_events, BTreeSet::new());
        for message in first.chain(&order) {
            let takes = events[message];
            if kept.len() < most_messages && takes <= room && kept.insert((*message).to_owned()) {
                room -= takes;
            }
        }
        self.counted += (order.len() - kept.len()) as u64;
        self.events.retain(|event| event.message.as_ref().is_none_or(|message| kept.contains(message)));
        self
    }

    /// How many messages it has.
    pub(super) fn messages(&self) -> usize {
        self.events.iter().filter_map(|event| event.message.as_deref()).collect::<BTreeSet<_>>().len()
    }
}
