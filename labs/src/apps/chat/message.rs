//! What is said, as it goes over the transport: a JSON object with a `text`, or
//! plain text of somebody who is no chat at all.
//!
//! `redis-cli PUBLISH chat:room.lobby hello` says hello in the lobby, and so does
//! `redis-cli PUBLISH chat:room.lobby '{"name":"me","text":"hello"}'`. Any other
//! field is optional. Times are microseconds since 1970.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::room::Room;

/// Longest text that can be said, in characters.
pub const LONGEST_TEXT: usize = 2_000;
/// Longest name, in characters.
pub const LONGEST_NAME: usize = 40;
/// Longest identifier, in bytes.
pub const LONGEST_ID: usize = 64;
/// The latest time that a message can tell, microseconds since 1970: the year 2200. A page could
/// not show a much later one.
const LATEST_US: u64 = 7_258_118_400_000_000;
/// Longest body that is looked at, in bytes: a text of four-byte characters, all escaped, and the rest.
pub const LONGEST_BODY: usize = 32 << 10;

/// Something that was said in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Given by the browser in which it was typed: whoever has it already has it
    /// twice now. Empty for what others have published without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Who said it. Nobody checks that: this is a lesson, not a messenger.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What was said. Text, never HTML.
    pub text: String,
    /// The way it took.
    #[serde(flatten)]
    pub way: Way,
}

/// The way of a message, and when it was where. What a stranger publishes has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The instance that its browser talks to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub via: String,
    /// When it left the browser, by that machine's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed_us: Option<u64>,
    /// When the instance had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_us: Option<u64>,
    /// When the instance handed it to the transport; the last time, if it had to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_us: Option<u64>,
}

impl Said {
    /// Reads what somebody has published: bytes of any kind. `None` for what is
    /// too long or empty.
    pub fn read(body: &[u8]) -> Option<Self> {
        if body.len() > LONGEST_BODY {
            return None;
        }
        let mut said = serde_json::from_slice(body).unwrap_or_else(|_| Self {
            id: String::new(),
            name: String::new(),
            text: String::from_utf8_lossy(body).into_owned(),
            way: Way::default(),
        });
        said.name = clean_name(&said.name);
        said.text = clean_text(&said.text)?;
        said.way.via = clean_name(&said.way.via);
        for time in [&mut said.way.typed_us, &mut said.way.taken_us, &mut said.way.published_us] {
            *time = time.filter(|time| is_time(*time));
        }
        if !is_id(&said.id) {
            said.id.clear();
        }
        Some(said)
    }

    /// As it is published.
    pub fn body(&self) -> Bytes {
        // A struct of texts and numbers has a JSON form.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// What was said, where, and its place in the history: what browsers are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Where it was said.
    pub room: Room,
    /// Its place in the history; none yet for what has come live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// When this instance had it from the transport, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_us: Option<u64>,
    /// What was said.
    #[serde(flatten)]
    pub said: Said,
}

/// Whether a time can be one that a message tells.
pub fn is_time(us: u64) -> bool {
    us <= LATEST_US
}

/// Whether an identifier is one.
pub fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

/// A name in one line without what could reverse or hide what stands beside it.
pub fn clean_name(name: &str) -> String {
    let kept: String = name.chars().filter(|c| !c.is_control() && !is_directional(*c)).collect();
    let short: String = kept.trim().chars().take(LONGEST_NAME).collect();
    short.trim_end().to_owned()
}

/// A text without control characters but line breaks; none if nothing is left or it is too long.
pub fn clean_text(text: &str) -> Option<String> {
    let kept: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let kept = kept.trim();
    (!kept.is_empty() && kept.chars().count() <= LONGEST_TEXT).then(|| kept.to_owned())
}

/// Unicode's embeddings, overrides and isolates of writing direction.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_understood() {
        let plain = Said::read(b"hello <b>\n").expect("text");
        assert_eq!((plain.text.as_str(), plain.name.as_str(), plain.id.as_str()), ("hello <b>", "", ""));
        let named =
            Said::read(br#"{"name":" me\u202e ","text":"hello","id":"<script>","more":1}"#).expect("text");
        assert_eq!((named.name.as_str(), named.text.as_str(), named.id.as_str()), ("me", "hello", ""));
        let late = Said::read(br#"{"text":"x","typed_us":18446744073709551615,"taken_us":7}"#).expect("text");
        assert_eq!((late.way.typed_us, late.way.taken_us), (None, Some(7)));
        for (body, text) in [
            (&b"12"[..], "12"),
            (b"{\"text\":3}", "{\"text\":3}"),
            (b"[1]", "[1]"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            (b"null", "null"),
        ] {
            assert_eq!(Said::read(body).expect("text").text, text);
        }
        assert_eq!(Said::read(b""), None);
        assert_eq!(Said::read(b" \x07 "), None);
        assert_eq!(Said::read("x".repeat(LONGEST_TEXT + 1).as_bytes()), None);
        assert_eq!(Said::read("x".repeat(LONGEST_BODY + 1).as_bytes()), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_text_within_bounds_or_nothing(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            if let Some(said) = Said::read(&body) {
                proptest::prop_assert!(said.text.chars().count() <= LONGEST_TEXT);
                proptest::prop_assert!(!said.text.trim().is_empty());
            }
        }

        #[test]
        fn what_is_published_is_read_back(name in "[^\\x00-\\x1f]{0,20}", text in "\\PC{1,80}", at in proptest::option::of(0_u64..1 << 52)) {
            let Some(text) = clean_text(&text) else { return Ok(()) };
            let way = Way { via: "A".to_owned(), typed_us: at, taken_us: at, published_us: None };
            let said = Said { id: "3-a".to_owned(), name: clean_name(&name), text, way };
            proptest::prop_assert_eq!(Said::read(&said.body()), Some(said));
        }
    }

    #[test]
    fn fuzz_chat_messages() {
        let long = format!("{{\"name\":\"{} {0}\",\"text\":\" x\"}}", "n".repeat(39));
        let seeds = [
            "hello <b>\n",
            r#"{"id":"a-1","name":"me\u202e","text":"hello\nworld","via":"one","typed_us":17,"taken_us":18}"#,
            long.as_str(),
        ];
        fuzz::Target::new("chat_messages").seeds(seeds).run(|input| {
            let Some(said) = Said::read(input) else { return false };
            assert!(said.text.chars().count() <= LONGEST_TEXT && said.id.len() <= LONGEST_ID);
            assert!(
                said.name.chars().count() <= LONGEST_NAME && said.way.via.chars().count() <= LONGEST_NAME
            );
            assert_eq!(Said::read(&said.body()).as_ref(), Some(&said));
            true
        });
    }
}
