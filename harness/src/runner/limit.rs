//! The search for the highest sustainable rate, as pure arithmetic: which rate to try
//! next, and whether a trial has passed.

use crate::results::{LoadKind, Objective, Purpose, Trial};

/// Pass and fail may be this far apart at the end.
const CLOSE: f64 = 1.05;
/// Where a longer run fails, the next is made this much lower.
const STEP_DOWN: f64 = 1.1;
/// Longer runs that may fail before the search gives up: the last is at half
/// of the rate that short trials have promised.
const CONFIRMATIONS: usize = 8;
/// A rate has passed, or failed, when this many of its trials have.
const MAJORITY: usize = 2;
/// How much longer the run is that confirms a rate.
pub(crate) const LONGER: f64 = 4.0;
/// Below this many messages a second nothing is searched for.
const LEAST: f64 = 10.0;

/// A search: ask [`Limit::next`] what to try, and report the result with [`Limit::tell`].
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    start: f64,
    /// The highest rate that the generator can offer, messages a second.
    ceiling: f64,
    /// Rates that have passed in short trials, and did not fail in a longer one.
    passed: Vec<f64>,
    fail: Option<f64>,
    confirmed: Option<f64>,
    refuted: usize,
}

impl Limit {
    /// A search that begins at `start` and goes no further than `ceiling`.
    pub(crate) fn new(start: f64, ceiling: f64) -> Self {
        let ceiling = ceiling.max(LEAST);
        Self {
            start: start.clamp(LEAST, ceiling),
            ceiling,
            passed: Vec::new(),
            fail: None,
            confirmed: None,
            refuted: 0,
        }
    }

    /// The rate to try next; `None` when the search has ended.
    pub(crate) fn next(&self) -> Option<(f64, Purpose)> {
        if self.confirmed.is_some() || self.refuted >= CONFIRMATIONS {
            return None;
        }
        let (rate, purpose) = match (self.pass(), self.fail) {
            // Short trials have promised too much: only longer ones count from here on.
            (_, Some(fail)) if self.refuted > 0 => (fail / STEP_DOWN, Purpose::Confirm),
            (None, None) => (self.start, Purpose::Bracket),
            (Some(pass), None) if pass >= self.ceiling => (pass, Purpose::Confirm),
            (Some(pass), None) => ((pass * 2.0).min(self.ceiling), Purpose::Bracket),
            (None, Some(fail)) if fail / 2.0 < LEAST => return None,
            (None, Some(fail)) => (fail / 2.0, Purpose::Bracket),
            (Some(pass), Some(fail)) if fail / pass <= CLOSE => (pass, Purpose::Confirm),
            // Halfway in proportion: rates span orders of magnitude.
            (Some(pass), Some(fail)) => ((pass * fail).sqrt(), Purpose::Bisect),
        };
        Some((rounded(rate).min(self.ceiling), purpose))
    }

    /// How it went.
    pub(crate) fn tell(&mut self, rate: f64, purpose: Purpose, passed: bool) {
        match (purpose, passed) {
            (Purpose::Confirm, true) => {
                self.confirmed = Some(rate);
                self.passed.retain(|pass| *pass < rate);
                self.passed.push(rate);
            }
            (_, true) => self.passed.push(rate),
            (_, false) => {
                self.refuted += usize::from(purpose == Purpose::Confirm);
                self.passed.retain(|pass| *pass < rate);
                self.fail = Some(self.fail.map_or(rate, |fail| fail.min(rate)));
            }
        }
    }

    /// The highest rate that has passed.
    pub(crate) fn pass(&self) -> Option<f64> {
        self.passed.iter().copied().max_by(f64::total_cmp)
    }

    /// The lowest rate that has failed.
    pub(crate) fn fail(&self) -> Option<f64> {
        self.fail
    }

    /// The rate that a longer run has confirmed.
    pub(crate) fn confirmed(&self) -> Option<f64> {
        self.confirmed
    }

