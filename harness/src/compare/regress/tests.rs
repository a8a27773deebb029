//! Tests of the verdict with samples of known effect.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::measures::Measure;
use super::outcome::{Outcome, Verdict};
use super::record::{Arm, Plan, Program, Record, Round, SCHEMA, Sample};
use super::report;
use super::verdict::evaluate;
use crate::results::{Host, Noise};

/// How a synthetic machine behaves.
#[derive(Clone, Copy)]
struct Truth {
    /// What head takes, as a multiple of base.
    head: f64,
    /// What base takes when it is measured again.
    again: f64,
    /// The scale of the noise of each measurement.
    noise: f64,
    rounds: usize,
    seed: u64,
}

const QUIET: Truth = Truth { head: 1.0, again: 1.0, noise: 0.01, rounds: 15, seed: 1 };

fn record(truth: Truth) -> Record {
    let mut random = SmallRng::seed_from_u64(truth.seed);
    let labs = vec!["oneway-tcp".to_owned(), "pubsub-redis".to_owned()];
    let mut rounds = Vec::new();
    for index in 0..truth.rounds {
        // The machine as a whole drifts by far more than what is looked for.
        let drift = 1.0 + index as f64 * 0.05;
        let mut samples = Vec::new();
        for lab in &labs {
            for arm in Arm::ALL {
                // Skewed as times are: never much too short, sometimes much too long.
                let mut noisy =
                    |value: f64| value * drift * (1.0 - truth.noise * random.random::<f64>().ln());
                let factor = match arm {
                    Arm::Base => 1.0,
                    Arm::Head => truth.head,
                    Arm::Again => truth.again,
                };
                let measures = [
                    (Measure::P50, noisy(40_000.0 * factor)),
                    (Measure::Cpu, noisy(30_000.0 * factor)),
                    (Measure::P99, noisy(90_000.0 * factor)),
                ];
                let measures = measures.into_iter().collect();
                samples.push(Sample { lab: lab.clone(), arm, failed: None, measures, defects: 0 });
            }
        }
        rounds.push(Round { index, samples });
    }
    Record {
        schema: SCHEMA,
        created: "2026-01-31T12:00:00+00:00".to_owned(),
        host: Host::default(),
        noise: Noise::default(),
        plan: Plan {
            rates: labs.iter().map(|lab| (lab.clone(), 2000.0)).collect(),
            labs,
            rounds: truth.rounds,
            size: 64,
            warmup_s: 0.2,
            seconds: 0.6,
            peak_every: 0,
            min_effect: 0.03,
            knobs: Vec::new(),
            head_knobs: Vec::new(),
            seed: 7,
        },
        base: Program::default(),
        head: Program { asked: "a<b>&\"c\"|d".to_owned(), ..Program::default() },
        brokers: std::collections::BTreeMap::new(),
        skipped: Vec::new(),
        rounds,
        took_s: 90.0,
        verdict: None,
    }
}

fn verdict(truth: Truth) -> Verdict {
    evaluate(&record(truth), 0.03)
}

/// In how many of 200 machines the outcome is this.
fn count(outcome: Outcome, truth: Truth) -> usize {
    (0..200).filter(|seed| verdict(Truth { seed: *seed, ..truth }).outcome == outcome).count()
}

#[test]
fn no_change_on_a_quiet_machine_is_fine() {
    assert!(count(Outcome::Fine, QUIET) >= 196);
    assert_eq!(count(Outcome::Regressed, QUIET), 0);
}

#[test]
fn ten_percent_are_found_in_noise_of_five() {
    let slower = Truth { head: 1.1, noise: 0.05, ..QUIET };
    assert!(count(Outcome::Regressed, slower) >= 190);
    let found = verdict(slower);
    let reported = found.reported.iter().filter(|gate| gate.measure == Measure::P99);
    assert!(reported.clone().count() == 2 && reported.clone().all(|gate| gate.outcome.is_none()));
}

/// Noise of any size makes the verdict unsure, never wrong: one in a hundred
/// may be, so that nine or more of 200 would come by chance in one of 4,000 cases.
#[test]
fn noise_is_not_called_a_regression() {
    for noise in [0.02, 0.1, 0.5] {
        let alarms = count(Outcome::Regressed, Truth { noise, ..QUIET });
        assert!(alarms < 9, "{alarms} of 200 at {noise}");
    }
}

