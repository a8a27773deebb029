//! What the page is told: the replay so far, and what can be done now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::cast::Possible;
use crate::replay::{Recorder, Replay, ReplayEvent};

/// What can be done to the run as a whole, and to each role.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Now {
    acts: BTreeMap<&'static str, Value>,
    roles: BTreeMap<String, Value>,
    auto: bool,
    pub(super) over: bool,
}

impl Now {
    pub(super) fn new(acts: &Possible, auto: bool) -> Self {
        Self { acts: answers(acts), roles: BTreeMap::new(), auto, over: false }
    }

    pub(super) fn role(&mut self, name: &str, state: &str, slow: bool, acts: &Possible) {
        self.roles.insert(name.to_owned(), json!({ "state": state, "slow": slow, "acts": answers(acts) }));
    }
}

/// `true`, or why not.
fn answers(acts: &Possible) -> BTreeMap<&'static str, Value> {
    let answer = |possible: &Result<(), String>| match possible {
        Ok(()) => Value::Bool(true),
        Err(why) => Value::String(why.clone()),
    };
    acts.iter().map(|(act, possible)| (*act, answer(possible))).collect()
}

#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) head: Option<Replay>,
    pub(super) events: Vec<(usize, ReplayEvent)>,
    /// All that were dropped have smaller numbers.
    pub(super) dropped: usize,
    pub(super) next: usize,
    pub(super) now: Now,
}

/// Written by the session, and read by everybody who looks.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    told: Arc<Mutex<Told>>,
    /// Counts the changes.
    pub(super) changes: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { told: Arc::default(), changes: watch::Sender::new(0) }
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        // What is in it is whole after every statement.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what has been recorded since.
    pub(super) fn update(&self, recorder: &Recorder, now: Now) {
        let mut told = self.told();
        let (dropped, next) = recorder.numbers();
        let changed = next != told.next || told.now != now || told.head.as_ref() != Some(recorder.head());
        if changed {
            told.events = recorder.events().to_vec();
            (told.dropped, told.next) = (dropped, next);
            told.head = Some(recorder.head().clone());
            told.now = now;
        }
        drop(told);
        if changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.told().now.over = true;
        self.changes.send_modify(|changes| *changes += 1);
    }
}
