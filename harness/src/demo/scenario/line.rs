//! One line of a transcript.

use serde_json::json;

use crate::roles::protocol::Event;

pub(super) struct Line {
    /// ns of the clock.
    pub(super) at: u64,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// What a role reported, or what was seen of it.
    Report { role: String, what: String, text: String, event: Option<Event> },
    /// An instruction to a role, or an action on it; the role is empty where it is for all.
    Direction { role: String, text: String },
    /// What follows from the reports.
    Conclusion(String),
}

/// A role has joined.
pub(super) const JOINED: &str = "joined";

impl Line {
    pub(super) fn render(&self, start: u64, json: bool) -> String {
        let elapsed = self.at.saturating_sub(start);
        if json {
            let mut line = match &self.content {
                Content::Report { role, what, text, event } => {
                    json!({ "role": role, "what": what, "text": text, "event": event })
                }
                Content::Direction { role, text } => json!({ "direction": role, "text": text }),
                Content::Conclusion(text) => json!({ "conclusion": text }),
            };
            line["elapsed_ns"] = elapsed.into();
            return line.to_string();
        }
        match &self.content {
            Content::Report { role, what, text, .. } => {
                let line = format!("  {:>9}  {role:<14} {what:<15} {text}", milliseconds(elapsed));
                line.trim_end().to_owned()
            }
            Content::Direction { role, text } if role.is_empty() => {
                format!("  {:>9}  → {text}", milliseconds(elapsed))
            }
            Content::Direction { role, text } => format!("  {:>9}  → {role} {text}", milliseconds(elapsed)),
            Content::Conclusion(text) => format!("  = {text}"),
        }
    }
}

/// `+1.2 ms`: the time since the first line.
pub(super) fn milliseconds(elapsed: u64) -> String {
    format!("+{:.1} ms", elapsed as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_begin_with_the_first_line() {
        let line =
            Line { at: 3_210_000, content: Content::Direction { role: String::new(), text: "x".into() } };
        assert_eq!(line.render(2_000_000, false), "    +1.2 ms  → x");
        assert_eq!(line.render(2_000_000, true), r#"{"direction":"","elapsed_ns":1210000,"text":"x"}"#);
    }
}