    /// A note on how the search ended.
    pub(crate) fn note(&self) -> Option<String> {
        match (self.confirmed, self.fail) {
            (Some(_), Some(_)) => None,
            (Some(rate), None) => Some(format!(
                "only a lower bound: {rate} messages a second passed, and the load generator is not reliable \
                 above that"
            )),
            (None, Some(fail)) if self.refuted == 0 => {
                Some(format!("no rate passed: the lowest one tried, {fail} a second, failed"))
            }
            (None, Some(fail)) => Some(format!(
                "{CONFIRMATIONS} longer runs failed, the last at {fail} a second: no sustainable rate was \
                 confirmed"
            )),
            (None, None) => Some("no rate was tried".to_owned()),
        }
    }
}

/// The trials of one rate, until most of them agree.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    passed: usize,
    failed: usize,
}

impl Votes {
    /// Counts one more; what most say, when that is clear.
    pub(crate) fn cast(&mut self, passed: bool) -> Option<bool> {
        let votes = if passed { &mut self.passed } else { &mut self.failed };
        *votes += 1;
        (*votes >= MAJORITY).then_some(passed)
    }
}

/// Three significant digits: a rate to be typed and compared.
pub(crate) fn rounded(rate: f64) -> f64 {
    let unit = 10_f64.powi((rate.log10().floor() as i32 - 2).max(0));
    (rate / unit).round() * unit
}

/// A backlog may grow by this share of the due messages: 1 % is the rest of 99 %.
const GROWTH: f64 = 0.01;
/// Or by this many messages, which a few late wake-ups leave at any rate.
const GROWTH_MESSAGES: f64 = 100.0;

/// Why a trial at a rate did not pass; `None` where it did. `copies` is how
/// many receivers get each message.
pub(crate) fn fault(trial: &Trial, objective: &Objective, copies: u64) -> Option<String> {
    if let Some(failed) = &trial.failed {
        return Some(failed.clone());
    }
    let due = (trial.due * copies) as f64;
    let received = trial.throughput_per_s * trial.seconds;
    if received < objective.achieved * due {
        return Some(format!("{:.1} % of the due messages were received in time", received / due * 100.0));
    }
    if trial.counts.confirmed_lost > 0 {
        return Some(format!("{} confirmed messages were lost", trial.counts.confirmed_lost));
    }
    let [before, after] = trial.backlog;
    let growth = after.saturating_sub(before) as f64;
    if growth > (GROWTH * due).max(GROWTH_MESSAGES) {
        return Some(format!("the backlog grew from {before} to {after} messages"));
    }
    // Where there are too few samples for a p99, none may be above it.
    let (name, slow) = match trial.response_ns.p99 {
        Some(p99) => ("p99", Some(p99)),
        None => ("the slowest", trial.response_ns.max),
    };
    match slow {
        Some(ns) if ns > objective.p99_ns => Some(format!("{name} took {:.1} ms", ns as f64 / 1e6)),
        Some(_) => None,
        None => Some("nothing was measured".to_owned()),
    }
}

