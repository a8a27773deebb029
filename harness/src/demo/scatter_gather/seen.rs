//! Workers that were known before and are not any more: a table that only shows who
//! is known would hide that one has died.

use std::collections::BTreeMap;

use labs::apps::gather::{Gathered, MOST};
use tokio::time::Instant;

/// When each worker was known last.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<String, Instant>);

/// A worker that is not known any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) name: String,
    /// Seconds since it was known last.
    pub(super) last_seen_s: u64,
}

impl Seen {
    /// Notes who is there now, and returns who has gone, the last seen first.
    pub(super) fn note(&mut self, gathered: &Gathered, now: Instant) -> Vec<Gone> {
        for name in gathered.known.keys().chain(gathered.strangers.keys()) {
            self.0.insert(name.clone(), now);
        }
        // As many as can be known: names come from the network.
        while self.0.len() > MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, at)| **at).map(|(name, _)| name.clone())
        {
            self.0.remove(&oldest);
        }
        let here = |name: &str| gathered.known.contains_key(name) || gathered.strangers.contains_key(name);
        let mut gone: Vec<Gone> = self
            .0
            .iter()
            .filter(|(name, _)| !here(name))
            .map(|(name, at)| Gone {
                name: name.clone(),
                last_seen_s: now.saturating_duration_since(*at).as_secs(),
            })
            .collect();
        gone.sort_by_key(|gone| gone.last_seen_s);
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_has_gone_is_remembered_and_who_returns_is_not_gone() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let gathered = |known: &[(&str, bool)]| Gathered {
            known: known
                .iter()
                .map(|(name, answered)| ((*name).to_owned(), answered.then(|| Ok(String::new()))))
                .collect(),
            strangers: BTreeMap::new(),
            late: 0,
            garbage: 0,
        };
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(seen.note(&gathered(&[("a", true), ("b", true)]), start), []);
        assert_eq!(
            seen.note(&gathered(&[("a", true), ("b", false)]), after(1)),
            [],
            "it is missing, not gone"
        );
        let gone = Gone { name: "b".to_owned(), last_seen_s: 4 };
        assert_eq!(seen.note(&gathered(&[("a", true)]), after(5)), [gone]);
        assert_eq!(seen.note(&gathered(&[("a", true), ("b", true)]), after(9)), []);
        let many: Vec<String> = (0..2 * MOST).map(|number| format!("w{number}")).collect();
        for name in &many {
            seen.note(&gathered(&[(name.as_str(), true)]), after(10));
        }
        assert_eq!(seen.0.len(), MOST);
    }
}
