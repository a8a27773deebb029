//! The connections of a listener, each with its number.

/// Which connection of a listener a message came from. Numbers are never used again, so that what
/// is meant for a peer that has left can never reach another.
pub type ConnectionId = u64;

/// The open connections of a listener that serves them in turn. What a message costs depends on
/// how many there are, and not on how many there have been.
pub struct Connections<C> {
    /// In the order of their numbers, oldest first.
    list: Vec<(ConnectionId, C)>,
    next: ConnectionId,
    /// The position of the connection whose turn it is.
    turn: usize,
}

impl<C> Default for Connections<C> {
    fn default() -> Self {
        Self { list: Vec::new(), next: 0, turn: 0 }
    }
}

impl<C> Connections<C> {
    /// Takes in a new connection.
    pub fn insert(&mut self, connection: C) -> ConnectionId {
        self.next += 1;
        self.list.push((self.next, connection));
        self.next
    }

    /// The connection of this number, if it is still open.
    pub fn get(&self, id: ConnectionId) -> Option<&C> {
        self.position(id).map(|at| &self.list[at].1)
    }

    /// The connection of this number, if it is still open.
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut C> {
        self.position(id).map(|at| &mut self.list[at].1)
    }

    /// Takes a connection out; those behind it keep their turns.
    pub fn remove(&mut self, id: ConnectionId) -> Option<C> {
        let at = self.position(id)?;
        let (_, connection) = self.list.remove(at);
        if at <= self.turn {
            self.turn = self.turn.checked_sub(1).unwrap_or(self.list.len().saturating_sub(1));
        }
        Some(connection)
    }

    /// The connection whose turn it is.
    #[inline]
    pub fn current(&mut self) -> Option<(ConnectionId, &mut C)> {
        self.list.get_mut(self.turn).map(|(id, connection)| (*id, connection))
    }

    /// Gives the turn to the next one.
    pub fn advance(&mut self) {
        self.turn = (self.turn + 1) % self.list.len().max(1);
    }

    /// All of them, oldest first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut C)> {
        self.list.iter_mut().map(|(id, connection)| (*id, connection))
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn position(&self, id: ConnectionId) -> Option<usize> {
        self.list.binary_search_by_key(&id, |(id, _)| *id).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever comes and goes, each of the others has one turn a round.
        #[test]
        fn everybody_has_a_turn(steps in proptest::collection::vec((any::<bool>(), 0..40u64), 0..60)) {
            let (mut connections, mut open) = (Connections::default(), Vec::new());
            for (come, id) in steps {
                if come {
                    open.push(connections.insert(()));
                } else {
                    let known = open.contains(&id);
                    open.retain(|other| *other != id);
                    prop_assert_eq!(connections.remove(id).is_some(), known);
                }
                connections.advance();
                let before = connections.current().map(|(id, _)| id);
                prop_assert_eq!(before.is_some(), !open.is_empty());
                let mut round: Vec<u64> = Vec::new();
                for _ in 0..connections.len() {
                    connections.advance();
                    round.extend(connections.current().map(|(id, _)| id));
                }
                prop_assert_eq!(round.last().copied(), before, "a round ends where it began");
                round.sort_unstable();
                prop_assert_eq!(&round, &open);
            }
        }
    }

    #[test]
    fn the_turn_goes_on_behind_one_that_was_removed() {
        for gone in 1..=3 {
            let mut connections = Connections::default();
            for _ in 0..3 {
                connections.insert(());
            }
            while connections.current().is_some_and(|(id, _)| id != gone) {
                connections.advance();
            }
            connections.remove(gone);
            connections.advance();
            let next = if gone == 3 { 1 } else { gone + 1 };
            assert_eq!(connections.current().map(|(id, _)| id), Some(next));
        }
    }
}
