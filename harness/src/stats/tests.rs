use proptest::prelude::*;

use super::*;
use crate::results::{Arrivals, BenchmarkCase, Cost, Counts, Flag, Load, Raw, Trial};

#[test]
fn the_median_is_the_middle() {
    let check = |values: &[f64], expected: Option<f64>| assert_eq!(median(values), expected, "{values:?}");
    check(&[], None);
    check(&[7.0], Some(7.0));
    check(&[9.0, 1.0], Some(5.0));
    check(&[9.0, 1.0, 2.0], Some(2.0));
    check(&[4.0, 1.0, 3.0, 2.0], Some(2.5));
}

#[test]
fn one_value_is_its_own_interval_and_none_is_zero() {
    assert_eq!(bootstrap(&[42.0], 1), Estimate { median: 42.0, low: 42.0, high: 42.0 });
    assert_eq!(bootstrap(&[], 1), Estimate::default());
}

/// Uniform samples whose true median is 0.5: the interval holds it about as
/// often as it says. With 15 values the percentile bootstrap of a median is
/// known to cover 93-97 %; the bounds leave room for 400 repetitions' noise.
#[test]
fn the_interval_covers_the_true_median_as_often_as_it_says() {
    let mut rng = SmallRng::seed_from_u64(11);
    let repetitions = 400;
    let covered = (0..repetitions)
        .filter(|seed| {
            let values: Vec<f64> = (0..15).map(|_| rng.random()).collect();
            let estimate = bootstrap(&values, *seed);
            estimate.low <= 0.5 && 0.5 <= estimate.high
        })
        .count();
    let share = covered as f64 / repetitions as f64;
    assert!((0.90..=0.99).contains(&share), "covered {share}");
}

#[test]
fn a_ratio_finds_a_known_factor_and_refuses_nonsense() {
    let mut rng = SmallRng::seed_from_u64(5);
    let base: Vec<f64> = (0..20).map(|_| 100.0 + rng.random::<f64>()).collect();
    let double: Vec<f64> = base.iter().map(|value| value * 2.0).collect();
    let estimate = ratio(&double, &base, 3).expect("all are positive");
    assert!((1.98..2.0).contains(&estimate.low) && (2.0..2.02).contains(&estimate.high), "{estimate:?}");
    assert_eq!(ratio(&[1.0], &[0.0], 3), None);
    assert_eq!(ratio(&[f64::NAN], &[1.0], 3), None);
    assert_eq!(ratio(&[], &[1.0], 3), None);
}

#[test]
fn a_percentile_is_withheld_below_its_threshold_and_shown_at_it() {
    let shown = |count: u64| {
        let mut histogram = new_histogram();
        histogram.record_n(1_000, count).expect("within bounds");
        let p = percentiles(&histogram);
        assert_eq!(p.count, count);
        [p.max, p.p50, p.p90, p.p99, p.p999].map(|value| u8::from(value.is_some()))
    };
    assert_eq!(shown(0), [0, 0, 0, 0, 0]);
    assert_eq!(shown(1), [1, 0, 0, 0, 0]);
    assert_eq!(shown(19), [1, 0, 0, 0, 0]);
    assert_eq!(shown(20), [1, 1, 0, 0, 0]);
    assert_eq!(shown(99), [1, 1, 0, 0, 0]);
    assert_eq!(shown(100), [1, 1, 1, 0, 0]);
    assert_eq!(shown(999), [1, 1, 1, 0, 0]);
    assert_eq!(shown(1_000), [1, 1, 1, 1, 0]);
    assert_eq!(shown(9_999), [1, 1, 1, 1, 0]);
    assert_eq!(shown(10_000), [1, 1, 1, 1, 1]);
}

#[test]
fn a_damaged_histogram_is_an_error_that_says_so() {
    let error = |text: &str| decode(text).expect_err("it is damaged").to_string();
    assert!(error("not base64!").contains("base64"));
    assert!(error("aGVsbG8gd29ybGQ=").contains("damaged"));
}

