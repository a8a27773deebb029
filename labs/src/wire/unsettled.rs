//! The state of a queue that lives with its producer: which messages nobody
//! has yet, who holds the others, how often each was given away. No I/O, so
//! that it can be tried in every order of events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// One message for one consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<Guest> {
    /// Who gets it.
    pub guest: Guest,
    /// The message.
    pub id: u64,
    /// 1 when it is given away for the first time.
    pub attempt: u32,
}

/// What is not settled. Its memory grows with what consumers hold, not with
/// what waits: messages that nobody has had yet are a range of numbers.
#[derive(Debug)]
pub struct Unsettled<Guest> {
    fresh: Range<u64>,
    /// Given away before, and come back; how often.
    again: BTreeMap<u64, u32>,
    held: HashMap<u64, (Guest, u32)>,
    guests: BTreeMap<Guest, Holding>,
    last: Option<Guest>,
}

#[derive(Debug)]
struct Holding {
    limit: usize,
    ids: BTreeSet<u64>,
}

impl<Guest: Clone + Ord> Unsettled<Guest> {
    /// An empty queue whose next message is `next`. What is `left` from an
    /// earlier life may have been delivered then: it counts as tried once.
    pub fn new(next: u64, left: impl IntoIterator<Item = u64>) -> Self {
        let again = left.into_iter().map(|id| (id, 1)).collect();
        Self { fresh: next..next, again, held: HashMap::new(), guests: BTreeMap::new(), last: None }
    }

