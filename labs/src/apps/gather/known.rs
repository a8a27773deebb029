//! The workers that are known: those whose heartbeat came recently.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The workers whose heartbeat came recently, up to a limit.
#[derive(Debug)]
pub struct Known {
    until: BTreeMap<String, Instant>,
    expiry: Duration,
    most: usize,
    refused: u64,
}

impl Known {
    /// Starts with none. A heartbeat makes a worker known for `expiry`; at most `most`
    /// are known at once.
    pub fn new(expiry: Duration, most: usize) -> Self {
        Self { until: BTreeMap::new(), expiry, most, refused: 0 }
    }

    /// A heartbeat of this worker. Beyond the limit it is not recorded, but counted.
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

    /// This worker has left.
    pub fn left(&mut self, name: &str) {
        self.until.remove(name);
    }

    /// The workers that are known now, in alphabetical order.
    pub fn names(&mut self, now: Instant) -> Vec<String> {
        self.forget_the_silent(now);
        self.until.keys().cloned().collect()
    }

    /// Heartbeats beyond the limit.
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
    fn silent_workers_are_forgotten_and_the_table_is_bounded() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let mut known = Known::new(2 * second, 2);
        known.heard("a", start);
        known.heard("b", start + second);
        known.heard("c", start + second);
        assert_eq!((known.names(start + second), known.refused()), (vec!["a".into(), "b".into()], 1));
        known.heard("a", start + second);
        assert_eq!(known.names(start + 2 * second), ["a", "b"], "another heartbeat extends the time");
        known.left("a");
        known.heard("c", start + 2 * second);
        assert_eq!(known.names(start + 3 * second), ["c"], "b was silent for too long");
    }
}
