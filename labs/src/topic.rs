//! Topics, and the filters with which subscribers select them.
//!
//! Filters are where transports differ most: Redis has globs, AMQP has words, MQTT has levels,
//! NATS has subjects, ØMQ has byte prefixes. A [`Filter`] keeps the dialect it was written in. A
//! lab passes it on where its transport speaks that dialect and refuses it by
//! name where it does not; nothing is silently translated into something wider.
//! [`Filter::matches`] is the reference: the peer-to-peer labs filter with it,
//! and the conformance suite holds brokers against it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};

use crate::place::Place;

mod matching;

pub use matching::glob;
use matching::{levels, subjects, words};

/// Longest topic and filter, in bytes: AMQP's routing key is a short string.
pub const MAX_LEN: usize = 255;

/// The topic of an event: words joined by dots, `chat.rust.help`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(std::sync::Arc<str>);

impl Topic {
    /// Words of `A-Z a-z 0-9 _ -`, joined by dots: what every transport can
    /// carry and no filter dialect gives a meaning to.
    pub fn new(topic: &str) -> Result<Self> {
        let word =
            |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        ensure!(topic.len() <= MAX_LEN, "topic is {} bytes long; the maximum is {MAX_LEN}", topic.len());
        ensure!(
            topic.split('.').all(word),
            "`{topic}` is not a topic: use words of letters, digits, `_` and `-`, joined by dots, as in `chat.rust`"
        );
        Ok(Self(topic.into()))
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Reads topics off the wire; one that repeats costs no allocation.
pub struct TopicReader {
    place: Place,
    last: Option<Topic>,
}

impl TopicReader {
    /// Counts at `place` the messages whose topics no lab wrote.
    pub fn new(place: &Place) -> Self {
        Self { place: place.clone(), last: None }
    }

    /// The topic that these bytes spell. `None` for what is not a topic: whoever publishes with
    /// another program can use any bytes. The message is counted as skipped.
    pub fn read(&mut self, bytes: &[u8]) -> Option<Topic> {
        match &self.last {
            Some(last) if last.as_str().as_bytes() == bytes => Some(last.clone()),
            _ => match std::str::from_utf8(bytes).context("a topic is not UTF-8").and_then(Topic::new) {
                Ok(topic) => Some(self.last.insert(topic).clone()),
                Err(why) => self.skip(why),
            },
        }
    }

    /// Counts a message that has no topic, or nothing behind it.
    pub fn skip<T>(&self, why: impl fmt::Display) -> Option<T> {
        self.place.message_skipped(why);
        None
    }
}

/// The dialects of filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterKind {
    /// Everything.
    All,
    /// One topic.
    Exact,
    /// Topics that begin with these bytes (ØMQ).
    Prefix,
    /// `*` any run of characters, `?` one, `[a-c]` one of, `\` literally (Redis).
    Glob,
    /// `*` exactly one word, `#` any number of words (AMQP).
    Words,
    /// `*` exactly one word, `>` at the end one word or more (NATS).
    Subjects,
    /// `+` exactly one level, `#`, only at the end, any number of them (MQTT).
    Levels,
}

impl FilterKind {
    /// Every dialect: what a lab knows that filters with [`Filter::matches`].
    pub const ALL: [Self; 7] =
        [Self::All, Self::Exact, Self::Prefix, Self::Glob, Self::Words, Self::Subjects, Self::Levels];
}

impl fmt::Display for FilterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::All => "all",
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Glob => "glob",
            Self::Words => "words",
            Self::Subjects => "subjects",
            Self::Levels => "levels",
        })
    }
}

/// A filter for topics, in the dialect it was written in.
///
/// As text: `all`, `exact:chat.rust`, `prefix:chat.`, `glob:chat.*`,
/// `words:chat.#`, `subjects:chat.>`, `levels:chat/+`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Everything.
    All,
    /// One topic.
    Exact(Topic),
    /// Topics that begin with these bytes.
    Prefix(String),
    /// A Redis glob over the whole topic; `*` crosses dots.
    Glob(String),
    /// An AMQP binding key: `*` is one word, `#` any number of them.
    Words(String),
    /// A NATS subject: `*` is one word, `>` at the end all that follow, at least one.
    Subjects(String),
    /// An MQTT topic filter: the words of a topic are its levels, joined by
    /// slashes; `+` is one level, `#` any number of them, at the end.
    Levels(String),
}

impl Filter {
    /// The dialect.
    pub const fn kind(&self) -> FilterKind {
        match self {
            Self::All => FilterKind::All,
            Self::Exact(_) => FilterKind::Exact,
            Self::Prefix(_) => FilterKind::Prefix,
            Self::Glob(_) => FilterKind::Glob,
            Self::Words(_) => FilterKind::Words,
            Self::Subjects(_) => FilterKind::Subjects,
            Self::Levels(_) => FilterKind::Levels,
        }
    }

