//! The state of a queue that lives with its producer: which messages wait, which
//! consumer has which of the others, how often each was delivered. No I/O, so that
//! it can be tested in every order of events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use crate::queue::{AttemptLimit, NACKED, UNSETTLED};

/// One message for one consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<C> {
    /// Who gets it.
    pub consumer: C,
    /// The message.
    pub id: u64,
    /// 1 when it is delivered for the first time.
    pub attempt: u32,
}

/// A delivery that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The message.
    pub id: u64,
    /// How many of its attempts have failed.
    pub attempts: u32,
    /// Why this one has.
    pub reason: &'static str,
    /// It is not delivered any more.
    pub dead: bool,
}

/// The messages that are not settled, and not dead. Its memory grows with what consumers hold, not
/// with what waits: messages that were never delivered are a range of numbers.
#[derive(Debug)]
pub struct QueueState<C> {
    /// Never delivered.
    fresh: Range<u64>,
    /// Delivered before, and given back; how often.
    again: BTreeMap<u64, u32>,
    /// Who has which, and how often it was delivered.
    held: HashMap<u64, (C, u32)>,
    consumers: BTreeMap<C, Holding>,
    /// Who got the last one.
    last: Option<C>,
    limit: AttemptLimit,
    /// Since they were taken last.
    failures: Vec<Failure>,
}

#[derive(Debug)]
struct Holding {
    limit: usize,
    ids: BTreeSet<u64>,
}

impl<C: Clone + Ord> QueueState<C> {
    /// An empty queue whose next message is `next`. What is `left` from an
    /// earlier life may have been delivered then: it counts as tried once.
    pub fn new(next: u64, left: impl IntoIterator<Item = u64>) -> Self {
        Self {
            fresh: next..next,
            again: left.into_iter().map(|id| (id, 1)).collect(),
            held: HashMap::new(),
            consumers: BTreeMap::new(),
            last: None,
            limit: AttemptLimit::NEVER,
            failures: Vec::new(),
        }
    }

    /// The same queue, in which a message dies at this limit.
    #[must_use]
    pub fn with_limit(self, limit: AttemptLimit) -> Self {
        Self { limit, ..self }
    }

    /// A message that is left from an earlier life has failed so often there.
    pub fn has_failed(&mut self, id: u64, attempts: u32) {
        self.again.entry(id).and_modify(|before| *before = attempts.max(*before));
    }