#[test]
fn what_could_not_have_been_seen_is_not_called_fine() {
    let noisy = Truth { noise: 0.3, ..QUIET };
    assert_eq!(count(Outcome::Fine, noisy), 0);
    let gates = verdict(noisy).gates;
    assert!(gates.iter().any(|gate| gate.why.contains("cannot be seen")), "{gates:?}");
}

/// Base against base differs: whatever head looks like, the machine decided.
#[test]
fn a_control_that_trips_makes_it_unsure() {
    for head in [1.0, 1.1, 1.5] {
        let found = verdict(Truth { again: 1.08, head, ..QUIET });
        assert_eq!(found.outcome, Outcome::CannotTell, "{found:?}");
        assert!(found.gates.iter().all(|gate| gate.why.contains("base differs from itself")), "{found:?}");
    }
}

#[test]
fn too_few_rounds_cannot_tell_whatever_they_show() {
    // Four gates at 1 % in all: 2^-9 is below 0.0025, 2^-8 is not.
    let slower = Truth { head: 2.0, ..QUIET };
    assert_eq!(verdict(Truth { rounds: 8, ..slower }).outcome, Outcome::CannotTell);
    assert_eq!(verdict(Truth { rounds: 9, ..slower }).outcome, Outcome::Regressed);
    assert_eq!(verdict(Truth { rounds: 0, ..slower }).outcome, Outcome::CannotTell);
}

#[test]
fn a_small_sure_slowdown_is_fine_and_a_gain_is_no_loss() {
    let small = verdict(Truth { head: 1.015, noise: 0.002, ..QUIET });
    assert_eq!(small.outcome, Outcome::Fine, "{small:?}");
    assert!(small.gates[0].why.contains("less than the minimum effect"), "{small:?}");
    assert_eq!(verdict(Truth { head: 0.7, noise: 0.05, ..QUIET }).outcome, Outcome::Fine);
}

/// Counts that are the same in every round leave no doubt, in either direction.
#[test]
fn counts_that_never_vary_are_judged_as_they_stand() {
    let with = |base: Option<f64>, head: Option<f64>| {
        let mut record = record(QUIET);
        for sample in record.rounds.iter_mut().flat_map(|round| &mut round.samples) {
            let value = if sample.arm == Arm::Head { head } else { base };
            sample.measures.extend(value.map(|value| (Measure::Allocations, value)));
        }
        let verdict = evaluate(&record, 0.03);
        let gate = verdict.gates.iter().find(|gate| gate.measure == Measure::Allocations).cloned();
        (verdict.outcome, gate.and_then(|gate| gate.outcome))
    };
    for (base, head, expected) in [
        (3.0, 3.0, Outcome::Fine),
        (3.0, 2.0, Outcome::Fine),
        (3.0, 3.08, Outcome::Fine),
        (3.0, 3.1, Outcome::Regressed),
        // None is a value, and what happens beside the messages is none.
        (0.0, 0.0, Outcome::Fine),
        (0.002, 0.008, Outcome::Fine),
        (0.0, 1.0, Outcome::Regressed),
    ] {
        assert_eq!(with(Some(base), Some(head)), (expected, Some(expected)), "{base} and {head}");
    }
    // A program that does not count yet: there is nothing to compare, and the rest decides.
    assert_eq!(with(None, Some(3.0)), (Outcome::Fine, None));
    assert_eq!(with(Some(3.0), None), (Outcome::Fine, None));
}

#[test]
fn a_head_that_breaks_what_base_keeps_is_no_matter_of_statistics() {
    let with = |change: &dyn Fn(&mut Sample, usize)| {
        let mut record = record(QUIET);
        for round in &mut record.rounds {
            let index = round.index;
            round.samples.iter_mut().for_each(|sample| change(sample, index));
        }
        evaluate(&record, 0.03)
    };
    let lost = with(&|sample, index| sample.defects = u64::from(sample.arm == Arm::Head && index == 4));
    assert!(
        lost.outcome == Outcome::Regressed && lost.why.contains("oneway-tcp: 1 messages"),
        "{}",
        lost.why
    );
    // Base does it too: nothing is new.
    assert_eq!(with(&|sample, _| sample.defects = 1).outcome, Outcome::Fine);
    let fails = |sample: &mut Sample, failed: bool| {
        if failed {
            sample.failed = Some("it crashed".to_owned());
            sample.measures.clear();
        }
    };
    assert_eq!(
        with(&|sample, index| fails(sample, sample.arm == Arm::Head && index < 3)).outcome,
        Outcome::Regressed
    );
    // Two failures cost their rounds; both sides failing tells nothing.
    assert_eq!(
        with(&|sample, index| fails(sample, sample.arm == Arm::Head && index < 2)).outcome,
        Outcome::Fine
    );
    assert_eq!(with(&|sample, _| fails(sample, true)).outcome, Outcome::CannotTell);
}

