//! The verdict from paired samples. Pure: the same samples always give the same verdict.
//!
//! Each round measures base, head and base once more, one after the other, in random
//! order. If head is the same as base, only the random order decides which of them was
//! faster. The test needs no other assumption to be exact.

use super::measures::Measure;
use super::outcome::{Gate, Outcome, Ratio, Verdict};
use super::record::{Arm, Record, Sample};
use crate::stats;

/// How sure a bound is by itself, and all gates of a run together: a run over
/// unchanged code says "regressed" in one of a hundred cases at most.
pub const ALPHA: f64 = 0.01;
/// This many failed trials of head and none of base are not a coincidence.
const FAILURES: usize = 3;

/// Judges a run; `min_effect` is the least slowdown that counts, 0.03 for 3 %.
pub fn evaluate(record: &Record, min_effect: f64) -> Verdict {
    let broken = broken(record);
    let (mut gates, mut reported) = (Vec::new(), Vec::new());
    for lab in &record.plan.labs {
        for measure in Measure::ALL {
            let Some(gate) = compare(record, lab, measure) else { continue };
            if measure.gates() { gates.push(gate) } else { reported.push(gate) }
        }
    }
    let all = stats::holm(&gates.iter().map(|gate| gate.p).collect::<Vec<_>>());
    let needed = stats::fewest(ALPHA / gates.len().max(1) as f64);
    for (gate, p_of_all) in gates.iter_mut().zip(all) {
        gate.p_of_all = Some(p_of_all);
        let (outcome, why) = decide(gate, p_of_all, min_effect, needed);
        (gate.outcome, gate.why) = (Some(outcome), why);
    }
    let (outcome, why) = conclude(record, &gates, &broken);
    Verdict { outcome, why, gates, reported, broken }
}

/// The rules, in their order.
fn decide(gate: &Gate, p_of_all: f64, min_effect: f64, needed: usize) -> (Outcome, String) {
    let least = 1.0 + min_effect;
    let (Some(low), Some(high), true) = (gate.ratio.low, gate.ratio.high, gate.rounds >= needed) else {
        let why = format!("only {} good rounds; {needed} are needed", gate.rounds);
        return (Outcome::CannotTell, why);
    };
    let control = &gate.control;
    let off = control.low.is_some_and(|low| low > 1.0) || control.high.is_some_and(|high| high < 1.0);
    if off && (control.estimate >= least || control.estimate <= 1.0 / least) {
        let why = format!(
            "base differs from itself by {}: the machine caused this difference",
            percent(control.estimate)
        );
        return (Outcome::CannotTell, why);
    }
    if gate.ratio.estimate >= least && p_of_all <= ALPHA {
        return (
            Outcome::Regressed,
            format!("{}, with confidence more than {}", percent(gate.ratio.estimate), percent(low)),
        );
    }
    // The distance from the estimate to the lower bound is the slowdown that could be hidden
    // here.
    let seen = gate.ratio.estimate / low - 1.0;
    if seen > min_effect && high > least {
        let rounds = (gate.rounds as f64 * ((1.0 + seen).ln() / least.ln()).powi(2)).ceil();
        let why = format!(
            "too noisy: a difference below {:.1} % cannot be seen; about {rounds} rounds or a quieter \
             machine would be enough",
            seen * 100.0
        );
        return (Outcome::CannotTell, why);
    }
    if gate.ratio.estimate >= least {
        let why = format!(
            "{}, which may be chance: p = {p_of_all:.3} over all gates",
            percent(gate.ratio.estimate)
        );
        return (Outcome::CannotTell, why);
    }
    let why = match (low > 1.0, gate.ratio.estimate <= 1.0 / least && high < 1.0) {
        (true, _) => format!("{}, less than the minimum effect", percent(gate.ratio.estimate)),
        (_, true) => format!("faster: {}", percent(gate.ratio.estimate)),
        _ => format!("{}, at most {}", percent(gate.ratio.estimate), percent(high)),
    };
    (Outcome::Fine, why)
}

