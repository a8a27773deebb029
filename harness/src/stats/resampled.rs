//! A figure over several trials, resampled: what it is of all trials, and what it could have been.

use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::quantile::Table;
use super::{RESAMPLES, median, resampled_median};
use crate::results::Estimate;

/// A figure of all trials of a case, and of bootstrap resamples of these trials, in the figure's
/// unit. Made once for each case, it is compared with many others.
#[derive(Debug, Clone, PartialEq)]
pub struct Resampled {
    point: f64,
    draws: Vec<f64>,
}

impl Resampled {
    /// The median of one value a trial. `None` for no values.
    pub fn median(values: &[f64], seed: u64) -> Option<Self> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut sample = values.to_vec();
        let draw = |_| resampled_median(values, &mut sample, &mut rng);
        Some(Self { point: median(values)?, draws: (0..RESAMPLES).map(draw).collect() })
    }

    /// The quantile `at` (0 to 1) of the merged histograms of the trials, resampled as
    /// [`super::quantile`] says. `None` where nothing was recorded.
    pub fn quantile(trials: &[Histogram<u64>], at: f64, seed: u64) -> Option<Self> {
        let table = Table::of(trials);
        let point = table.quantile(&vec![1; trials.len()], at)?;
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut weights = vec![0; trials.len()];
        let draw = |_| {
            weights.fill(0);
            for _ in 0..trials.len() {
                weights[rng.random_range(0..trials.len())] += 1;
            }
            // Trials that recorded nothing may make up a whole resample.
            table.quantile(&weights, at).unwrap_or(point)
        };
        Some(Self { point, draws: (0..RESAMPLES).map(draw).collect() })
    }

    /// The same with the value that is shown of all trials, where that is worked out in another way.
    pub fn shown_as(self, point: f64) -> Self {
        Self { point, ..self }
    }

    /// The figure of all trials.
    pub const fn value(&self) -> f64 {
        self.point
    }

    /// The figure with its 95 % percentile bootstrap interval.
    pub fn estimate(&self) -> Estimate {
        let mut draws = self.draws.iter();
        super::interval(self.point, || draws.next().copied().unwrap_or(self.point))
    }

    /// This figure by another one, draw by draw; both sides were resampled independently if they were
    /// given different seeds. `None` where a value is not positive: such a ratio says nothing.
    pub fn over(&self, other: &Self) -> Option<Self> {
        let positive = |value: &f64| *value > 0.0 && value.is_finite();
        let all = [self, other].into_iter().flat_map(|side| side.draws.iter().chain([&side.point]));
        if !all.into_iter().all(positive) {
            return None;
        }
        let draws = self.draws.iter().zip(&other.draws).map(|(a, b)| a / b);
        Some(Self { point: self.point / other.point, draws: draws.collect() })
    }

    /// The same with its interval.
    pub fn ratio(&self, other: &Self) -> Option<Estimate> {
        Some(self.over(other)?.estimate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{new_histogram, ratio};

    fn close(a: f64, b: f64) -> bool {
        (a / b - 1.0).abs() < 0.02
    }

    #[test]
    fn a_ratio_of_medians_is_that_of_both_sides_resampled() {
        let (a, b) = ([2.0, 2.1, 2.2, 2.3, 2.6], [1.0, 1.1, 1.15, 1.2, 1.3]);
        let own = |values: &[f64], seed| Resampled::median(values, seed).expect("values");
        let found = own(&a, 1).ratio(&own(&b, 2)).expect("positive");
        let expected = ratio(&a, &b, 3).expect("positive");
        assert!(close(found.median, expected.median), "{found:?}, not {expected:?}");
        assert!(
            close(found.low, expected.low) && close(found.high, expected.high),
            "{found:?}, {expected:?}"
        );
        assert_eq!(own(&a, 1).ratio(&own(&[0.0, 1.0], 2)), None);
        assert_eq!(Resampled::median(&[], 1), None);
    }

    /// What is shown of each side is what is divided: the quantile of all trials merged, which a
    /// single slow trial moves, and not the middle trial's.
    #[test]
    fn a_ratio_of_percentiles_is_that_of_the_merged_ones() {
        let trial = |slow: u64| {
            let mut all = new_histogram();
            (0..1_000_u64).for_each(|n| all.saturating_record(if n < 960 { 100_000 } else { slow }));
            all
        };
        let uneven = [trial(200_000), trial(200_000), trial(4_000_000)];
        let even = [trial(200_000), trial(200_000), trial(200_000)];
        let p99 = |trials: &[Histogram<u64>], seed| Resampled::quantile(trials, 0.99, seed).expect("samples");
        let (a, b) = (p99(&uneven, 1), p99(&even, 2));
        let found = a.ratio(&b).expect("positive");
        assert!(close(found.median, a.estimate().median / b.estimate().median), "{found:?}");
        assert!(close(found.median, 20.0) && close(found.low, 1.0) && close(found.high, 20.0), "{found:?}");
    }
}