/// Enough of XML to see that tags close, attributes are quoted, and nothing
/// stands bare that has to be escaped.
fn check_xml(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text.split_once("?>").expect("a declaration").1;
    while let Some((before, after)) = rest.split_once('<') {
        assert!(!before.contains('>'), "a bare bracket: {before}");
        let (tag, next) = after.split_once('>').expect("a tag that ends");
        let known = ["&amp;", "&lt;", "&gt;", "&quot;"];
        for part in [tag, before] {
            let escaped = |at: usize| known.iter().any(|entity| part[at..].starts_with(entity));
            assert!(part.match_indices('&').all(|(at, _)| escaped(at)), "a bare ampersand: {part}");
        }
        assert!(tag.matches('"').count() % 2 == 0 && !tag.contains('<'), "{tag}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a name");
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name)),
            (false, false) => open.push(name),
            (false, true) => {}
        }
        rest = next;
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

#[test]
fn the_reports_say_the_outcome_and_escape_what_they_are_given() {
    for (truth, failures, errors, kind) in [
        (QUIET, 0, 0, "::notice "),
        (Truth { head: 1.3, ..QUIET }, 4, 0, "::error "),
        (Truth { noise: 0.3, ..QUIET }, 0, 4, "::warning "),
    ] {
        let record = record(truth);
        let mut verdict = evaluate(&record, 0.03);
        let junit = report::junit(&record, &verdict);
        check_xml(&junit);
        let counts = format!("tests=\"4\" failures=\"{failures}\" errors=\"{errors}\"");
        assert!(junit.contains(&counts), "{junit}");
        let lines = report::annotations(&verdict);
        assert!(lines.len() == (failures + errors).max(1), "{lines:?}");
        assert!(lines.iter().all(|line| line.starts_with(kind) && !line.contains('\n')), "{lines:?}");
        let markdown = report::markdown(&record, &verdict);
        assert!(
            markdown.contains(verdict.outcome.as_str()) && markdown.contains("a&lt;b>&\"c\"\\|d"),
            "{markdown}"
        );
        verdict.broken = vec!["<x> & \"y\"\n\u{7} 100 %".to_owned()];
        check_xml(&report::junit(&record, &verdict));
        let first = &report::annotations(&verdict)[0];
        assert_eq!(first, "::error title=Head is broken::<x> & \"y\"%0A\u{7} 100 %25");
    }
}

#[test]
fn a_record_reads_as_it_was_written_and_gives_the_same_verdict() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut record = record(Truth { rounds: 5, ..QUIET }); // too few for bounds: null
    record.verdict = Some(evaluate(&record, 0.03));
    report::save(&record, &evaluate(&record, 0.03), dir.path()).expect("it is written");
    let read = Record::read(dir.path()).expect("it is read");
    // The last bit of a number may be lost in decimals, so not everything is the same.
    let again = evaluate(&read, 0.03);
    assert_eq!((read.plan, read.head, read.rounds.len()), (record.plan, record.head, 5));
    assert_eq!(read.verdict.map(|verdict| verdict.why), record.verdict.map(|verdict| verdict.why));
    assert!(again.gates.iter().all(|gate| gate.ratio.low.is_none()), "{again:?}");
    let text = std::fs::read_to_string(dir.path().join("regress.json")).expect("it is there");
    std::fs::write(dir.path().join("regress.json"), text.replace("\"schema\":1", "\"schema\":9"))
        .expect("written");
    let error = format!("{:#}", Record::read(dir.path()).expect_err("another schema"));
    assert!(error.contains("schema 9"), "{error}");
}
