//! Who is there: each instance says it of its own browsers every few seconds,
//! under a topic of its own, and whoever is not heard of has gone.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::frame::frame;
use crate::apps::chat::message::{LONGEST_BODY, clean_name};
use crate::apps::chat::room::Room;

/// How often an instance says who is there.
pub(in crate::apps::chat) const BEAT: Duration = Duration::from_secs(2);
/// An instance that was silent for so long has gone.
const GONE: Duration = Duration::from_secs(7);
/// Browsers at one instance, at most.
pub(super) const BROWSERS: usize = 1_000;
/// Names that an instance gives; of others only the number.
const NAMED: usize = 200;
/// And bytes of them: what an instance says fits into one body, and what a browser is told of all
/// instances into a small part of its queue.
const NAMED_BYTES: usize = LONGEST_BODY / 2;
const HERE_BYTES: usize = 128 << 10;
/// Other instances that are remembered.
const INSTANCES: usize = 64;

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) room: Room,
    pub(super) name: String,
}

/// What an instance publishes about its own browsers.
#[derive(Serialize, Deserialize)]
pub(super) struct Presence {
    pub(super) instance: String,
    people: Vec<Person>,
    more: usize,
}

#[derive(Default)]
pub(super) struct People {
    elsewhere: BTreeMap<String, (Instant, Presence)>,
    /// Since everybody was last told: what is said elsewhere, and who is here.
    pub(super) changed: bool,
    pub(super) own_changed: bool,
}

impl People {
    /// An instance says who is there.
    pub(super) fn heard(&mut self, presence: Presence) {
        let known = self.elsewhere.get(&presence.instance);
        let news = known.is_none_or(|(_, old)| (&old.people, old.more) != (&presence.people, presence.more));
        if known.is_none() && self.elsewhere.len() >= INSTANCES {
            return;
        }
        self.elsewhere.insert(presence.instance.clone(), (Instant::now(), presence));
        self.changed |= news;
    }

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
        let elsewhere = self
            .elsewhere
            .iter()
            .map(|(name, (_, presence))| (name.as_str(), &presence.people, presence.more));
        let mut room = HERE_BYTES;
        let list: Vec<_> = here
            .into_iter()
            .chain(elsewhere)
            .map(|(instance, people, more)| {
                let named = named_within(&mut room, people);
                let more = more + people.len() - named;
                json!({ "instance": instance, "people": people[..named], "more": more })
            })
            .collect();
        frame("here", &json!({ "instances": list }))
    }
}

impl Presence {
    pub(super) fn of(instance: &str, own: impl Iterator<Item = Person>) -> Self {
        let (people, more) = bounded(own);
        Self { instance: instance.to_owned(), people, more }
    }

    /// Reads what somebody has published; `None` for anything else, or more than an instance names.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        if body.len() > LONGEST_BODY {
            return None;
        }
        let mut presence: Self = serde_json::from_slice(body).ok()?;
        presence.instance = clean_name(&presence.instance);
        presence.more = presence.more.min(BROWSERS);
        for person in &mut presence.people {
            person.name = clean_name(&person.name);
        }
        (presence.people.len() <= NAMED).then_some(presence)
    }

    pub(super) fn body(&self) -> Bytes {
        // A struct of texts and numbers has a JSON form.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// The first of them by room and name, and how many more there are.
fn bounded(people: impl Iterator<Item = Person>) -> (Vec<Person>, usize) {
    let mut people: Vec<Person> = people.collect();
    people.sort_unstable();
    let (all, mut room) = (people.len(), NAMED_BYTES);
    people.truncate(NAMED);
    people.truncate(named_within(&mut room, &people));
    let more = all - people.len();
    (people, more)
}

/// How many of these people find room as JSON, from the first on; takes the room.
fn named_within(room: &mut usize, people: &[Person]) -> usize {
    people
        .iter()
        .take_while(|person| {
            let bytes = serde_json::to_string(person).map_or(usize::MAX, |json| json.len() + 1);
            let fits = bytes <= *room;
            *room = room.saturating_sub(bytes);
            fits
        })
        .count()
}
