//! Leaves out events, so that a file and a picture stay small.

use std::collections::BTreeMap;

use crate::results::{MOST_EVENTS, ScenarioEvent};

/// At most as many events as are kept, and how many were left out: of each kind of each role, evenly
/// over time.
pub(super) fn thinned(events: Vec<ScenarioEvent>) -> (Vec<ScenarioEvent>, u64) {
    let all = events.len();
    let kind = |event: &ScenarioEvent| (event.who.clone(), event.what.clone());
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    events.iter().for_each(|event| *counts.entry(kind(event)).or_default() += 1);
    let most = MOST_EVENTS / counts.len().max(1);
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let kept: Vec<ScenarioEvent> = events
        .into_iter()
        .filter(|event| {
            let step = counts[&kind(event)].div_ceil(most.max(1));
            let number = seen.entry(kind(event)).or_default();
            *number += 1;
            (*number - 1).is_multiple_of(step)
        })
        .collect();
    let left_out = (all - kept.len()) as u64;
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_thinned_evenly_and_rare_ones_stay() {
        let event = |at: u64, what: &str| ScenarioEvent {
            at,
            who: "a-0".into(),
            what: what.into(),
            text: String::new(),
            attempt: None,
        };
        let mut events: Vec<ScenarioEvent> = (0..5_000).map(|at| event(at, "received")).collect();
        events.push(event(4_999, "failed"));
        let (kept, left_out) = thinned(events);
        assert!(kept.len() <= MOST_EVENTS && kept.len() as u64 + left_out == 5_001, "{}", kept.len());
        assert!(kept.iter().any(|event| event.what == "failed"));
        assert!(kept.iter().any(|event| event.at > 4_900 && event.what == "received"));
    }
}
