//! Who is there, as far as one can know: who was heard lately.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The workers that were heard lately; no more than a limit of them.
#[derive(Debug)]
pub struct Known {
    until: BTreeMap<String, Instant>,
    expiry: Duration,
    most: usize,
    refused: u64,
}

impl Known {
    /// Nobody; whoever is heard is known for `expiry`, and at most `most` are.
    pub fn new(expiry: Duration, most: usize) -> Self {
        Self { until: BTreeMap::new(), expiry, most, refused: 0 }
    }

    /// This worker was heard. One too many is not taken down, but counted.
    pub fn heard(&mut self, name: &str, now: Instant) {
        if self.until.len() >= self.most && !self.until.contains_key(name) {
            self.forget_the_silent(now);
            if self.until.len() >= self.most {
                self.refused += 1;
                return;
            }
        }
        self.until.insert(name.to_owned(), now + self.expiry);
    }

    /// This worker has said good-bye.
    pub fn left(&mut self, name: &str) {
        self.until.remove(name);
    }

    /// Those who are known now, in alphabetical order.
    pub fn names(&mut self, now: Instant) -> Vec<String> {
        self.forget_the_silent(now);
        self.until.keys().cloned().collect()
    }

    /// Heartbeats for which there was no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn forget_the_silent(&mut self, now: Instant) {
        self.until.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_silent_is_forgotten_and_the_table_is_bounded() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let mut known = Known::new(2 * second, 2);
        known.heard("a", start);
        known.heard("b", start + second);
        known.heard("c", start + second);
        assert_eq!((known.names(start + second), known.refused()), (vec!["a".into(), "b".into()], 1));
        known.heard("a", start + second);
        assert_eq!(known.names(start + 2 * second), ["a", "b"], "who is heard again is known for longer");
        known.left("a");
        known.heard("c", start + 2 * second);
        assert_eq!(known.names(start + 3 * second), ["c"], "b was silent for too long");
    }
}
