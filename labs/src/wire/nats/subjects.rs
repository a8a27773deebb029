//! Topics and filters as subjects: `chat.rust` at the place `lab-play` is `lab-play.chat.rust`.

use async_nats::{Message, Subject};

use crate::lab::Place;
use crate::pubsub::Event;
use crate::topic::{Filter, FilterKind, Topic, TopicReader};

/// The filters that a subject with wildcards can express.
pub(crate) const FILTERS: &[FilterKind] = &[FilterKind::All, FilterKind::Exact, FilterKind::Subjects];

/// The subject of a filter, below the place's name: `*` is one word, `>` all that follow.
pub(crate) fn filter_subject(place: &Place, filter: &Filter) -> String {
    match filter {
        Filter::Exact(topic) => format!("{}.{topic}", place.name()),
        Filter::Subjects(pattern) => format!("{}.{pattern}", place.name()),
        _ => format!("{}.>", place.name()),
    }
}

/// Makes subjects of topics.
pub(crate) struct TopicSubjects {
    place: String,
    latest: Option<(Topic, Subject)>,
}

impl TopicSubjects {
    pub(crate) fn new(place: &Place) -> Self {
        Self { place: place.name(), latest: None }
    }

    /// The subject of a topic; a topic that repeats costs no allocation.
    pub(crate) fn subject(&mut self, topic: &Topic) -> Subject {
        match &self.latest {
            Some((latest, subject)) if latest == topic => subject.clone(),
            _ => {
                let subject = Subject::from(format!("{}.{topic}", self.place));
                self.latest.insert((topic.clone(), subject)).1.clone()
            }
        }
    }
}

/// Makes events of messages: the topic is what follows the place's name in the subject.
pub(crate) struct EventReader {
    topic_starts: usize,
    topics: TopicReader,
}

impl EventReader {
    pub(crate) fn new(place: &Place) -> Self {
        Self { topic_starts: place.name().len() + 1, topics: TopicReader::new(place) }
    }

    /// The event that this message is. A subject may have words that no topic has: the message
    /// is counted as skipped.
    pub(crate) fn read(&mut self, message: Message) -> Option<Event> {
        let topic = message.subject.as_str().get(self.topic_starts..).unwrap_or_default();
        Some(Event { topic: self.topics.read(topic.as_bytes())?, body: message.payload })
    }
}
