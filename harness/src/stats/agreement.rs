//! Agreement of two runs of the same plan: whether the intervals of a figure in both runs
//! overlap, and how much wider all intervals would have to be for most of them to
//! overlap.
//!
//! A bootstrap over a run's trials shows how the trials of that run differ. It cannot
//! show how runs differ (memory layout, the core that a broker got, other load on the
//! host), so its intervals are too narrow by that much. This module measures the
//! difference and widens the intervals.

use serde::Serialize;

use crate::results::Estimate;

/// The share of pairs that are to overlap when their intervals are widened.
pub const TARGET: f64 = 0.95;
/// What no half of an interval is taken to be less than before it is widened, as
/// a share of the figure. A handful of trials may come out nearly the same by
/// chance, and no factor widens an interval of no width.
pub const LEAST: f64 = 0.01;
/// Fewer pairs than this say nothing about a share of [`TARGET`].
pub const FEWEST_PAIRS: usize = 19;

/// The same figure of two runs; both are above zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The one whose figure is lower.
    lower: Estimate,
    upper: Estimate,
}

impl Pair {
    /// `None` where a figure is not above zero: it has no logarithm.
    pub fn new(a: Estimate, b: Estimate) -> Option<Self> {
        let (lower, upper) = if a.median <= b.median { (a, b) } else { (b, a) };
        (lower.median > 0.0 && upper.median.is_finite()).then_some(Self { lower, upper })
    }

    /// How many times the lower figure the upper one is.
    pub fn ratio(&self) -> f64 {
        self.upper.median / self.lower.median
    }

    /// What lies between the two intervals, as a share of the lower one's end;
    /// 0 where they overlap.
    pub fn gap(&self) -> f64 {
        (self.upper.low / self.lower.high - 1.0).max(0.0)
    }
}

/// Whether the two intervals have a point in common.
pub fn overlap(pair: &Pair) -> bool {
    pair.upper.low <= pair.lower.high
}

/// How many times as wide both intervals have to be, around their figures and by
/// the logarithm, to touch.
pub fn stretch(pair: &Pair) -> f64 {
    let reach = half(pair.lower.high, pair.lower.median) + half(pair.upper.median, pair.upper.low);
    pair.ratio().ln() / reach
}

/// The logarithm of how far the ends of half an interval are apart.
fn half(far: f64, near: f64) -> f64 {
    (far / near).ln().max(LEAST.ln_1p())
}

/// An interval with both ends `factor` times as far from the figure, by the
/// logarithm: a time is never below zero, and twice as long is as far off as half
/// as long. Before that, no half is less than [`LEAST`].
#[must_use]
pub fn widen(estimate: Estimate, factor: f64) -> Estimate {
    let Estimate { median, low, high } = estimate;
    if median <= 0.0 {
        return estimate;
    }
    let (below, above) = (factor * half(median, low), factor * half(high, median));
    Estimate { median, low: median * (-below).exp(), high: median * above.exp() }
}

/// The least factor, at least 1 and in hundredths, with which the share
/// [`TARGET`] of pairs *like these* overlap; `None` for no pairs.
///
/// It is not the 95th percentile of what these pairs need, which others would
/// exceed more often than one time in twenty, but the ⌈0.95 (n + 1)⌉th smallest
/// of n: one more pair of the same kind needs no more with a probability of at
/// least 0.95, whatever the distribution (the rank of split conformal
/// prediction; Lei et al., *Distribution-Free Predictive Inference for
/// Regression*, 2018). With fewer than [`FEWEST_PAIRS`] it is what the worst
/// pair needs, and no promise.
pub fn widening(pairs: &[Pair]) -> Option<f64> {
    let mut needed: Vec<f64> = pairs.iter().map(stretch).collect();
    needed.sort_unstable_by(f64::total_cmp);
    let rank = (TARGET * (needed.len() + 1) as f64).ceil() as usize;
    let factor = needed.get(rank.min(needed.len()).checked_sub(1)?)?;
    Some((factor.max(1.0) * 100.0).ceil() / 100.0)
}

/// A share of a number of cases, with the 95 % interval of Wilson (1927), which
/// holds for shares near 0 and 1 as well (Brown, Cai and DasGupta, *Interval
/// Estimation for a Binomial Proportion*, 2001).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, serde::Deserialize)]
pub struct Share {
    /// Cases that are meant.
    pub hits: usize,
    /// All cases.
    pub of: usize,
    /// The share, 0 to 1; 0 for no cases.
    pub share: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval; 1 for no cases.
    pub high: f64,
}

