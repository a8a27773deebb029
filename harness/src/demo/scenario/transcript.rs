//! What happened in a scenario, with its times. The scenario runs at full speed, and is
//! printed afterwards, at a pace at which people can read: so reading does not slow down the
//! messages. Causes come before effects.

use std::io::Write as _;
use std::time::Duration;

use super::drawn::Drawn;
use super::line::{Content, JOINED, Line};
use crate::measure::clock;
use crate::roles::protocol::{Event, What};

/// How a scenario is printed.
pub(crate) struct OutputOptions {
    /// Print one JSON object per line instead of prose.
    pub(crate) json: bool,
    /// Pause before each line that is printed. The scenario itself knows no pause.
    pub(crate) pace: Duration,
    /// Pause before each step of the scenario, whose lines are then printed as they come: for
    /// tests that interfere.
    pub(crate) hold: Duration,
    /// The columns of the terminal, where lanes are drawn.
    pub(crate) lanes: Option<usize>,
}

/// Everything that happened so far.
pub(super) struct Transcript {
    lines: Vec<Line>,
    /// Each line is printed at once, in the order in which it is heard.
    live: bool,
    json: bool,
}

impl Transcript {
    pub(super) fn new(output: &OutputOptions) -> Self {
        Self { lines: Vec::new(), live: !output.hold.is_zero(), json: output.json }
    }

    /// What is seen of a role now.
    pub(super) fn seen(&mut self, role: &str, what: &str, text: &str) {
        let (what, text) = (what.to_owned(), text.to_owned());
        self.push(clock::now(), Content::Report { role: role.to_owned(), what, text, event: None });
    }

    /// What a role has reported. The role says when it happened, because reports of several
    /// roles arrive here in any order.
    pub(super) fn reported(&mut self, role: &str, event: &Event) {
        let at = event.at.unwrap_or_else(clock::now);
        // It joined before that; but of joining, only the report has a time.
        let joined = self.lines.iter_mut().rev().find(|line| {
            matches!(&line.content, Content::Report { role: who, what, .. } if who == role && what == JOINED)
        });
        if let Some(joined) = joined {
            joined.at = joined.at.min(at);
        }
        let what = match event.what {
            What::Requested if role.starts_with("requester") => "asked".to_owned(),
            What::Requested => "was asked".to_owned(),
            What::Replied if role.starts_with("requester") => "got the reply".to_owned(),
            What::Received if event.attempt.is_some_and(|attempt| attempt > 1) => "received again".to_owned(),
            what => format!("{what:?}").to_lowercase(),
        };
        let mut text = event.text.to_string();
        if let Some(topic) = &event.topic {
            text = format!("{topic}: {text}");
        }
        if let (Some(about), What::Replied) = (&event.about, event.what) {
            text = format!("{text}   (to: {about})");
        }
        // The line has a time of its own.
        let event = Some(Event { at: None, ..event.clone() });
        self.push(at, Content::Report { role: role.to_owned(), what, text, event });
    }

    pub(super) fn direct(&mut self, role: &str, text: &str) {
        self.push(clock::now(), Content::Direction { role: role.to_owned(), text: text.to_owned() });
    }

    pub(super) fn conclude(&mut self, text: &str) {
        self.push(clock::now(), Content::Conclusion(text.to_owned()));
    }

    fn push(&mut self, at: u64, content: Content) {
        self.lines.push(Line { at, content });
        if self.live
            && let (Some(first), Some(last)) = (self.lines.first(), self.lines.last())
        {
            print(&last.render(first.at, self.json));
        }
    }

    fn sort(&mut self) {
        self.lines.sort_by_key(|line| line.at);
    }

    /// Prints everything, unless it was printed live. A line that caused another is older than
    /// it: roles note when they begin to send, and when they have received.
    pub(super) async fn print(mut self, output: &OutputOptions, broker: Option<&str>) {
        if self.live {
            return;
        }
        self.sort();
        let start = self.lines.first().map_or(0, |line| line.at);
        let mut drawn = output.lanes.and_then(|columns| Drawn::of(&self.lines, broker, columns));
        if let Some(drawn) = &drawn {
            print(&drawn.head());
        }
        for (number, line) in self.lines.iter().enumerate() {
            if number > 0 && !output.pace.is_zero() {
                tokio::time::sleep(output.pace).await;
            }
            print(&match &mut drawn {
                Some(drawn) => drawn.line(line, start),
                None => line.render(start, self.json),
            });
        }
    }
}

fn print(line: &str) {
    // The reader of the output has closed it. The scenario still runs to its end.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(transcript: &mut Transcript) -> Vec<String> {
        transcript.sort();
        let text = |line: &Line| match &line.content {
            Content::Report { role, what, .. } => format!("{role} {what}"),
            Content::Direction { text, .. } | Content::Conclusion(text) => text.clone(),
        };
        transcript.lines.iter().map(text).collect()
    }

    fn transcript() -> Transcript {
        Transcript { lines: Vec::new(), live: false, json: false }
    }

    #[test]
    fn a_cause_that_is_heard_late_is_told_first() {
        let mut story = transcript();
        let sent = Event { at: Some(1), ..Event::new(What::Written, "one") };
        let received = Event { at: Some(2), ..Event::new(What::Received, "one") };
        // The receiver reports before its own joining and before the sender is heard.
        story.seen("receiver-0", JOINED, "");
        story.reported("receiver-0", &received);
        story.reported("sender-0", &sent);
        story.conclude("so it is");
        assert_eq!(
            order(&mut story),
            ["sender-0 written", "receiver-0 joined", "receiver-0 received", "so it is"]
        );
    }
}
