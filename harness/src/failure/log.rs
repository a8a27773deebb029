//! What the roles of one part have reported, and questions about it.

use std::collections::BTreeMap;

use crate::roles::protocol::What;

/// Something that happened to a message, or to a role.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    /// ns of the clock.
    pub(crate) at: u64,
    /// The role.
    pub(crate) role: String,
    pub(crate) what: What,
    /// The message; for what failed, why.
    pub(crate) text: String,
    /// The request that a reply belongs to, the task that a result came from.
    pub(crate) about: String,
    /// Which delivery it was; 0: nobody counts.
    pub(crate) attempt: u32,
}

/// All of them, in the order in which they were heard: of one role, that of time.
#[derive(Debug, Default)]
pub(crate) struct Log(pub(crate) Vec<Happened>);

impl Log {
    /// What happened to a role (`consumer-1`), or to all of a kind (`consumer`).
    pub(crate) fn of<'a>(&'a self, who: &'a str, what: What) -> impl Iterator<Item = &'a Happened> + Clone {
        let is =
            move |role: &str| role == who || role.strip_prefix(who).is_some_and(|rest| rest.starts_with('-'));
        self.0.iter().filter(move |happened| happened.what == what && is(&happened.role))
    }

    /// How often.
    pub(crate) fn count(&self, who: &str, what: What) -> usize {
        self.of(who, what).count()
    }

    /// How often to messages that begin like this.
    pub(crate) fn count_of(&self, who: &str, what: What, begin: &str) -> usize {
        self.of(who, what).filter(|happened| happened.text.starts_with(begin)).count()
    }

    /// How many different messages, of those that begin like this.
    pub(crate) fn different(&self, who: &str, what: What, begin: &str) -> usize {
        self.times(who, what).keys().filter(|text| text.starts_with(begin)).count()
    }

    /// Each message it happened to, and when it first did.
    pub(crate) fn times<'a>(&'a self, who: &'a str, what: What) -> BTreeMap<&'a str, u64> {
        let mut times = BTreeMap::new();
        for happened in self.of(who, what) {
            let first = times.entry(happened.text.as_str()).or_insert(happened.at);
            *first = happened.at.min(*first);
        }
        times
    }

    /// The last moment at which it happened to anything.
    pub(crate) fn last(&self, who: &str, what: What) -> Option<u64> {
        self.of(who, what).map(|happened| happened.at).max()
    }

    /// Messages of the same key (behind the `@`) to which it happened in another order than that of
    /// their numbers; and messages of whatever key.
    pub(crate) fn out_of_order(&self, who: &str, what: What) -> (usize, usize) {
        let mut in_time: Vec<(u64, &str)> =
            self.times(who, what).into_iter().map(|(text, at)| (at, text)).collect();
        in_time.sort_unstable();
        let (mut latest, mut of_all) = (BTreeMap::new(), "");
        let (mut by_key, mut global) = (0, 0);
        for (_, text) in in_time {
            let (number, key) = text.split_once('@').unwrap_or((text, ""));
            let before = latest.entry(key).or_insert(number);
            by_key += usize::from(number < *before);
            *before = number.max(*before);
            global += usize::from(number < of_all);
            of_all = number.max(of_all);
        }
        (by_key, global)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_counted_by_key_and_over_all() {
        let log = |texts: &[&str]| {
            let happened = |(at, text): (u64, &&str)| Happened {
                at,
                role: "consumer-0".into(),
                what: What::Effect,
                text: (*text).into(),
                about: String::new(),
                attempt: 1,
            };
            Log((0..).zip(texts).map(happened).collect())
        };
        for (texts, expected) in [
            (&["m0@a", "m1@b", "m2@a"][..], (0, 0)),
            (&["m1@b", "m0@a", "m2@a"], (0, 1)),
            (&["m2@a", "m1@b", "m0@a"], (1, 2)),
            (&["m1", "m0"], (1, 1)),
        ] {
            assert_eq!(log(texts).out_of_order("consumer", What::Effect), expected, "{texts:?}");
        }
        assert_eq!(log(&["m0", "m0", "n1"]).different("consumer-0", What::Effect, "m"), 1);
        assert_eq!(log(&["m0"]).count("consumer-01", What::Effect), 0);
    }
}