    /// Refuses, by name, a filter the transport cannot express.
    pub fn require(&self, transport: &str, kinds: &[FilterKind]) -> Result<()> {
        if kinds.contains(&self.kind()) {
            return Ok(());
        }
        let known: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        bail!(
            "{transport} cannot express the {} filter `{self}`; it knows: {}",
            self.kind(),
            known.join(", ")
        );
    }

    /// Whether an event under `topic` is wanted.
    pub fn matches(&self, topic: &Topic) -> bool {
        let topic = topic.as_str();
        match self {
            Self::All => true,
            Self::Exact(wanted) => wanted.as_str() == topic,
            Self::Prefix(prefix) => topic.starts_with(prefix.as_str()),
            Self::Glob(pattern) => glob(pattern, topic),
            Self::Words(pattern) => words(pattern, topic),
            Self::Subjects(pattern) => subjects(pattern, topic),
            Self::Levels(pattern) => levels(pattern, topic),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(f, "all"),
            Self::Exact(topic) => write!(f, "exact:{topic}"),
            Self::Prefix(text) => write!(f, "prefix:{text}"),
            Self::Glob(text) => write!(f, "glob:{text}"),
            Self::Words(text) => write!(f, "words:{text}"),
            Self::Subjects(text) => write!(f, "subjects:{text}"),
            Self::Levels(text) => write!(f, "levels:{text}"),
        }
    }
}

