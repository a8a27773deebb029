//! The difference between paired samples: the Hodges-Lehmann estimate with the exact
//! interval and test of Wilcoxon's signed ranks (Hollander, Wolfe and Chicken,
//! *Nonparametric Statistical Methods*, sections 3.1 to 3.3).
//!
//! If the order within each pair is random and nothing else distinguishes the two sides,
//! every difference is as likely to have the other sign. This alone makes the test exact:
//! it assumes nothing about the distribution of a machine's times, which is never normal.

/// How far the second side is from the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The Hodges-Lehmann estimate: the median of the means of all pairs of
    /// differences. In the unit of the differences.
    pub estimate: f64,
    /// The lower bound: the shift is above it with the confidence asked for.
    /// `None`: too few differences for any bound.
    pub low: Option<f64>,
    /// The upper bound, with the same confidence by itself.
    pub high: Option<f64>,
    /// The probability of such evidence for a shift above zero, if there is none.
    pub p: f64,
}

/// The shift that these differences show; each bound by itself is wrong with
/// the probability `alpha` at most. `None` for no differences.
pub fn shift(differences: &[f64], alpha: f64) -> Option<Shift> {
    let averages = walsh(differences);
    let estimate = super::median(&averages)?;
    let tail = upper_tail(differences.len());
    // A mean of exactly zero is not evidence: ties make the test milder, never stricter.
    let above = averages.iter().filter(|average| **average > 0.0).count();
    // This many averages must be above a value to exclude it.
    let needed = tail.iter().position(|probability| *probability <= alpha);
    let bounds = needed.map(|needed| (averages[averages.len() - needed], averages[needed - 1]));
    Some(Shift {
        estimate,
        low: bounds.map(|(low, _)| low),
        high: bounds.map(|(_, high)| high),
        p: tail[above],
    })
}

/// The fewest pairs with which the test can reach `alpha` at all.
pub fn fewest(alpha: f64) -> usize {
    // All differences above zero: one case in two to the power of their number.
    (1..).find(|pairs| 0.5_f64.powi(*pairs) <= alpha).map_or(usize::MAX, |pairs| pairs as usize)
}

/// The means of all pairs of values, each with itself too, in ascending order.
fn walsh(values: &[f64]) -> Vec<f64> {
    let mut averages: Vec<f64> = values
        .iter()
        .enumerate()
        .flat_map(|(at, a)| values[at..].iter().map(move |b| f64::midpoint(*a, *b)))
        .collect();
    averages.sort_unstable_by(f64::total_cmp);
    averages
}

/// For each possible sum of positive ranks, how probable it or a larger one is
/// where signs are by chance.
fn upper_tail(pairs: usize) -> Vec<f64> {
    let mut exactly = vec![1.0];
    for rank in 1..=pairs {
        let mut next = vec![0.0; exactly.len() + rank];
        for (sum, probability) in exactly.iter().enumerate() {
            next[sum] += probability / 2.0;
            next[sum + rank] += probability / 2.0;
        }
        exactly = next;
    }
    let mut total = 0.0;
    for probability in exactly.iter_mut().rev() {
        total += *probability;
        *probability = total;
    }
    exactly
}

/// Holm's adjustment (1979): the family-wise p of each test, in their order. To
/// call those that are at most alpha is wrong in any of them with the probability
/// alpha at most, however the tests depend on each other.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut most = 0.0_f64;
    for (done, at) in order.iter().enumerate() {
        most = most.max((p[*at] * (p.len() - done) as f64).min(1.0));
        adjusted[*at] = most;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    /// From the tables of Hollander and Wolfe: P(T+ >= t) for n pairs.
    #[test]
    fn the_distribution_is_the_tabled_one() {
        let check = |pairs: usize, sum: usize, expected: f64| {
            let found = upper_tail(pairs)[sum];
            assert!((found - expected).abs() < 0.000_6, "{pairs} pairs, {sum}: {found}");
        };
        check(5, 15, 0.031);
        check(7, 28, 0.008);
        check(10, 50, 0.010);
        check(15, 101, 0.009);
    }

    /// The depression scores of Hollander and Wolfe's example 3.1: nine pairs,
    /// T+ = 5, p = 0.020, estimate -0.46.
    #[test]
    fn the_worked_example_comes_out() {
        let scores = [-0.952, 0.147, -1.022, -0.430, -0.620, -0.590, -0.490, 0.080, -0.010];
        let found = shift(&scores.map(|score: f64| -score), 0.05).expect("there are differences");
        assert!((found.p - 0.0195).abs() < 0.000_1, "{found:?}");
        assert!((found.estimate - 0.46).abs() < 0.000_1, "{found:?}");
    }

    #[test]
    fn too_few_pairs_have_no_bound() {
        assert_eq!(shift(&[], 0.01), None);
        let six = shift(&[1.0; 6], 0.01).expect("six");
        assert_eq!((six.low, six.high), (None, None));
        assert_eq!(shift(&[1.0; 7], 0.01).expect("seven").low, Some(1.0));
        assert_eq!((fewest(0.01), fewest(0.01 / 14.0)), (7, 11));
    }

    #[test]
    fn holm_is_as_in_his_paper() {
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    /// Pairs whose sides differ by chance only, out of a skewed distribution with
    /// outliers: the test is wrong as often as it says, and no more.
    #[test]
    fn false_alarms_are_as_rare_as_stated() {
        let mut rng = SmallRng::seed_from_u64(3);
        let repetitions = 4_000;
        let alarms = (0..repetitions)
            .filter(|_| {
                let mut one = || {
                    let spike = if rng.random::<f64>() < 0.1 { 2.0 } else { 0.0 };
                    -rng.random::<f64>().ln() * 0.1 + spike
                };
                let differences: Vec<f64> = (0..15).map(|_| one() - one()).collect();
                shift(&differences, 0.05).is_some_and(|shift| shift.low.is_some_and(|low| low > 0.0))
            })
            .count();
        let share = alarms as f64 / f64::from(repetitions);
        assert!((0.035..=0.058).contains(&share), "{share}");
    }

    proptest! {
        #[test]
        fn bounds_hold_the_estimate_and_agree_with_the_test(
            differences in prop::collection::vec(-1.0..1.0_f64, 1..40),
        ) {
            let found = shift(&differences, 0.01).expect("there are differences");
            if let (Some(low), Some(high)) = (found.low, found.high) {
                prop_assert!(low <= found.estimate && found.estimate <= high);
                prop_assert_eq!(low > 0.0, found.p <= 0.01);
            }
            let mirrored: Vec<f64> = differences.iter().map(|value| -value).collect();
            let mirror = shift(&mirrored, 0.01).expect("there are differences");
            prop_assert_eq!(mirror.low.map(|low| -low), found.high);
        }
    }
}
