//! Topics and filters as levels: `chat.rust` at the place `lab-play` is `lab-play/chat/rust`.

use anyhow::{Context, Result};

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
        Self { topic_starts: topic(place, "").len(), words: Vec::new(), topics: TopicReader::default() }
    }

    /// The event that this message is.
    pub(crate) fn read(&mut self, message: &Publish) -> Result<Event> {
        let levels = message.topic.get(self.topic_starts..);
        let levels = levels.context("a message from another place's topic")?;
        self.words.clear();
        self.words.extend(levels.iter().map(|byte| if *byte == b'/' { b'.' } else { *byte }));
        Ok(Event { topic: self.topics.read(&self.words)?, body: message.payload.clone() })
    }
}