fn conclude(record: &Record, gates: &[Gate], broken: &[String]) -> (Outcome, String) {
    let count = |outcome| gates.iter().filter(|gate| gate.outcome == Some(outcome)).count();
    let (regressed, unsure) = (count(Outcome::Regressed), count(Outcome::CannotTell));
    if !broken.is_empty() {
        return (Outcome::Regressed, format!("head is broken, base is not: {}", broken.join("; ")));
    }
    if regressed > 0 {
        return (Outcome::Regressed, format!("{regressed} of {} gates are slower than base", gates.len()));
    }
    let gone: Vec<&str> = record
        .plan
        .labs
        .iter()
        .filter(|lab| !gates.iter().any(|gate| gate.lab == **lab))
        .map(String::as_str)
        .collect();
    if !gone.is_empty() {
        return (Outcome::CannotTell, format!("nothing was measured of {}", gone.join(", ")));
    }
    match unsure {
        0 => (Outcome::Fine, format!("0 of {} gates are slower than base", gates.len())),
        _ => (Outcome::CannotTell, format!("no verdict for {unsure} of {} gates", gates.len())),
    }
}

/// One measure of one lab over the rounds in which all three were good.
fn compare(record: &Record, lab: &str, measure: Measure) -> Option<Gate> {
    let mut triples: Vec<[f64; 3]> = Vec::new();
    for round in &record.rounds {
        let of = |arm: Arm| -> Option<f64> {
            let sample = round.samples.iter().find(|sample| sample.lab == lab && sample.arm == arm)?;
            let value = sample.measures.get(&measure)?.max(measure.least());
            // A logarithm is taken of it.
            (value > 0.0).then_some(value)
        };
        if let (Some(base), Some(head), Some(again)) = (of(Arm::Base), of(Arm::Head), of(Arm::Again)) {
            triples.push([base, head, again]);
        }
    }
    let log_ratio = |over: usize, under: usize| -> Vec<f64> {
        triples.iter().map(|triple| (triple[over] / triple[under]).ln()).collect()
    };
    let median = |at: usize| stats::median(&triples.iter().map(|triple| triple[at]).collect::<Vec<_>>());
    let head = stats::shift(&log_ratio(1, 0), ALPHA)?;
    let control = stats::shift(&log_ratio(2, 0), ALPHA)?;
    Some(Gate {
        lab: lab.to_owned(),
        measure,
        rounds: triples.len(),
        base: median(0)?,
        head: median(1)?,
        ratio: ratio(head),
        control: ratio(control),
        p: head.p,
        p_of_all: None,
        outcome: None,
        why: String::new(),
    })
}

fn ratio(shift: stats::Shift) -> Ratio {
    Ratio { estimate: shift.estimate.exp(), low: shift.low.map(f64::exp), high: shift.high.map(f64::exp) }
}

/// Counts are exact, and need no statistics: a promise that base keeps in every
/// round and head breaks in one is broken.
fn broken(record: &Record) -> Vec<String> {
    let mut broken = Vec::new();
    for lab in &record.plan.labs {
        let of = |head: bool| {
            let samples = record.rounds.iter().flat_map(|round| &round.samples);
            samples.filter(move |sample| sample.lab == *lab && (sample.arm == Arm::Head) == head)
        };
        let failed = |sample: &&Sample| sample.failed.is_some();
        let failures = of(true).filter(failed).count();
        if failures >= FAILURES && of(false).filter(failed).count() == 0 {
            let reason = of(true).find_map(|sample| sample.failed.clone()).unwrap_or_default();
            broken.push(format!("{lab} failed in {failures} rounds ({reason})"));
        }
        let defects: u64 = of(true).map(|sample| sample.defects).sum();
        if defects > 0 && of(false).all(|sample| sample.defects == 0) {
            broken.push(format!(
                "{lab}: {defects} messages were lost after their confirmation, corrupt or misrouted"
            ));
        }
    }
    broken
}

/// A ratio as people say it: `+12.3 %`.
pub fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}
