//! Rooms are topics, and all rooms are one filter, in the dialect of each transport.

use std::fmt;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::topic::{Filter, FilterKind, Topic};

/// Longest name of a room, in bytes.
pub const LONGEST: usize = 32;
/// What the topics of rooms begin with.
const ROOMS: &str = "room";
/// What the topics begin with under which instances say who is there.
const HERE: &str = "here";

/// A room's name: small letters, digits and `-`, so that it is a word of a topic
/// over every transport.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Room(String);

impl Room {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if name.is_empty() || name.len() > LONGEST || !name.bytes().all(plain) {
            let shown: String = name.chars().take(LONGEST).collect();
            bail!("`{shown}` is not a room: a name has 1 to {LONGEST} small letters, digits or `-`");
        }
        Ok(Self(name.to_owned()))
    }

    /// `room.lobby`.
    pub fn topic(&self) -> Result<Topic> {
        Topic::new(&format!("{ROOMS}.{}", self.0))
    }

    /// The room that a topic stands for.
    pub fn of(topic: &Topic) -> Option<Self> {
        Self::new(topic.as_str().strip_prefix(ROOMS)?.strip_prefix('.')?).ok()
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Room {
    type Error = anyhow::Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(&name)
    }
}

impl From<Room> for String {
    fn from(room: Room) -> Self {
        room.0
    }
}

/// Every room, in a dialect that the transport knows.
pub fn every_room(known: &[FilterKind]) -> Result<Filter> {
    below(ROOMS, known)
}

/// The presence of every instance: who is there.
pub fn everybody(known: &[FilterKind]) -> Result<Filter> {
    below(HERE, known)
}

/// Where an instance says who is there.
pub fn here(instance: &str) -> Result<Topic> {
    Topic::new(&format!("{HERE}.{instance}"))
}

/// Whether a topic is that of an instance's presence.
pub fn is_here(topic: &Topic) -> bool {
    topic.as_str().starts_with("here.")
}

/// What stands below a word. A dialect that sees words is better than one that
/// sees bytes, and any is better than to be sent everything.
fn below(word: &str, known: &[FilterKind]) -> Result<Filter> {
    let dialects = [
        (FilterKind::Words, format!("words:{word}.*")),
        (FilterKind::Subjects, format!("subjects:{word}.*")),
        (FilterKind::Levels, format!("levels:{word}/+")),
        (FilterKind::Glob, format!("glob:{word}.*")),
        (FilterKind::Prefix, format!("prefix:{word}.")),
    ];
    match dialects.into_iter().find(|(kind, _)| known.contains(kind)) {
        Some((_, text)) => text.parse(),
        None => Ok(Filter::All),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_sees_rooms_and_nothing_else() {
        let room = Room::new("rust-help").expect("a room");
        let topic = room.topic().expect("a topic");
        assert_eq!(Room::of(&topic), Some(room));
        let other = here("a").expect("a topic");
        assert!(Room::of(&other).is_none() && is_here(&other));
        for kind in FilterKind::ALL {
            let (rooms, people) =
                (every_room(&[kind]).expect("a filter"), everybody(&[kind]).expect("a filter"));
            let narrow = rooms != Filter::All;
            assert!(rooms.matches(&topic) && people.matches(&other), "{kind}");
            assert_eq!(rooms.matches(&other), !narrow, "{rooms}");
            assert_eq!(people.matches(&topic), !narrow, "{people}");
        }
    }

    #[test]
    fn what_is_no_room_is_refused() {
        for bad in ["", "Lobby", "a b", "a.b", "*", "<b>", &"x".repeat(LONGEST + 1)] {
            assert!(Room::new(bad).is_err(), "{bad}");
        }
    }
}
