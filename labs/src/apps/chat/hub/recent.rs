//! The identifiers of recent messages, to recognise one that comes a second time.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Identifiers that are remembered.
const REMEMBERED: usize = 20_000;

/// Identifiers, the oldest of which are forgotten.
#[derive(Default)]
pub(super) struct Recent {
    known: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Recent {
    pub(super) fn knows(&self, id: &str) -> bool {
        self.known.contains(id)
    }

    /// Whether it is new; from now on it is not.
    pub(super) fn is_new(&mut self, id: &str) -> bool {
        if self.knows(id) {
            return false;
        }
        let id: Arc<str> = id.into();
        self.known.insert(Arc::clone(&id));
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
