//! Change points in a series of results: E-divisive (Matteson and James, *A Nonparametric
//! Approach for Multiple Change Point Analysis of Multivariate Data*, 2014), which
//! MongoDB uses for the same purpose (Daly et al., *The Use of Change Point Detection to
//! Identify Software Performance Regressions in a Continuous Integration System*, 2020).
//!
//! The series is split where its two parts differ most, by the energy distance between
//! them. This split is tested against splits of the same values in random order. If it is
//! significant, each part is searched in the same way.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

/// Fewer values can hardly show a change at this level: of twelve in random order,
/// two of 924 are split as well as a clean change in the middle is, of nine two of 126.
pub const FEWEST: usize = 12;
/// How often a series without a change may be said to have one.
pub const LEVEL: f64 = 0.01;
/// Random orders that a split is compared with.
const ORDERS: usize = 999;
/// The shortest part: one or two values apart are outliers, and no level.
const SHORTEST: usize = 3;

/// A change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The first value after it.
    pub at: usize,
    /// How often values in random order were split as well.
    pub p: f64,
}

/// The changes in `values`, in their order; the same for the same values and
/// seed. Ratios of values are compared: if a
/// value is zero or below, no change is found.
pub fn changes(values: &[f64], seed: u64) -> Vec<Change> {
    if values.len() < FEWEST || values.iter().any(|value| value.is_nan() || *value <= 0.0) {
        return Vec::new();
    }
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let mut found = Vec::new();
    let mut random = SmallRng::seed_from_u64(seed);
    split(&logs, 0, &mut random, &mut found);
    found
}

fn split(values: &[f64], offset: usize, random: &mut SmallRng, found: &mut Vec<Change>) {
    if values.len() < FEWEST {
        return;
    }
    let (at, distance) = best(values);
    let mut order = values.to_vec();
    let mut as_good = 0;
    for _ in 0..ORDERS {
        order.shuffle(random);
        // Sums in another order differ in their last bits.
        as_good += usize::from(best(&order).1 >= distance * (1.0 - 1e-9));
        if p(as_good) > LEVEL {
            return;
        }
    }
    let (left, right) = values.split_at(at);
    split(left, offset, random, found);
    found.push(Change { at: offset + at, p: p(as_good) });
    split(right, offset + at, random, found);
}

/// The observed order is one of all orders, too.
fn p(as_good: usize) -> f64 {
    (as_good + 1) as f64 / (ORDERS + 1) as f64
}

/// The best split and its scaled energy distance (formula 7 of Matteson and James,
/// with the exponent 1).
fn best(values: &[f64]) -> (usize, f64) {
    let n = values.len();
    let gap = |a: usize, b: usize| (values[a] - values[b]).abs();
    // Sums of distances within the left part, within the right one, and between.
    let (mut left, mut right, mut between) = (0.0, 0.0, 0.0);
    for a in 0..n {
        for b in a + 1..n {
            right += gap(a, b);
        }
    }
    let mut found = (SHORTEST, f64::MIN);
    for moved in 0..n - SHORTEST {
        // This value goes from the right part to the left one.
        let to_left: f64 = (0..moved).map(|other| gap(moved, other)).sum();
        let to_right: f64 = (moved + 1..n).map(|other| gap(moved, other)).sum();
        left += to_left;
        right -= to_right;
        between += to_right - to_left;
        let (m, k) = ((moved + 1) as f64, (n - moved - 1) as f64);
        if moved + 1 >= SHORTEST {
            let energy =
                2.0 * between / (m * k) - 2.0 * left / (m * (m - 1.0)) - 2.0 * right / (k * (k - 1.0));
            let scaled = m * k / (m + k) * energy;
            if scaled > found.1 {
                found = (moved + 1, scaled);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::Rng as _;

    use super::*;

    /// Levels with skewed noise of about 3 % and an outlier here and there.
    fn series(levels: &[(f64, usize)], seed: u64) -> Vec<f64> {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut noise = || {
            let outlier = if random.random::<f64>() < 0.05 { 0.5 } else { 0.0 };
            1.0 - 0.03 * random.random::<f64>().ln() + outlier
        };
        levels.iter().flat_map(|(level, count)| vec![*level; *count]).map(|level| level * noise()).collect()
    }

    fn places(values: &[f64]) -> Vec<usize> {
        changes(values, 1).into_iter().map(|change| change.at).collect()
    }

    #[test]
    fn changes_are_found_where_they_are() {
        for seed in 0..20 {
            let one = places(&series(&[(100.0, 15), (120.0, 15)], seed));
            assert_eq!(one.len(), 1, "{seed}: {one:?}");
            // An outlier beside it may belong to either side.
            assert!(one[0].abs_diff(15) <= 3, "{seed}: {one:?}");
        }
        let two = places(&series(&[(100.0, 15), (150.0, 15), (110.0, 15)], 4));
        assert_eq!(two.len(), 2, "{two:?}");
        assert!(two[0].abs_diff(15) <= 1 && two[1].abs_diff(30) <= 1, "{two:?}");
        assert_eq!(places(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]), [6]);
    }

    #[test]
    fn a_single_outlier_is_no_change() {
        let mut values = series(&[(100.0, 20)], 9);
        values[10] = 500.0;
        assert!(places(&values).is_empty());
        assert!(places(&[7.0; 30]).is_empty());
    }

    /// One of a hundred is to be expected; five of 300 or more would be by chance
    /// in one of five cases, and twelve in one of ten thousand.
    #[test]
    fn noise_has_changes_as_rarely_as_stated() {
        let alarms =
            (0..300).filter(|seed| !places(&series(&[(100.0, 20)], 1_000 + seed)).is_empty()).count();
        assert!(alarms < 12, "{alarms} of 300");
    }

    #[test]
    fn too_few_values_or_impossible_ones_show_nothing() {
        let mut few = vec![1.0; FEWEST / 2];
        few.extend(vec![9.0; FEWEST - 1 - few.len()]);
        assert!(places(&few).is_empty());
        let mut values = vec![1.0; 12];
        values.extend([0.0; 12]);
        assert!(places(&values).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn changes_are_in_order_and_no_part_is_too_short(
            values in prop::collection::vec(1.0..1e6_f64, 0..40), seed: u64,
        ) {
            let found = changes(&values, seed);
            prop_assert_eq!(&found, &changes(&values, seed));
            let mut ends: Vec<usize> = found.iter().map(|change| change.at).collect();
            ends.push(values.len());
            let mut start = 0;
            for end in ends {
                prop_assert!(found.is_empty() || end >= start + SHORTEST);
                start = end;
            }
        }
    }
}
