//! The correlation identifier's other half: who waits for which reply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::oneshot;

/// The requests in flight. Shared between those who ask and the task that
/// reads replies.
#[derive(Clone)]
pub struct Pending(Arc<Mutex<State>>);

struct State {
    last_id: u64,
    /// `None` once the connection has broken: nobody will be answered any more.
    waiting: Option<HashMap<u64, oneshot::Sender<Bytes>>>,
}

impl Default for Pending {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { last_id: 0, waiting: Some(HashMap::new()) })))
    }
}

impl Pending {
    /// A place in the table under a new identifier.
    pub fn register(&self) -> Result<Ticket> {
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        let (sender, reply) = oneshot::channel();
        state.waiting.as_mut().context("the other side has left")?.insert(id, sender);
        Ok(Ticket { id, reply, pending: self.clone() })
    }

    /// Gives a reply to the one who waits for it. A late one ends here:
    /// `false`, and nobody has seen it.
    pub fn hand_out(&self, id: u64, reply: Bytes) -> bool {
        let waiting = self.lock().waiting.as_mut().and_then(|waiting| waiting.remove(&id));
        waiting.is_some_and(|waiting| waiting.send(reply).is_ok())
    }

    /// Wakes everyone who waits, with an error; nobody can register any more.
    pub fn close(&self) {
        self.lock().waiting = None;
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.as_ref().map_or(0, HashMap::len)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request in flight. Dropping it abandons the request: the identifier is
/// forgotten, and its reply will find nobody.
pub struct Ticket {
    id: u64,
    reply: oneshot::Receiver<Bytes>,
    pending: Pending,
}

impl Ticket {
    /// The correlation identifier that travels with the request.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the reply.
    pub async fn reply(mut self) -> Result<Bytes> {
        (&mut self.reply).await.context("the other side left without a reply")
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(waiting) = &mut self.pending.lock().waiting {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_reply_finds_its_request_whatever_the_order() {
        let pending = Pending::default();
        let [first, second] = [(); 2].map(|()| pending.register().expect("open"));
        assert!(pending.hand_out(second.id(), "two".into()));
        assert!(pending.hand_out(first.id(), "one".into()));
        assert_eq!(first.reply().now_or_never().expect("it is there").expect("a reply"), "one");
        assert_eq!(second.reply().now_or_never().expect("it is there").expect("a reply"), "two");
    }

    #[test]
    fn an_abandoned_request_leaves_nothing_behind() {
        let pending = Pending::default();
        let ids: Vec<u64> = (0..10_000).map(|_| pending.register().expect("open").id()).collect();
        assert!(pending.is_empty());
        assert!(ids.into_iter().all(|id| !pending.hand_out(id, Bytes::new())));
    }

    #[test]
    fn a_broken_connection_wakes_everyone() {
        let pending = Pending::default();
        let ticket = pending.register().expect("open");
        pending.close();
        assert!(ticket.reply().now_or_never().expect("at once").is_err());
        assert!(pending.register().is_err());
    }
}
