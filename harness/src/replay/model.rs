//! What a replay consists of. Its JSON is what the page reads; docs/view.md describes it.

use labs::catalog::{Entry, Pattern};
use serde::{Deserialize, Serialize};

/// The version of the format.
pub(super) const SCHEMA: u32 = 1;
/// The most messages that a replay draws; the others are counted.
pub(super) const MOST_MESSAGES: usize = 200;
/// The most lanes.
pub(super) const MOST_LANES: usize = 10;
/// The longest text of an event, characters.
const LONGEST: usize = 200;

/// What is said about a run as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) title: String,
    /// The lab, or the exercise.
    pub(crate) lab: String,
    /// The pattern; `None` for an exercise.
    pub(crate) pattern: Option<String>,
    /// The broker with its version; `None`: peer to peer.
    pub(crate) broker: Option<String>,
    /// `at most once`, `at least once`, `durable`.
    pub(crate) guarantee: Option<String>,
    /// The command that makes such a run again.
    pub(crate) command: String,
}

impl Head {
    /// Of a run of this lab.
    pub(crate) fn of(entry: &Entry, title: String, command: String, broker: Option<String>) -> Self {
        Self {
            title,
            lab: entry.name.clone(),
            pattern: Some(entry.pattern.to_string()),
            broker,
            guarantee: Some(entry.guarantee.as_str().replace('-', " ")),
            command,
        }
    }
}

/// Where a lane stands in the picture of who sends what to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// It offers messages.
    From,
    /// The broker.
    Middle,
    /// It receives tasks and sends results.
    Work,
    /// It receives.
    To,
}

impl Side {
    /// That of a role of this kind, by its name: `sender`, `consumer`.
    pub(crate) fn of(kind: &str) -> Self {
        match kind {
            "sender" | "requester" | "publisher" | "ventilator" | "producer" => Self::From,
            "worker" => Self::Work,
            "broker" => Self::Middle,
            _ => Self::To,
        }
    }
}

/// A role, or the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
    pub(crate) name: String,
    /// `publisher`, `broker`.
    pub(crate) kind: String,
    pub(crate) place: Side,
}

impl Lane {
    /// The lane of a role: `consumer-1`.
    pub(crate) fn of_role(name: &str) -> Self {
        let kind = name.rsplit_once('-').map_or(name, |(kind, _)| kind).to_owned();
        Self { name: name.to_owned(), place: Side::of(&kind), kind }
    }

    /// The lane of a broker.
    pub(crate) fn of_broker(name: &str) -> Self {
        Self { name: name.to_owned(), kind: "broker".to_owned(), place: Side::Middle }
    }
}

/// The record of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replay {
    pub(crate) schema: u32,
    #[serde(flatten)]
    pub(crate) head: Head,
    /// Messages that happened and are not drawn.
    pub(crate) counted: u64,
    pub(crate) lanes: Vec<Lane>,
    /// In the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<ReplayEvent>,
}

impl Replay {
    pub(crate) fn new(head: Head) -> Self {
        Self { schema: SCHEMA, head, counted: 0, lanes: Vec::new(), events: Vec::new() }
    }

    /// Adds a lane at its side, in the order of the names, unless it is there or there are too many.
    pub(crate) fn lane(&mut self, lane: Lane) {
        if self.lanes.len() < MOST_LANES && !self.lanes.iter().any(|known| known.name == lane.name) {
            let order = |lane: &Lane| (lane.place, lane.name.len(), lane.name.clone());
            let before = self.lanes.iter().rposition(|known| order(known) <= order(&lane));
            self.lanes.insert(before.map_or(0, |before| before + 1), lane);
        }
    }

    /// Whether each receiver gets a copy of each message.
    pub(super) fn is_fan_out(&self) -> bool {
        let is = |pattern: Pattern| self.head.pattern.as_deref() == Some(pattern.as_str());
        is(Pattern::PubSub) || is(Pattern::Durable)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayEvent {
    /// ns from the begin of the run.
    pub(crate) at: u64,
    /// The role or the broker; `lab` for what is done from outside.
    pub(crate) lane: String,
    /// What happened.
    pub(crate) what: ReplayWhat,
    /// The message, by a short name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// What the message, or the event, says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// Its topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    /// The message that this one came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    /// Which delivery it was; 1 is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    /// For `depth`: how many messages the broker says that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
}

impl ReplayEvent {
    pub(crate) fn new(at: u64, lane: &str, what: ReplayWhat) -> Self {
        let lane = lane.to_owned();
        Self {
            at,
            lane,
            what,
            message: None,
            text: None,
            topic: None,
            about: None,
            attempt: None,
            count: None,
        }
    }

    pub(crate) fn about_message(self, message: &str) -> Self {
        Self { message: Some(shortened(message)), ..self }
    }

    pub(crate) fn saying(self, text: &str) -> Self {
        let text = shortened(text);
        Self { text: (!text.is_empty()).then_some(text), ..self }
    }
}

/// Foreign text, so short that a picture and a file stay small.
pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReplayWhat {
    /// The role is there from now on.
    Joined,
    /// It went by its own will.
    Left,
    /// kill -9.
    Killed,
    /// The broker was started again.
    Started,
    /// The text says why.
    Failed,
    /// SIGSTOP.
    Paused,
    /// SIGCONT.
    Resumed,
    /// It takes longer for each message from now on.
    Slowed,
    /// It does not any more.
    Quick,
    /// All connections were reset.
    Cut,
    /// The role has noticed that.
    #[serde(rename = "connection lost")]
    ConnectionLost,
    /// It has connected again.
    Reconnected,
    /// The broker's own count of what it holds.
    Depth,
    /// A sentence about the run.
    Note,
    /// The message was due.
    Due,
    /// A role began to send it.
    Sent,
    /// It was confirmed.
    Confirmed,
    /// It arrived.
    Received,
    /// It was settled.
    Acked,
    /// It was given back.
    Nacked,
    /// The work on it had its effect.
    Done,
    /// The responder began to send the reply.
    Replied,
    /// The requester has received the reply.
    Answered,
    /// It was put aside as a dead letter.
    Dead,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let event = ReplayEvent::new(0, "a-0", ReplayWhat::Note).saying(&"ä".repeat(300));
        assert_eq!(event.text.map(|text| (text.chars().count(), text.ends_with('…'))), Some((200, true)));
        assert_eq!(ReplayEvent::new(0, "a-0", ReplayWhat::Note).saying("").text, None);
    }

    #[test]
    fn what_is_not_there_takes_no_room() {
        let event = ReplayEvent::new(5, "queue-0", ReplayWhat::ConnectionLost);
        let json = serde_json::to_string(&event).expect("JSON");
        assert_eq!(json, r#"{"at":5,"lane":"queue-0","what":"connection lost"}"#);
        assert_eq!(serde_json::from_str::<ReplayEvent>(&json).expect("an event"), event);
    }
}
