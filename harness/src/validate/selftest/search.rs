//! A check of the search for the sustainable rate, where that rate is known: a slow
//! receiver limits it. Steps, votes and rules are those of `lab bench`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::check::{Check, Known, SUSTAINED};
use super::checker::{Figure, RATE};
use super::verdict::{SIZE, Verdict, run_trial};
use crate::measure::schedule;
use crate::results::{Arrivals, Load, Objective, Purpose};
use crate::runner::limit::{LONGER, Limit, Votes, fault};

/// Where it begins, messages a second.
const START: f64 = 1_000.0;
/// The tolerance for the rate: pass and fail are at most this far apart.
const CLOSE: f64 = 0.05;
/// How far above the expected rate the lowest failing rate may be: 1 % is allowed to a trial
/// that falls short, and the next rate is a step above that.
const ABOVE: f64 = 0.1;

/// Runs the search, and compares its result with the expected one.
pub(super) async fn evaluate(check: &Check, seed: u64, attempts: usize) -> Result<Verdict> {
    let truth = check.known.iter().find_map(|known| match known {
        Known::Sustained(rate) => Some(*rate),
        _ => None,
    });
    let truth = truth.context("a check of a search needs the expected rate")?;
    let mut limit = Limit::new(START, schedule::null_rate(SIZE)? / 2.0);
    let mut held_up_ns = 0;
    while let Some((rate, purpose)) = limit.next() {
        let longer = if purpose == Purpose::Confirm { LONGER } else { 1.0 };
        let load = Load::rate(rate, Arrivals::Constant);
        let step = Check { load, seconds: check.seconds * longer, ..check.clone() };
        let mut votes = Votes::default();
        let passed = loop {
            let check_run = run_trial(&step, seed).await?;
            held_up_ns = held_up_ns.max(check_run.trial().noise.oversleep_max_ns);
            let why = fault(check_run.trial(), &Objective::default(), 1);
            if let Some(passed) = votes.cast(why.is_none()) {
                break passed;
            }
        };
        limit.tell(rate, purpose, passed);
    }
    let figures = figures(truth, &limit);
    Ok(Verdict {
        name: check.name,
        about: check.about,
        pattern: check.pattern.as_str(),
        seed,
        harmed: BTreeMap::new(),
        found: figures.iter().all(|figure| figure.good),
        figures,
        error: None,
        attempts,
        held_up_ns,
        headline: check.headline,
    })
}

/// The result of the search, beside the expected one.
fn figures(truth: f64, limit: &Limit) -> Vec<Figure> {
    let around = [truth * (1.0 - CLOSE), truth * (1.0 + CLOSE)];
    let above = [truth, truth * (1.0 + ABOVE)];
    vec![
        Figure::near(SUSTAINED, RATE, truth, limit.confirmed(), around),
        Figure::near("highest pass", RATE, truth, limit.pass(), around),
        Figure::near("lowest fail", RATE, truth, limit.fail(), above),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not found of 10,000 a second when everything up to `sustained` passes.
    fn missed(sustained: f64) -> Vec<String> {
        let mut limit = Limit::new(START, 1e6);
        while let Some((rate, purpose)) = limit.next() {
            limit.tell(rate, purpose, rate <= sustained);
        }
        let figures = figures(10_000.0, &limit).into_iter();
        figures.filter(|figure| !figure.good).map(|figure| figure.name).collect()
    }

    #[test]
    fn a_search_that_ends_elsewhere_is_noticed() {
        assert_eq!(missed(10_000.0), [""; 0]);
        assert_eq!(missed(9_000.0), [SUSTAINED, "highest pass", "lowest fail"]);
        assert_eq!(missed(11_500.0), [SUSTAINED, "highest pass", "lowest fail"]);
    }
}
