//! A transcript as lanes: a column for each role, the broker between them, an arrow for each message.

use std::collections::BTreeMap;

use super::line::{Content, JOINED, Line, milliseconds};
use crate::replay::{Lane, Lanes};
use crate::roles::protocol::{Event, What};

/// The width of a lane, characters: the longest kind of role, and a space.
const WIDE: usize = 11;
/// Before the lanes: the time.
const INDENT: usize = 12;
/// The least room for the text behind the lanes.
const ROOM: usize = 12;

/// Draws the lines of a transcript, one after the other.
pub(super) struct Drawn {
    lanes: Lanes,
    broker: Option<String>,
    room: usize,
    /// Who has sent a text.
    senders: BTreeMap<String, String>,
}

impl Drawn {
    /// `None` where the terminal, of so many columns, is too narrow for all lanes.
    pub(super) fn of(lines: &[Line], broker: Option<&str>, columns: usize) -> Option<Self> {
        let mut lanes: Vec<Lane> = broker.map(Lane::of_broker).into_iter().collect();
        for line in lines {
            if let Content::Report { role, .. } = &line.content
                && !lanes.iter().any(|lane| lane.name == *role)
            {
                lanes.push(Lane::of_role(role));
            }
        }
        lanes.sort_by(|a, b| (a.place, &a.name).cmp(&(b.place, &b.name)));
        let lanes = Lanes::new(lanes.into_iter().map(|lane| lane.name).collect(), WIDE);
        let room = columns.checked_sub(INDENT + lanes.width() + 1).filter(|room| *room >= ROOM)?;
        Some(Self { lanes, broker: broker.map(str::to_owned), room, senders: BTreeMap::new() })
    }

    /// The names of the lanes.
    pub(super) fn head(&self) -> String {
        let [kinds, numbers] = self.lanes.two_heads();
        format!("{:INDENT$}{}\n{:INDENT$}{}", "", kinds.trim_end(), "", numbers.trim_end())
    }

    /// One line.
    pub(super) fn line(&mut self, line: &Line, start: u64) -> String {
        let Content::Report { role, what, text, event } = &line.content else {
            return line.render(start, false);
        };
        let (from, to, mark, words) = match event {
            Some(event) => self.event(role, event),
            None => {
                let mark = if what == JOINED { '●' } else { '×' };
                (role.clone(), None, mark, format!("{what} {text}"))
            }
        };
        let row = self.lanes.row(&from, to.as_deref(), mark);
        let time = milliseconds(line.at.saturating_sub(start));
        let words = words.trim();
        let words: String = match words.chars().count() > self.room {
            true => words.chars().take(self.room - 1).chain(['…']).collect(),
            false => words.to_owned(),
        };
        format!("{time:>11} {row} {words}").trim_end().to_owned()
    }

    /// From which lane to which an event goes, how it is marked, and what is said.
    fn event(&mut self, role: &str, event: &Event) -> (String, Option<String>, char, String) {
        let text = event.text.to_string();
        let asks = role.starts_with("requester");
        let here = |mark, words| (role.to_owned(), None, mark, words);
        match event.what {
            What::Written | What::Sent | What::Requested | What::Replied | What::Confirmed
                if sends(event.what, asks) =>
            {
                let known = self.senders.insert(text.clone(), role.to_owned()).is_some();
                match (&self.broker, event.what) {
                    (Some(broker), What::Confirmed) if known => {
                        (broker.clone(), Some(role.to_owned()), '✓', format!("confirmed {text}"))
                    }
                    (Some(broker), What::Confirmed) => {
                        (role.to_owned(), Some(broker.clone()), '✓', format!("{text}, confirmed"))
                    }
                    (Some(broker), _) => (role.to_owned(), Some(broker.clone()), '●', text),
                    (None, What::Confirmed) => here('✓', format!("{text}, confirmed")),
                    (None, _) => here('●', text),
                }
            }
            What::Received | What::Requested | What::Replied => {
                let again = event.attempt.is_some_and(|attempt| attempt > 1);
                let words = if again { format!("{text} (again)") } else { text.clone() };
                let from = self.broker.clone().or_else(|| self.senders.get(&text).cloned());
                match from {
                    Some(from) => (from, Some(role.to_owned()), '●', words),
                    None => here('●', words),
                }
            }
            What::Acked | What::Finished => here('✓', format!("acked {text}")),
            What::Nacked => here('×', format!("nacked {text}")),
            what => here('●', format!("{} {text}", format!("{what:?}").to_lowercase())),
        }
    }
}

/// Whether a role sends something with this; with a request or a reply it depends on the role.
const fn sends(what: What, asks: bool) -> bool {
    match what {
        What::Requested => asks,
        What::Replied => !asks,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(at: u64, role: &str, what: What, text: &str) -> Line {
        let content = Content::Report {
            role: role.to_owned(),
            what: String::new(),
            text: text.to_owned(),
            event: Some(Event::new(what, text)),
        };
        Line { at: at * 1_000_000, content }
    }

    fn drawn(lines: &[Line], broker: Option<&str>) -> String {
        let mut drawn = Drawn::of(lines, broker, 80).expect("wide enough");
        let mut rows = vec![drawn.head()];
        rows.extend(lines.iter().map(|line| drawn.line(line, 0)));
        rows.join("\n")
    }

    #[test]
    fn a_message_goes_over_the_broker_or_from_peer_to_peer() {
        let joined = |role: &str| Line {
            at: 0,
            content: Content::Report {
                role: role.into(),
                what: JOINED.into(),
                text: String::new(),
                event: None,
            },
        };
        let lines = [
            joined("consumer-0"),
            joined("producer-0"),
            report(2, "producer-0", What::Confirmed, "pay"),
            report(3, "consumer-0", What::Received, "pay"),
            report(4, "consumer-0", What::Acked, "pay"),
        ];
        let direct = [
            report(1, "requester-0", What::Requested, "who?"),
            report(2, "responder-1", What::Requested, "who?"),
            report(3, "responder-1", What::Replied, "responder-1 heard: who?"),
            report(4, "requester-0", What::Replied, "responder-1 heard: who?"),
        ];
        let both = [drawn(&lines, Some("redis")), drawn(&direct, None)].join("\n\n");
        insta::assert_snapshot!(both);
    }

    #[test]
    fn a_narrow_terminal_gets_plain_lines() {
        let lines: Vec<Line> =
            (0..6).map(|index| report(0, &format!("subscriber-{index}"), What::Received, "x")).collect();
        assert!(Drawn::of(&lines, Some("redis"), 80).is_none());
        assert!(Drawn::of(&lines, Some("redis"), 120).is_some());
    }
}