/// Whether a load is one that a search is made for.
pub(crate) fn is_search(kind: LoadKind) -> bool {
    matches!(kind, LoadKind::Capacity | LoadKind::Sweep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Counts, Percentiles};
    use proptest::prelude::*;

    /// Searches a lab that sustains exactly `limit`, where longer runs sustain `share` of it.
    fn search(limit: f64, share: f64, start: f64, ceiling: f64) -> (Limit, usize) {
        let mut search = Limit::new(start, ceiling);
        let mut steps = 0;
        while let Some((rate, purpose)) = search.next() {
            let holds = if purpose == Purpose::Confirm { limit * share } else { limit };
            search.tell(rate, purpose, rate <= holds);
            steps += 1;
            assert!(steps < 200, "{search:?}");
        }
        (search, steps)
    }

    proptest! {
        #[test]
        fn a_limit_is_found_to_a_twentieth(limit in 25.0..1e7_f64, start in 1.0..1e7_f64) {
            let (found, steps) = search(limit, 1.0, start, 1e9);
            let rate = found.confirmed().expect("confirmed");
            prop_assert!(rate <= limit && limit <= rate * CLOSE * 1.02, "{limit}: {found:?}");
            prop_assert!(found.fail().expect("a fail") > limit);
            prop_assert!(steps < 40);
        }

        #[test]
        fn what_a_longer_run_refutes_is_confirmed_below(limit in 200.0..1e6_f64, share in 0.6..0.95_f64) {
            let (found, _) = search(limit, share, limit / 8.0, 1e9);
            let rate = found.confirmed().expect("a rate");
            prop_assert!(rate <= limit * share && limit * share <= rate * STEP_DOWN * 1.02, "{found:?}");
            prop_assert_eq!(found.pass(), Some(rate));
        }

        #[test]
        fn what_no_longer_run_confirms_is_not_sustained(limit in 200.0..1e6_f64) {
            let (found, _) = search(limit, 0.2, limit / 8.0, 1e9);
            prop_assert_eq!(found.confirmed(), None);
            prop_assert!(found.note().expect("a note").contains("no sustainable rate"));
        }
    }

    #[test]
    fn the_generator_sets_an_end_and_the_result_says_so() {
        let (found, _) = search(1e9, 1.0, 1000.0, 50_000.0);
        assert_eq!((found.confirmed(), found.fail()), (Some(50_000.0), None));
        assert!(found.note().expect("a note").contains("lower bound"));
    }

    #[test]
    fn what_sustains_nothing_ends_with_a_reason() {
        let (found, _) = search(0.0, 1.0, 1000.0, 1e9);
        assert_eq!(found.confirmed(), None);
        assert!(found.note().expect("a note").contains("no rate passed"));
    }

    #[test]
    fn rates_are_rounded_to_three_digits() {
        for (rate, expected) in [(12.34, 12.0), (123.4, 123.0), (123_456.0, 123_000.0), (999_999.0, 1e6)] {
            assert_eq!(rounded(rate), expected);
        }
    }

    #[test]
    fn two_of_three_decide() {
        let decided = |votes: &[bool]| {
            let mut ballot = Votes::default();
            votes.iter().map(|passed| ballot.cast(*passed)).collect::<Vec<_>>()
        };
        assert_eq!(decided(&[true, true]), [None, Some(true)]);
        assert_eq!(decided(&[true, false, false]), [None, None, Some(false)]);
        assert_eq!(decided(&[false, true, true]), [None, None, Some(true)]);
    }

    #[test]
    fn each_rule_fails_a_trial_by_name() {
        let fine = || Trial {
            seconds: 2.0,
            due: 20_000,
            throughput_per_s: 10_000.0,
            response_ns: Percentiles {
                p99: Some(9_000_000),
                max: Some(50_000_000),
                ..Percentiles::default()
            },
            ..Trial::default()
        };
        let check = |change: fn(&mut Trial), expected: Option<&str>| {
            let mut trial = fine();
            change(&mut trial);
            let why = fault(&trial, &Objective::default(), 1);
            assert_eq!(why.is_some(), expected.is_some(), "{why:?}");
            assert!(why.unwrap_or_default().contains(expected.unwrap_or_default()), "{expected:?}");
        };
        check(|_| {}, None);
        check(|trial| trial.failed = Some("it died".to_owned()), Some("it died"));
        check(|trial| trial.throughput_per_s = 9_900.0, None);
        check(|trial| trial.throughput_per_s = 9_899.0, Some("99.0 %"));
        check(|trial| trial.counts = Counts { confirmed_lost: 1, ..Counts::default() }, Some("confirmed"));
        check(|trial| trial.backlog = [500, 700], None);
        check(|trial| trial.backlog = [500, 701], Some("500 to 701"));
        check(|trial| trial.response_ns.p99 = Some(10_000_001), Some("p99 took 10.0 ms"));
        check(|trial| trial.response_ns.p99 = None, Some("the slowest took 50.0 ms"));
        check(|trial| trial.response_ns = Percentiles::default(), Some("nothing was measured"));
        // Three subscribers of each message: three times as much is expected.
        assert!(fault(&fine(), &Objective::default(), 3).is_some());
    }
}