    /// The next message has come; its number.
    pub fn admit(&mut self) -> u64 {
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
    pub fn has_guests(&self) -> bool {
        !self.guests.is_empty()
    }

    /// A consumer will hold at most `limit`. One that is here already stays.
    pub fn join(&mut self, guest: Guest, limit: usize) {
        self.guests.entry(guest).or_insert_with(|| Holding { limit, ids: BTreeSet::new() });
    }

    /// A consumer has gone: what it holds comes back.
    pub fn leave(&mut self, guest: &Guest) {
        for id in self.guests.remove(guest).into_iter().flat_map(|holding| holding.ids) {
            if let Some((_, attempt)) = self.held.remove(&id) {
                self.again.insert(id, attempt);
            }
        }
    }

    /// Gives away one message, first what came back: to the next consumer in
    /// turn that may hold another.
    pub fn offer(&mut self) -> Option<Offer<Guest>> {
        if self.again.is_empty() && self.fresh.is_empty() {
            return None;
        }
        let guest = self.next_guest()?;
        let (id, before) = self.again.pop_first().or_else(|| self.fresh.next().map(|id| (id, 0)))?;
        let attempt = before + 1;
        self.held.insert(id, (guest.clone(), attempt));
        self.guests.get_mut(&guest)?.ids.insert(id);
        self.last = Some(guest.clone());
        Some(Offer { guest, id, attempt })
    }

    fn next_guest(&self) -> Option<Guest> {
        let has_room = |(_, holding): &(&Guest, &Holding)| holding.ids.len() < holding.limit;
        let after = self.last.as_ref().and_then(|last| {
            let others = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
            self.guests.range(others).find(has_room)
        });
        after.or_else(|| self.guests.iter().find(has_room)).map(|(guest, _)| guest.clone())
    }

    /// A consumer is done with a message; `false` if there was nothing to
    /// settle. Also one that has it from before its connection broke, or from
    /// before the producer did: then it is done all the same.
    pub fn settle(&mut self, id: u64) -> bool {
        match self.held.remove(&id) {
            Some((guest, _)) => self.guests.get_mut(&guest).is_some_and(|holding| holding.ids.remove(&id)),
            None => self.again.remove(&id).is_some(),
        }
    }

    /// A consumer that holds a message gives it back.
    pub fn give_back(&mut self, guest: &Guest, id: u64) {
        let Some(holding) = self.guests.get_mut(guest) else { return };
        if holding.ids.remove(&id)
            && let Some((_, attempt)) = self.held.remove(&id)
        {
            self.again.insert(id, attempt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Admit,
        Join(u8, usize),
        Leave(u8),
        Offer,
        Settle(u64),
        GiveBack(u8, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Admit),
            1 => (0..4u8, 1..4usize).prop_map(|(guest, limit)| Step::Join(guest, limit)),
            1 => (0..4u8).prop_map(Step::Leave),
            4 => Just(Step::Offer),
            3 => (0..30u64).prop_map(Step::Settle),
            1 => (0..4u8, 0..30u64).prop_map(|(guest, id)| Step::GiveBack(guest, id)),
        ]
    }

    proptest! {
        /// Whatever happens, a message is in one place until it is settled, no
        /// consumer holds more than it wants, and the attempts count up.
        #[test]
        fn no_message_is_forgotten_or_doubled(steps in proptest::collection::vec(step(), 0..200)) {
            let mut queue = Unsettled::new(0, []);
            let (mut open, mut had) = (BTreeSet::new(), BTreeMap::<u64, u32>::new());
            let mut holds = BTreeMap::<u8, (usize, BTreeSet<u64>)>::new();
            for step in steps {
                match step {
                    Step::Admit => prop_assert!(open.insert(queue.admit())),
                    Step::Join(guest, limit) => {
                        queue.join(guest, limit);
                        holds.entry(guest).or_insert((limit, BTreeSet::new()));
                    }
                    Step::Leave(guest) => {
                        queue.leave(&guest);
                        holds.remove(&guest);
                    }
                    Step::Offer => {
                        let room = holds.values().any(|(limit, ids)| ids.len() < *limit);
                        let held: usize = holds.values().map(|(_, ids)| ids.len()).sum();
                        let offer = queue.offer();
                        prop_assert_eq!(offer.is_some(), room && held < open.len());
                        if let Some(Offer { guest, id, attempt }) = offer {
                            prop_assert!(open.contains(&id));
                            prop_assert!(holds.values().all(|(_, ids)| !ids.contains(&id)), "given away twice");
                            let (limit, ids) = holds.get_mut(&guest).expect("a guest that is here");
                            prop_assert!(ids.len() < *limit);
                            ids.insert(id);
                            *had.entry(id).or_default() += 1;
                            prop_assert_eq!(attempt, had[&id]);
                        }
                    }
                    Step::Settle(id) => {
                        // One that nobody ever had cannot be done.
                        let known = open.contains(&id) && had.contains_key(&id);
                        prop_assert_eq!(queue.settle(id), known);
                        if known {
                            open.remove(&id);
                            holds.values_mut().for_each(|(_, ids)| ids.retain(|other| *other != id));
                        }
                    }
                    Step::GiveBack(guest, id) => {
                        queue.give_back(&guest, id);
                        if let Some((_, ids)) = holds.get_mut(&guest) {
                            ids.remove(&id);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), open.len());
            }
            // All that is open can still be had, by one who wants it all.
            for guest in 0..4 {
                queue.leave(&guest);
            }
            queue.join(9, usize::MAX);
            let rest: BTreeSet<u64> = std::iter::from_fn(|| queue.offer()).map(|offer| offer.id).collect();
            prop_assert_eq!(rest, open);
        }
    }

    #[test]
    fn consumers_are_served_in_turn() {
        let mut queue = Unsettled::new(1, []);
        for guest in ["a", "b", "c"] {
            queue.join(guest, 2);
        }
        (0..9).for_each(|id| assert_eq!(queue.admit(), id + 1));
        let turns: Vec<&str> = std::iter::from_fn(|| queue.offer()).map(|offer| offer.guest).collect();
        assert_eq!(turns, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn what_is_left_from_an_earlier_life_comes_first_and_is_marked() {
        let mut queue = Unsettled::new(10, [3, 7]);
        queue.join("a", 9);
        queue.admit();
        let offers = std::iter::from_fn(|| queue.offer()).map(|offer| (offer.id, offer.attempt));
        assert_eq!(offers.collect::<Vec<_>>(), [(3, 2), (7, 2), (10, 1)]);
    }
}
