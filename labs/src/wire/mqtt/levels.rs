//! Topics and filters as levels: `chat.rust` at the place `lab-play` is `lab-play/chat/rust`.

use super::packet::Publish;
use super::topic;
use crate::lab::Place;
use crate::pubsub::Event;
use crate::topic::{Filter, FilterKind, Topic, TopicReader};

/// The filters that levels with wildcards can express.
pub(crate) const FILTERS: &[FilterKind] = &[FilterKind::All, FilterKind::Exact, FilterKind::Levels];

/// The levels of a topic, below the place's name.
pub(crate) fn topic_levels(place: &Place, of: &Topic) -> String {
    topic(place, &of.as_str().replace('.', "/"))
}

/// The levels of a filter: `+` is one level, `#` all that follow.
pub(crate) fn filter_levels(place: &Place, filter: &Filter) -> String {
    match filter {
        Filter::Exact(exact) => topic_levels(place, exact),
        Filter::Levels(pattern) => topic(place, pattern),
        _ => topic(place, "#"),
    }
}

/// Makes events of messages: the levels below the place's name become words again.
pub(crate) struct LevelsReader {
    topic_starts: usize,
    words: Vec<u8>,
    topics: TopicReader,
}

impl LevelsReader {
    pub(crate) fn new(place: &Place) -> Self {
        Self { topic_starts: topic(place, "").len(), words: Vec::new(), topics: TopicReader::new(place) }
    }

    /// The event that this message is. Levels may have characters that no word of a topic has:
    /// the message is counted as skipped.
    pub(crate) fn read(&mut self, message: &Publish) -> Option<Event> {
        // `PLACE/#` also matches `PLACE`, which has no levels below it.
        let levels = message.topic.get(self.topic_starts..).unwrap_or_default();
        self.words.clear();
        // The other way round as well: with a dot, a level is not a word.
        self.words.extend(levels.iter().map(|byte| match byte {
            b'/' => b'.',
            b'.' => b'/',
            byte => *byte,
        }));
        Some(Event { topic: self.topics.read(&self.words)?, body: message.payload.clone() })
    }
}