/// The share of `hits` among `of`.
pub fn share(hits: usize, of: usize) -> Share {
    if of == 0 {
        return Share { high: 1.0, ..Share::default() };
    }
    const Z: f64 = 1.959_963_985; // of a normal distribution, 95 % lie within
    let (n, p) = (of as f64, hits as f64 / of as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    let (low, high) = ((centre - spread) / scale, (centre + spread) / scale);
    Share { hits, of, share: p, low: low.max(0.0), high: high.min(1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    fn estimate(median: f64, low: f64, high: f64) -> Estimate {
        Estimate { median, low, high }
    }

    fn widened(pair: &Pair, factor: f64) -> Pair {
        Pair::new(widen(pair.lower, factor), widen(pair.upper, factor)).expect("still above zero")
    }

    #[test]
    fn overlap_gap_and_stretch_of_a_known_pair() {
        let a = estimate(100.0, 90.0, 110.0);
        let check = |b: Estimate, overlaps: bool, gap: f64| {
            for pair in [Pair::new(a, b), Pair::new(b, a)].map(|pair| pair.expect("above zero")) {
                assert_eq!(overlap(&pair), overlaps, "{pair:?}");
                assert!((pair.gap() - gap).abs() < 1e-9, "{pair:?}");
                assert_eq!(stretch(&pair) <= 1.0 + 1e-9, overlaps, "{pair:?}");
            }
        };
        check(a, true, 0.0);
        check(estimate(120.0, 109.0, 130.0), true, 0.0);
        check(estimate(120.0, 110.0, 130.0), true, 0.0);
        check(estimate(150.0, 121.0, 160.0), false, 0.1);
        assert_eq!(Pair::new(a, Estimate::default()), None);
    }

    #[test]
    fn an_interval_without_width_can_be_widened() {
        let point = estimate(100.0, 100.0, 100.0);
        let wide = widen(point, 2.0);
        assert!((wide.low - 100.0 / 1.0201).abs() < 1e-9 && (wide.high - 102.01).abs() < 1e-9, "{wide:?}");
        assert_eq!(widen(Estimate::default(), 2.0), Estimate::default());
    }

    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        // Brown, Cai and DasGupta; also R's `binom.confint(.., method = "wilson")`.
        let check = |hits, of, low: f64, high: f64| {
            let share = share(hits, of);
            assert!((share.low - low).abs() < 5e-4 && (share.high - high).abs() < 5e-4, "{share:?}");
        };
        check(0, 10, 0.0, 0.2775);
        check(10, 10, 0.7225, 1.0);
        check(50, 100, 0.4038, 0.5962);
        check(0, 0, 0.0, 1.0);
    }

    #[test]
    fn no_pairs_need_nothing_and_the_same_figures_none() {
        assert_eq!(widening(&[]), None);
        let same = Pair::new(estimate(10.0, 9.0, 11.0), estimate(10.0, 9.0, 11.0)).expect("above zero");
        assert_eq!(widening(&[same; 30]), Some(1.0));
    }

    /// What one run says of a figure: five trials around the run's own level,
    /// which is not the true one. The interval is their range, about what the
    /// bootstrap gives for five.
    fn run(rng: &mut SmallRng, (between, within): (f64, f64)) -> Estimate {
        let level = normal(rng) * between;
        let mut trials: Vec<f64> = (0..5).map(|_| 1e5 * (level + normal(rng) * within).exp()).collect();
        trials.sort_unstable_by(f64::total_cmp);
        estimate(trials[2], trials[0], trials[4])
    }

    /// By Box and Muller.
    fn normal(rng: &mut SmallRng) -> f64 {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn pairs(rng: &mut SmallRng, count: usize, deviations: (f64, f64)) -> Vec<Pair> {
        (0..count).filter_map(|_| Pair::new(run(rng, deviations), run(rng, deviations))).collect()
    }

    fn agreeing(pairs: &[Pair], factor: f64) -> f64 {
        let hits = pairs.iter().filter(|pair| overlap(&widened(pair, factor))).count();
        hits as f64 / pairs.len() as f64
    }

    /// Runs that differ by more than their trials show: their own intervals fail, and those
    /// widened by what one pair of runs has shown hold for runs that were not looked at.
    #[test]
    fn what_one_pair_of_runs_shows_holds_for_others() {
        for (seed, deviations) in [(0.10, 0.02), (0.03, 0.03), (0.30, 0.05)].into_iter().enumerate() {
            let mut rng = SmallRng::seed_from_u64(seed as u64);
            let (mut held, mut plain, repetitions) = (0.0, 0.0, 200);
            for _ in 0..repetitions {
                let factor = widening(&pairs(&mut rng, 60, deviations)).expect("pairs");
                let others = pairs(&mut rng, 60, deviations);
                held += agreeing(&others, factor) / f64::from(repetitions);
                plain += others.iter().filter(|pair| overlap(pair)).count() as f64
                    / (60.0 * f64::from(repetitions));
            }
            // 12,000 pairs, which share 200 factors: four standard errors are about 0.008.
            assert!(held >= TARGET - 0.008, "{deviations:?}: {held} of the others overlap");
            assert!(plain < held, "{deviations:?}: {plain} overlapped before");
        }
    }

    /// Runs that differ by no more than their trials need hardly anything.
    #[test]
    fn runs_that_agree_are_left_nearly_as_they_are() {
        let mut rng = SmallRng::seed_from_u64(4);
        let factor = widening(&pairs(&mut rng, 400, (0.0, 0.05))).expect("pairs");
        assert!(factor < 1.2, "{factor}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_factor_is_enough_for_its_own_pairs_and_hardly_more(
            seed: u64,
            count in 19usize..200,
            between in 0.0..0.5_f64,
            within in 0.001..0.2_f64,
        ) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let pairs = pairs(&mut rng, count, (between, within));
            let factor = widening(&pairs).expect("pairs");
            prop_assert!(factor >= 1.0);
            prop_assert!(agreeing(&pairs, factor) >= TARGET);
            // A little less, and too few of one more than these would.
            if factor > 1.02 {
                let hits = agreeing(&pairs, factor - 0.02) * count as f64;
                prop_assert!(hits < TARGET * (count + 1) as f64);
            }
        }

        #[test]
        fn widening_never_narrows_and_keeps_the_figure(
            median in 1.0..1e9_f64, down in 0.0..0.9_f64, up in 0.0..5.0_f64, factor in 1.0..20.0_f64,
        ) {
            let own = estimate(median, median * (1.0 - down), median * (1.0 + up));
            let wide = widen(own, factor);
            prop_assert_eq!(wide.median, median);
            prop_assert!(0.0 < wide.low && wide.low <= own.low * 1.000_001);
            prop_assert!(wide.high >= own.high * 0.999_999);
        }
    }
}
