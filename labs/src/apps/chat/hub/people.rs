//! Who is there: each instance says it of its own browsers every few seconds,
//! under a topic of its own, and whoever is not heard of has gone.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::{Client, Hub, told};
use crate::apps::chat::message::{LONGEST_BODY, clean_name};
use crate::apps::chat::room::Room;

/// How often an instance says who is there.
pub(in crate::apps::chat) const BEAT: Duration = Duration::from_secs(2);
/// An instance that was silent for so long has gone.
const GONE: Duration = Duration::from_secs(7);
/// Names that an instance gives; of others only the number.
const NAMED: usize = 200;
/// Other instances that are remembered.
const INSTANCES: usize = 64;

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) room: Room,
    pub(super) name: String,
}

/// An instance's word on who is there.
#[derive(Serialize, Deserialize)]
struct Word {
    instance: String,
    people: Vec<Person>,
    more: usize,
}

#[derive(Default)]
pub(super) struct People {
    elsewhere: BTreeMap<String, (Instant, Word)>,
    /// Since everybody was last told.
    pub(super) changed: bool,
}

impl People {
    /// Forgets the instances that have gone; whether there were any.
    pub(super) fn expire(&mut self) -> bool {
        let before = self.elsewhere.len();
        let now = Instant::now();
        self.elsewhere.retain(|_, (heard, _)| now.duration_since(*heard) < GONE);
        self.elsewhere.len() != before
    }

    /// For browsers.
    pub(super) fn everybody(&self, instance: &str, own: impl Iterator<Item = Person>) -> Utf8Bytes {
        let (people, more) = bounded(own);
        let here = [(instance, &people, more)];
        let elsewhere =
            self.elsewhere.iter().map(|(name, (_, word))| (name.as_str(), &word.people, word.more));
        let list: Vec<_> = here
            .into_iter()
            .chain(elsewhere)
            .map(|(instance, people, more)| json!({ "instance": instance, "people": people, "more": more }))
            .collect();
        told("here", &json!({ "instances": list }))
    }
}

fn bounded(people: impl Iterator<Item = Person>) -> (Vec<Person>, usize) {
    let mut people: Vec<Person> = people.collect();
    people.sort_unstable();
    let more = people.len().saturating_sub(NAMED);
    people.truncate(NAMED);
    (people, more)
}

impl Hub {
    /// What this instance says of its own browsers.
    pub fn word(&self) -> Bytes {
        let (people, more) = bounded(self.lock().clients.values().filter_map(Client::person));
        let word = Word { instance: self.instance().to_owned(), people, more };
        // A struct of texts and numbers has a JSON form.
        serde_json::to_vec(&word).unwrap_or_default().into()
    }

    /// Resolves when there is something new to say.
    pub async fn news_of_people(&self) {
        self.here.notified().await;
    }

    /// Another instance, or this one, says who is there.
    pub fn heard_word(&self, body: &[u8]) {
        if body.len() > LONGEST_BODY {
            return;
        }
        let Ok(mut word) = serde_json::from_slice::<Word>(body) else { return };
        word.instance = clean_name(&word.instance);
        if word.instance == self.instance() || word.people.len() > NAMED {
            return;
        }
        for person in &mut word.people {
            person.name = clean_name(&person.name);
        }
        let mut inner = self.lock();
        let elsewhere = &mut inner.people.elsewhere;
        let known = elsewhere.get(&word.instance);
        let news = known.is_none_or(|(_, old)| (&old.people, old.more) != (&word.people, word.more));
        if known.is_none() && elsewhere.len() >= INSTANCES {
            return;
        }
        elsewhere.insert(word.instance.clone(), (Instant::now(), word));
        inner.people.changed |= news;
    }
}