    /// The deliveries that have failed since this was asked last.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    fn failed(&mut self, id: u64, attempts: u32, reason: &'static str) {
        let dead = self.limit.is_reached(attempts);
        if !dead {
            self.again.insert(id, attempts);
        }
        self.failures.push(Failure { id, attempts, reason, dead });
    }

    /// Adds the next message; its number.
    pub fn add(&mut self) -> u64 {
        self.fresh.end += 1;
        self.fresh.end - 1
    }

    /// How many are not settled.
    pub fn len(&self) -> usize {
        usize::try_from(self.fresh.end - self.fresh.start).unwrap_or(usize::MAX)
            + self.again.len()
            + self.held.len()
    }

    /// Whether all is settled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any consumer is here.
    pub fn has_consumers(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// A consumer will hold at most `limit`. One that is here already stays.
    pub fn join(&mut self, consumer: C, limit: usize) {
        self.consumers.entry(consumer).or_insert_with(|| Holding { limit, ids: BTreeSet::new() });
    }

    /// A consumer has gone: what it holds comes back.
    pub fn leave(&mut self, consumer: &C) {
        self.leave_unsent(consumer, |_| false);
    }

    /// As [`QueueState::leave`]; what `is_unsent` never left the producer, so that no attempt has failed.
    pub fn leave_unsent(&mut self, consumer: &C, is_unsent: impl Fn(u64) -> bool) {
        for id in self.consumers.remove(consumer).into_iter().flat_map(|holding| holding.ids) {
            match self.held.remove(&id) {
                Some((_, attempt)) if is_unsent(id) => {
                    self.again.insert(id, attempt - 1);
                }
                Some((_, attempt)) => self.failed(id, attempt, UNSETTLED),
                None => {}
            }
        }
    }

    /// The next delivery, first of what was given back: to the next consumer in
    /// turn that may hold another.
    pub fn offer(&mut self) -> Option<Offer<C>> {
        self.offer_to(|_| true)
    }

    /// As [`QueueState::offer`], to a consumer that `can_take` something now.
    pub fn offer_to(&mut self, can_take: impl Fn(&C) -> bool) -> Option<Offer<C>> {
        if self.again.is_empty() && self.fresh.is_empty() {
            return None;
        }
        let consumer = self.next_consumer(can_take)?;
        let (id, before) = self.again.pop_first().or_else(|| self.fresh.next().map(|id| (id, 0)))?;
        let attempt = before + 1;
        self.held.insert(id, (consumer.clone(), attempt));
        self.consumers.get_mut(&consumer)?.ids.insert(id);
        self.last = Some(consumer.clone());
        Some(Offer { consumer, id, attempt })
    }

    fn next_consumer(&self, can_take: impl Fn(&C) -> bool) -> Option<C> {
        let has_room =
            |(consumer, holding): &(&C, &Holding)| holding.ids.len() < holding.limit && can_take(consumer);
        let after = self.last.as_ref().and_then(|last| {
            let others = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
            self.consumers.range(others).find(&has_room)
        });
        after.or_else(|| self.consumers.iter().find(&has_room)).map(|(consumer, _)| consumer.clone())
    }

    /// A consumer has acked a message; `false` if there was nothing to settle. It
    /// also counts when the consumer got it before its connection broke, or from the
    /// producer before that was started again.
    pub fn settle(&mut self, id: u64) -> bool {
        match self.held.remove(&id) {
            Some((consumer, _)) => {
                self.consumers.get_mut(&consumer).is_some_and(|holding| holding.ids.remove(&id))
            }
            None => self.again.remove(&id).is_some(),
        }
    }

    /// A consumer that holds a message gives it back.
    pub fn give_back(&mut self, consumer: &C, id: u64) {
        let Some(holding) = self.consumers.get_mut(consumer) else { return };
        if holding.ids.remove(&id)
            && let Some((_, attempt)) = self.held.remove(&id)
        {
            self.failed(id, attempt, NACKED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Place;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Add,
        Join(u8, usize),
        Leave(u8),
        Offer,
        Settle(u64),
        GiveBack(u8, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Add),
            1 => (0..4u8, 1..4usize).prop_map(|(consumer, limit)| Step::Join(consumer, limit)),
            1 => (0..4u8).prop_map(Step::Leave),
            4 => Just(Step::Offer),
            3 => (0..30u64).prop_map(Step::Settle),
            1 => (0..4u8, 0..30u64).prop_map(|(consumer, id)| Step::GiveBack(consumer, id)),
        ]
    }

    proptest! {
        /// Whatever happens, a message is in one place until it is settled, no
        /// consumer holds more than it wants, and the attempts count up.
        #[test]
        fn no_message_is_forgotten_or_doubled(steps in proptest::collection::vec(step(), 0..200)) {
            let mut queue = QueueState::new(0, []);
            let (mut open, mut had) = (BTreeSet::new(), BTreeMap::<u64, u32>::new());
            let mut holds = BTreeMap::<u8, (usize, BTreeSet<u64>)>::new();
            for step in steps {
                match step {
                    Step::Add => prop_assert!(open.insert(queue.add())),
                    Step::Join(consumer, limit) => {
                        queue.join(consumer, limit);
                        holds.entry(consumer).or_insert((limit, BTreeSet::new()));
                    }
                    Step::Leave(consumer) => {
                        queue.leave(&consumer);
                        holds.remove(&consumer);
                    }
                    Step::Offer => {
                        let room = holds.values().any(|(limit, ids)| ids.len() < *limit);
                        let held: usize = holds.values().map(|(_, ids)| ids.len()).sum();
                        let offer = queue.offer();
                        prop_assert_eq!(offer.is_some(), room && held < open.len());
                        if let Some(Offer { consumer, id, attempt }) = offer {
                            prop_assert!(open.contains(&id));
                            prop_assert!(holds.values().all(|(_, ids)| !ids.contains(&id)), "delivered twice");
                            let (limit, ids) = holds.get_mut(&consumer).expect("a consumer that is here");
                            prop_assert!(ids.len() < *limit);
                            ids.insert(id);
                            *had.entry(id).or_default() += 1;
                            prop_assert_eq!(attempt, had[&id]);
                        }
                    }
                    Step::Settle(id) => {
                        // One that was never delivered cannot be acked.
                        let known = open.contains(&id) && had.contains_key(&id);
                        prop_assert_eq!(queue.settle(id), known);
                        if known {
                            open.remove(&id);
                            holds.values_mut().for_each(|(_, ids)| ids.retain(|other| *other != id));
                        }
                    }
                    Step::GiveBack(consumer, id) => {
                        queue.give_back(&consumer, id);
                        if let Some((_, ids)) = holds.get_mut(&consumer) {
                            ids.remove(&id);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), open.len());
            }
            // All that is open can still be delivered, to one consumer that takes everything.
            for consumer in 0..4 {
                queue.leave(&consumer);
            }
            queue.join(9, usize::MAX);
            let rest: BTreeSet<u64> = std::iter::from_fn(|| queue.offer()).map(|offer| offer.id).collect();
            prop_assert_eq!(rest, open);
        }
    }

    #[test]
    fn consumers_are_served_in_turn() {
        let mut queue = QueueState::new(1, []);
        for consumer in ["a", "b", "c"] {
            queue.join(consumer, 2);
        }
        (0..9).for_each(|id| assert_eq!(queue.add(), id + 1));
        let turns: Vec<&str> = std::iter::from_fn(|| queue.offer()).map(|offer| offer.consumer).collect();
        assert_eq!(turns, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn what_is_left_from_an_earlier_life_comes_first_and_is_marked() {
        let mut queue = QueueState::new(10, [3, 7]);
        queue.join("a", 9);
        queue.add();
        let offers = std::iter::from_fn(|| queue.offer()).map(|offer| (offer.id, offer.attempt));
        assert_eq!(offers.collect::<Vec<_>>(), [(3, 2), (7, 2), (10, 1)]);
    }

    #[test]
    fn a_message_dies_when_it_has_failed_as_often_as_it_may() {
        let limit =
            AttemptLimit::of(&Place::new("state", None).with_knobs([("max-attempts".into(), 3)].into()));
        let mut queue = QueueState::new(1, []).with_limit(limit);
        let (id, failure) = (queue.add(), |attempts, reason, dead| Failure { id: 1, attempts, reason, dead });
        for (attempts, reason) in [(1, NACKED), (2, UNSETTLED), (3, NACKED)] {
            queue.join("a", 1);
            assert_eq!(queue.offer(), Some(Offer { consumer: "a", id, attempt: attempts }));
            if reason == NACKED {
                queue.give_back(&"a", id);
            } else {
                queue.leave(&"a");
            }
            assert_eq!(queue.take_failures(), [failure(attempts, reason, attempts == 3)]);
        }
        assert!(queue.is_empty() && queue.offer().is_none() && !queue.settle(id));
    }

    #[test]
    fn failures_of_an_earlier_life_are_counted() {
        let mut queue = QueueState::new(10, [3, 7]);
        queue.has_failed(7, 4);
        queue.has_failed(8, 2);
        queue.join("a", 9);
        let offers = std::iter::from_fn(|| queue.offer()).map(|offer| (offer.id, offer.attempt));
        assert_eq!(offers.collect::<Vec<_>>(), [(3, 2), (7, 5)]);
    }
}
