//! The correlation identifier: a number that goes along with a request and
//! comes back with its reply, and the table of who waits for which number.
//!
//! Every lab whose `MATCHING` is a correlation identifier keeps one table for
//! each requester. [`Pending::register`] makes an identifier nobody has had,
//! [`Pending::hand_out`] gives a reply to the one who waits for it, and dropping
//! a [`Ticket`] abandons its request: the entry is gone, and the reply, should
//! it come, is *late*: it is counted, and reaches nobody. So a table holds no
//! more than the requests that somebody still waits for.
//!
//! Identifiers are never used again, and that is what keeps a late reply from
//! being taken for the answer to a newer question.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::place::Place;
use crate::recovery::disconnected;

/// Requests that may wait for a reply at once, unless the table was made with
/// another limit: some hundred megabytes of them.
const LIMIT: usize = 1 << 20;

/// The requests in flight. Shared between those who ask and the task that
/// reads replies; `T` is what a reply is.
pub struct Pending<T = Bytes>(Arc<Mutex<State<T>>>);

struct State<T> {
    last_id: u64,
    limit: usize,
    waiting: HashMap<u64, oneshot::Sender<T>>,
    /// Why nobody will be answered any more, once that is so.
    closed: Option<Arc<str>>,
    dropped: Dropped,
}

/// Replies that reached nobody, by the reason.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Their request had been abandoned, or answered before.
    pub late: u64,
    /// Their identifier was never given out.
    pub unknown: u64,
}