#[test]
fn a_time_beyond_the_longest_is_counted_as_the_longest() {
    let mut histogram = new_histogram();
    histogram.saturating_record(u64::MAX);
    assert_eq!(histogram.len(), 1);
    assert!(histogram.max() >= LONGEST_NS);
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(values in prop::collection::vec(0..=LONGEST_NS, 0..200)) {
        let mut histogram = new_histogram();
        for value in &values {
            histogram.saturating_record(*value);
        }
        let text = encode(&histogram).expect("it packs");
        prop_assert_eq!(text.is_empty(), values.is_empty());
        prop_assert_eq!(decode(&text).expect("it unpacks"), histogram);
    }

    #[test]
    fn an_interval_holds_its_median_repeats_and_follows_a_shift(
        values in prop::collection::vec(1.0..1e7_f64, 1..12),
        seed: u64,
        shift in 0.0..1e6_f64,
    ) {
        let estimate = bootstrap(&values, seed);
        prop_assert_eq!(estimate, bootstrap(&values, seed));
        let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(l, m), v| (l.min(*v), m.max(*v)));
        prop_assert!(least <= estimate.low && estimate.low <= estimate.median);
        prop_assert!(estimate.median <= estimate.high && estimate.high <= most);
        // The same resamples of larger values: no end may move down.
        let moved = bootstrap(&values.iter().map(|value| value + shift).collect::<Vec<_>>(), seed);
        prop_assert!(moved.low >= estimate.low && moved.high >= estimate.high);
    }
}

fn trial(index: usize, throughput: f64, samples: u64) -> (Trial, Raw) {
    let mut histogram = new_histogram();
    histogram.record_n(1_000 * (index as u64 + 1), samples).expect("within bounds");
    let counts =
        Counts { sent: 10, received: 9, lost: 1, reorder_distance: index as u64, ..Counts::default() };
    let cost = Cost { cpu_ns_per_msg: 10.0 * (index + 1) as f64, ..Cost::default() };
    let trial = Trial {
        paused: None,
        index,
        position: index,
        throughput_per_s: throughput,
        counts,
        response_ns: percentiles(&histogram),
        cost: [("sender".to_owned(), cost)].into(),
        ..Trial::default()
    };
    (trial, Raw { response: encode(&histogram).expect("it packs"), ..Raw::default() })
}

fn cell(trials: Vec<Trial>) -> BenchmarkCase {
    BenchmarkCase {
        id: "oneway-tcp.64B.1x1.1000".to_owned(),
        lab: "oneway-tcp".to_owned(),
        pattern: "oneway".to_owned(),
        transport: "tcp".to_owned(),
        variant: None,
        guarantee: "at-most-once".to_owned(),
        guarantee_note: None,
        overload: "waits".to_owned(),
        broker: None,
        source: String::new(),
        size: 64,
        senders: 1,
        receivers: 1,
        load: Load::rate(1_000.0, Arrivals::Constant),
        knobs: [].into(),
        set: [].into(),
        part_of: None,
        trials,
        summary: None,
        floor: None,
    }
}

#[test]
fn a_summary_merges_good_trials_and_leaves_failed_ones_out() {
    let (mut trials, raws): (Vec<Trial>, Vec<Raw>) =
        [trial(0, 100.0, 400), trial(1, 300.0, 500), trial(2, 200.0, 50), trial(3, 9e9, 9_000)]
            .into_iter()
            .unzip();
    trials[3].failed = Some("the broker died".to_owned());
    trials[3].flags = vec![Flag::Unsteady];
    trials[0].flags = vec![Flag::NoisyMachine];
    let summary = summarize(&cell(trials), &raws, 1).expect("intact").expect("some are good");
    assert_eq!(summary.throughput_per_s.median, 200.0);
    assert_eq!((summary.counts.sent, summary.counts.lost, summary.counts.reorder_distance), (30, 3, 2));
    assert_eq!(summary.response_ns.count, 950);
    let p50 = summary.response_p50_ns.expect("p50 is shown");
    // A histogram tells 3,000 and 3,001 not apart.
    assert_eq!((p50.median, p50.low, p50.high), (2_000.0, 1_000.0, 3_001.0));
    assert_eq!(summary.response_p99_ns, None, "no interval where the figure is withheld");
    assert_eq!((summary.hops_ns, summary.shares.len()), (None, 0));
    assert_eq!((summary.response_ns.p99, summary.response_ns.p50), (None, Some(2_000)));
    assert_eq!(summary.confirm_ns, None);
    assert_eq!(summary.cost["sender"].cpu_ns_per_msg, 20.0);
    assert_eq!(summary.flags, [Flag::TooFewSamples, Flag::NoisyMachine]);
}

#[test]
fn without_a_good_trial_there_is_no_summary() {
    let (mut failed, raw) = trial(0, 1.0, 1);
    failed.failed = Some("no".to_owned());
    assert_eq!(summarize(&cell(vec![failed.clone()]), &[raw], 1).expect("intact"), None);
    assert!(summarize(&cell(vec![failed]), &[], 1).is_err());
}
