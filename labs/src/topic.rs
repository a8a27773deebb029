//! Topics, and the filters that subscribers choose them with.
//!
//! Filters are where transports differ most: Redis has globs, AMQP has words,
//! NATS has subjects, ØMQ has byte prefixes. A [`Filter`] keeps the dialect it was written in. A
//! lab passes it on where its transport speaks that dialect and refuses it by
//! name where it does not; nothing is silently translated into something wider.
//! [`Filter::matches`] is the reference: the peer-to-peer labs filter with it,
//! and the conformance suite holds brokers against it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};

mod matching;

pub use matching::glob;
use matching::{subjects, words};

/// Longest topic and filter, in bytes: AMQP's routing key is a short string.
pub const MAX_LEN: usize = 255;

/// What an event is about: words joined by dots, `chat.rust.help`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(std::sync::Arc<str>);

impl Topic {
    /// Words of `A-Z a-z 0-9 _ -`, joined by dots: what every transport can
    /// carry and no filter dialect gives a meaning to.
    pub fn new(topic: &str) -> Result<Self> {
        let word =
            |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        ensure!(
            topic.len() <= MAX_LEN,
            "topic is {} bytes long; at most {MAX_LEN} are possible",
            topic.len()
        );
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
#[derive(Debug, Default)]
pub struct TopicReader {
    last: Option<Topic>,
}

impl TopicReader {
    /// The topic that these bytes spell.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Topic> {
        match &self.last {
            Some(last) if last.as_str().as_bytes() == bytes => Ok(last.clone()),
            _ => Ok(self.last.insert(Topic::new(std::str::from_utf8(bytes)?)?).clone()),
        }
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
}

impl FilterKind {
    /// Every dialect: what a lab knows that filters with [`Filter::matches`].
    pub const ALL: [Self; 6] =
        [Self::All, Self::Exact, Self::Prefix, Self::Glob, Self::Words, Self::Subjects];
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
        })
    }
}

/// Which topics a subscriber wants, in the dialect it was written in.
///
/// As text: `all`, `exact:chat.rust`, `prefix:chat.`, `glob:chat.*`,
/// `words:chat.#`, `subjects:chat.>`.
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
        }
    }
}

impl FromStr for Filter {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, pattern) = text.split_once(':').unwrap_or((text, ""));
        ensure!(
            pattern.len() <= MAX_LEN,
            "filter is {} bytes long; at most {MAX_LEN} are possible",
            pattern.len()
        );
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
                        "`{word}` in `{text}` is no word: use a plain word, `*` for one word, `#` for any number"
                    );
                }
                Self::Words(pattern.to_owned())
            }
            "subjects" => {
                for word in pattern.strip_suffix(".>").unwrap_or(pattern).split('.') {
                    ensure!(
                        word == "*" || pattern == ">" || Topic::new(word).is_ok(),
                        "`{word}` in `{text}` is no word: use a plain word, `*` for one word, `>` at the end for all that follow"
                    );
                }
                Self::Subjects(pattern.to_owned())
            }
            _ => bail!(
                "`{text}` is not a filter: use all, exact:TOPIC, prefix:TEXT, glob:PATTERN, words:PATTERN or subjects:PATTERN"
            ),
        })
    }
}

/// Redis's `stringmatchlen`: on a mismatch, the last `*` takes one byte more.
/// Linear in memory, at most quadratic in time, never exponential.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        let step = (p < pattern.len() && t < text.len()).then(|| one(&pattern[p..], text[t])).flatten();
        match (step, retry) {
            (Some(width), _) => {
                p += width;
                t += 1;
            }
            (None, Some((after_star, taken))) if taken < text.len() => {
                retry = Some((after_star, taken + 1));
                (p, t) = (after_star, taken + 1);
            }
            _ => return false,
        }
    }
}

/// The width of the pattern's first element, if it matches `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern[0] {
        b'?' => Some(1),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        b'[' => {
            let negated = pattern.get(1) == Some(&b'^');
            let mut at = if negated { 2 } else { 1 };
            let mut found = false;
            while at < pattern.len() && pattern[at] != b']' {
                if pattern[at] == b'\\' && at + 1 < pattern.len() {
                    found |= pattern[at + 1] == byte;
                    at += 2;
                } else if at + 2 < pattern.len() && pattern[at + 1] == b'-' {
                    let (low, high) = (pattern[at].min(pattern[at + 2]), pattern[at].max(pattern[at + 2]));
                    found |= (low..=high).contains(&byte);
                    at += 3;
                } else {
                    found |= pattern[at] == byte;
                    at += 1;
                }
            }
            (found != negated).then_some((at + 1).min(pattern.len()))
        }
        literal => (literal == byte).then_some(1),
    }
}

/// AMQP 0-9-1, section 3.1.3.3: `*` matches one word, `#` zero or more. The
/// set of positions reached so far stands in for backtracking.
fn words(pattern: &str, topic: &str) -> bool {
    let topic: Vec<&str> = topic.split('.').collect();
    let mut reached = vec![false; topic.len() + 1];
    reached[0] = true;
    for word in pattern.split('.') {
        let mut next = vec![false; topic.len() + 1];
        let mut any_before = false;
        for at in 0..=topic.len() {
            any_before |= reached[at];
            next[at] = match word {
                "#" => any_before,
                "*" => at > 0 && reached[at - 1],
                plain => at > 0 && reached[at - 1] && topic[at - 1] == plain,
            };
        }
        reached = next;
    }
    reached[topic.len()]
}

/// NATS: `*` matches one word, and `>`, which can only be the last, one or more.
fn subjects(pattern: &str, topic: &str) -> bool {
    let mut topic = topic.split('.');
    for word in pattern.split('.') {
        match (word, topic.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (plain, Some(word)) if plain == word => {}
            _ => return false,
        }
    }
    topic.next().is_none()
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
        fn any_filter_text_survives_a_round_trip(text in "(exact|prefix|glob|words|subjects|all|x):?[a-z.*#>?\\[\\]^-]{0,12}") {
            if let Ok(filter) = text.parse::<Filter>() {
                proptest::prop_assert_eq!(filter.to_string().parse::<Filter>().ok(), Some(filter));
            }
        }
    }
}