/// What became of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was handed to the one who waits for it.
    Awaited,
    /// Nobody waits any more: the request was abandoned, or answered before.
    Late,
    /// Nobody ever asked under this identifier.
    Unknown,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl<T> Clone for Pending<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Pending<T> {
    /// A table in which at most `limit` requests wait at once.
    pub fn with_limit(limit: usize) -> Self {
        let (waiting, dropped) = (HashMap::new(), Dropped::default());
        Self(Arc::new(Mutex::new(State { last_id: 0, limit, waiting, closed: None, dropped })))
    }

    /// A place in the table under a new identifier. An error when the table is
    /// full, or nobody will be answered any more.
    pub fn register(&self) -> Result<Ticket<T>> {
        let mut state = self.lock();
        if let Some(why) = &state.closed {
            return Err(disconnected(why.to_string()));
        }
        let limit = state.limit;
        ensure!(state.waiting.len() < limit, "{limit} requests wait for a reply already, and no more may");
        state.last_id += 1;
        let id = state.last_id;
        let (sender, reply) = oneshot::channel();
        state.waiting.insert(id, sender);
        Ok(Ticket { id, reply, pending: self.clone() })
    }

    /// Gives a reply to the one who waits for it. Any other ends here: it is
    /// counted, and nobody has seen it.
    pub fn hand_out(&self, id: u64, reply: T) -> Fate {
        let mut state = self.lock();
        let waiting = state.waiting.remove(&id);
        if waiting.is_some_and(|waiting| waiting.send(reply).is_ok()) {
            Fate::Awaited
        } else if (1..=state.last_id).contains(&id) {
            state.dropped.late += 1;
            Fate::Late
        } else {
            state.dropped.unknown += 1;
            Fate::Unknown
        }
    }

    /// As [`Pending::hand_out`], of a reply that anybody may have written. One without an
    /// identifier, or with one that was never given out, is counted as skipped.
    pub(crate) fn hand_out_or_skip(&self, id: Option<u64>, reply: T, place: &Place) {
        match id.map(|id| self.hand_out(id, reply)) {
            Some(Fate::Awaited | Fate::Late) => {}
            Some(Fate::Unknown) => place.message_skipped("a reply to a request that was never made"),
            None => place.message_skipped("a reply without a correlation identifier"),
        }
    }

    /// Wakes everyone who waits, with an error; nobody can register any more.
    pub fn close(&self) {
        self.close_because("the other side has left");
    }

    /// The same, and the error says why. The first reason stands.
    pub fn close_because(&self, why: &str) {
        let mut state = self.lock();
        state.closed.get_or_insert_with(|| why.into());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // Outside the lock: whoever is woken may look at the table.
        drop(waiting);
    }

    /// After [`Pending::close`]: one can register again. Identifiers go on, so that a late reply
    /// still finds nobody.
    pub fn open_again(&self) {
        self.lock().closed = None;
    }

    /// Replies that reached nobody, so far.
    pub fn dropped(&self) -> Dropped {
        self.lock().dropped
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request in flight. Dropping it abandons the request: the identifier is
/// forgotten, and its reply will find nobody.
pub struct Ticket<T = Bytes> {
    id: u64,
    reply: oneshot::Receiver<T>,
    pending: Pending<T>,
}

impl<T> Ticket<T> {
    /// The correlation identifier that travels with the request.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the reply; an error when none can come any more.
    pub async fn reply(mut self) -> Result<T> {
        (&mut self.reply).await.map_err(|_| {
            let why = self.pending.lock().closed.clone();
            let why = why.as_deref().unwrap_or("the request was given up");
            disconnected(format!("{why}, without a reply"))
        })
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        self.pending.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    #[test]
    fn a_reply_finds_its_request_whatever_the_order() {
        let pending = Pending::<Bytes>::default();
        let [first, second] = [(); 2].map(|()| pending.register().expect("open"));
        assert_eq!(pending.hand_out(second.id(), "two".into()), Fate::Awaited);
        assert_eq!(pending.hand_out(first.id(), "one".into()), Fate::Awaited);
        assert_eq!(first.reply().now_or_never().expect("it is there").expect("a reply"), "one");
        assert_eq!(second.reply().now_or_never().expect("it is there").expect("a reply"), "two");
    }

    #[test]
    fn an_abandoned_request_leaves_nothing_behind() {
        let pending = Pending::<Bytes>::default();
        let ids: Vec<u64> = (0..10_000).map(|_| pending.register().expect("open").id()).collect();
        assert!(pending.is_empty());
        assert!(ids.into_iter().all(|id| pending.hand_out(id, Bytes::new()) == Fate::Late));
        assert_eq!(pending.hand_out(10_001, Bytes::new()), Fate::Unknown);
        assert_eq!(pending.dropped(), Dropped { late: 10_000, unknown: 1 });
    }

    #[test]
    fn a_broken_connection_wakes_everyone_and_says_why() {
        let pending = Pending::<Bytes>::default();
        let ticket = pending.register().expect("open");
        pending.close_because("the cable was cut");
        pending.close();
        let error = ticket.reply().now_or_never().expect("at once").expect_err("no reply");
        assert_eq!(error.to_string(), "the cable was cut, without a reply");
        let error = pending.register().err().expect("closed");
        assert_eq!(error.to_string(), "the cable was cut");
    }

    #[test]
    fn a_full_table_refuses_and_has_room_again() {
        let pending = Pending::<Bytes>::with_limit(2);
        let _first = pending.register().expect("room");
        let second = pending.register().expect("room");
        let error = pending.register().err().expect("full").to_string();
        assert!(error.contains("2 requests wait"), "{error}");
        drop(second);
        assert!(pending.register().is_ok());
    }

    proptest! {
        /// Whatever is asked, abandoned and answered, in whatever order: each gets
        /// its own reply, and the table holds exactly those who still wait.
        #[test]
        fn nobody_gets_the_reply_of_another(steps in prop::collection::vec((0_u8..3, 0_u64..20), 0..200)) {
            let pending = Pending::<u64>::default();
            let (mut waiting, mut last) = (Vec::new(), 0);
            for (what, which) in steps {
                match what {
                    0 => {
                        let ticket = pending.register().expect("open");
                        last = ticket.id();
                        waiting.push(ticket);
                    }
                    1 if !waiting.is_empty() => drop(waiting.swap_remove(which as usize % waiting.len())),
                    _ => {
                        let place = waiting.iter().position(|ticket| ticket.id() == which);
                        let fate = pending.hand_out(which, which);
                        match place {
                            Some(place) => {
                                prop_assert_eq!(fate, Fate::Awaited);
                                let reply = waiting.swap_remove(place).reply().now_or_never();
                                prop_assert_eq!(reply.expect("there").expect("a reply"), which);
                            }
                            None => {
                                let asked = (1..=last).contains(&which);
                                prop_assert_eq!(fate, if asked { Fate::Late } else { Fate::Unknown });
                            }
                        }
                    }
                }
                prop_assert_eq!(pending.len(), waiting.len());
            }
        }
    }
}