impl FromStr for Filter {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, pattern) = text.split_once(':').unwrap_or((text, ""));
        ensure!(pattern.len() <= MAX_LEN, "filter is {} bytes long; the maximum is {MAX_LEN}", pattern.len());
        ensure!(!pattern.contains(|c: char| c.is_control()), "filter `{text:?}` has control characters");
        Ok(match kind {
            "all" if pattern.is_empty() => Self::All,
            "exact" => Self::Exact(Topic::new(pattern)?),
            "prefix" => Self::Prefix(pattern.to_owned()),
            "glob" => Self::Glob(pattern.to_owned()),
            "words" => {
                for word in pattern.split('.') {
                    ensure!(
                        word == "*" || word == "#" || Topic::new(word).is_ok(),
                        "`{word}` in `{text}` is not a word: use a plain word, `*` for one word, `#` for any number"
                    );
                }
                Self::Words(pattern.to_owned())
            }
            "subjects" => {
                for word in pattern.strip_suffix(".>").unwrap_or(pattern).split('.') {
                    ensure!(
                        word == "*" || pattern == ">" || Topic::new(word).is_ok(),
                        "`{word}` in `{text}` is not a word: use a plain word, `*` for one word, `>` at the end for all that follow"
                    );
                }
                Self::Subjects(pattern.to_owned())
            }
            "levels" => {
                let level = |level: &str| level == "+" || (!level.contains('.') && Topic::new(level).is_ok());
                let mut backwards = pattern.split('/').rev();
                ensure!(
                    backwards.next().is_some_and(|last| last == "#" || level(last)) && backwards.all(level),
                    "`{text}` is not a filter of levels: use plain words joined by `/`, `+` for one level, `#` at the end for any number"
                );
                Self::Levels(pattern.to_owned())
            }
            _ => bail!(
                "`{text}` is not a filter: use all, exact:TOPIC, prefix:TEXT, glob:PATTERN, words:PATTERN, subjects:PATTERN or levels:PATTERN"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, topic: &str, expected: bool) {
        let filter: Filter = filter.parse().expect("a filter");
        let topic = Topic::new(topic).expect("a topic");
        assert_eq!(filter.matches(&topic), expected, "{filter} on {topic}");
    }

    #[test]
    fn filters_match_as_their_dialect_says() {
        check("all", "a", true);
        check("exact:chat.rust", "chat.rust", true);
        check("exact:chat.rust", "chat.rust.help", false);
        check("prefix:chat.r", "chat.rust", true);
        check("prefix:chat.", "chat", false);
        check("prefix:", "chat", true);
        check("glob:chat.*", "chat.rust.help", true);
        check("glob:chat.*", "chat", false);
        check("glob:*", "chat", true);
        check("glob:", "chat", false);
        check("glob:ch?t", "chat", true);
        check("glob:ch[a-c]t", "chat", true);
        check("glob:ch[^a]t", "chat", false);
        check("glob:ch[", "chat", false);
        check("glob:*a*b", "xaxxbxb", true);
        check("glob:\\chat", "chat", true);
        check("words:chat.*", "chat.rust", true);
        check("words:chat.*", "chat.rust.help", false);
        check("words:chat.#", "chat", true);
        check("words:chat.#", "chat.rust.help", true);
        check("words:#.help", "help", true);
        check("words:#.help.#", "chat.rust.help", true);
        check("words:*.*", "chat", false);
        check("words:#.#", "chat", true);
        check("levels:chat/+", "chat.rust", true);
        check("levels:chat/+", "chat", false);
        check("levels:chat/+", "chat.rust.help", false);
        check("levels:+/rust/+", "chat.rust.help", true);
        check("levels:chat/#", "chat", true);
        check("levels:chat/#", "chat.rust.help", true);
        check("levels:chat/#", "chatter", false);
        check("levels:#", "chat", true);
        check("levels:chat", "chat.rust", false);
        check("subjects:chat.*", "chat.rust", true);
        check("subjects:chat.*", "chat.rust.help", false);
        check("subjects:chat.>", "chat.rust.help", true);
        check("subjects:chat.>", "chat", false);
        check("subjects:>", "chat", true);
        check("subjects:*.rust", "chat.rust", true);
        check("subjects:chat", "chat.rust", false);
    }

    #[test]
    fn what_is_no_topic_or_filter_is_refused() {
        for bad in ["", ".", "a..b", "a b", "a.*", "a/b", "é"] {
            assert!(Topic::new(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "some",
            "all:x",
            "exact:a.*",
            "words:a.b*",
            "glob:\n",
            "subjects:>.a",
            "subjects:a.#",
            "subjects:",
        ] {
            assert!(bad.parse::<Filter>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_impossible_filter_is_refused_by_name() {
        let filter: Filter = "glob:chat.*".parse().expect("a filter");
        let error =
            filter.require("zeromq", &[FilterKind::All, FilterKind::Prefix]).expect_err("no globs in ØMQ");
        assert_eq!(
            error.to_string(),
            "zeromq cannot express the glob filter `glob:chat.*`; it knows: all, prefix"
        );
    }

    proptest::proptest! {
        #[test]
        fn globs_agree_with_backtracking(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            fn slow(p: &[u8], t: &[u8]) -> bool {
                match (p.first(), t.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => slow(&p[1..], t) || (!t.is_empty() && slow(p, &t[1..])),
                    (Some(b'?'), Some(_)) => slow(&p[1..], &t[1..]),
                    (Some(a), Some(b)) if a == b => slow(&p[1..], &t[1..]),
                    _ => false,
                }
            }
            proptest::prop_assert_eq!(glob(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn any_filter_text_survives_a_round_trip(text in "(exact|prefix|glob|words|subjects|levels|all|x):?[a-z.*#>?/+\\[\\]^-]{0,12}") {
            if let Ok(filter) = text.parse::<Filter>() {
                proptest::prop_assert_eq!(filter.to_string().parse::<Filter>().ok(), Some(filter));
            }
        }
    }

    #[test]
    fn fuzz_topics() {
        fuzz::Target::new("topics").seeds(["chat", "chat.rust.help", "A_b-9.c"]).run(|input| {
            let (mut reader, plain) =
                (TopicReader::new(&Place::new("fuzz", None)), std::str::from_utf8(input).map(Topic::new));
            let topic = reader.read(input);
            assert_eq!(topic.as_ref(), plain.ok().and_then(Result::ok).as_ref());
            assert_eq!(reader.read(input), topic, "also the second time");
            topic.is_some_and(|topic| topic.as_str().as_bytes() == input)
        });
    }

    /// A filter, and topics to match it with, a line each.
    #[test]
    fn fuzz_filters() {
        let topics = "\nchat\nchat.rust.help\na.b.a.b.a.b.a.b";
        let filters = [
            "all",
            "exact:chat.rust",
            "prefix:chat.",
            "glob:c*[^a-c]\\t?*",
            "words:#.chat.*.#",
            "subjects:*.rust.>",
            "levels:+/rust/#",
        ];
        let seeds = filters.iter().map(|filter| format!("{filter}{topics}"));
        fuzz::Target::new("filters").seeds(seeds).run(|input| {
            let Ok(text) = std::str::from_utf8(input) else { return false };
            let mut lines = text.split('\n');
            let Ok(filter) = lines.next().unwrap_or_default().parse::<Filter>() else { return false };
            assert_eq!(filter.to_string().parse::<Filter>().expect("a filter"), filter);
            let topics = lines.filter_map(|line| Topic::new(line).ok());
            let _ = topics.filter(|topic| filter.matches(topic)).count();
            true
        });
    }
}
