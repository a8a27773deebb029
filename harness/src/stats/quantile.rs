//! A percentile of several trials' histograms, with an interval.

use hdrhistogram::Histogram;

use super::Resampled;
use crate::results::Estimate;

/// The quantile `at` (0 to 1) of all trials' histograms merged, with a 95 %
/// percentile bootstrap interval, in the unit of the histograms; the same for
/// the same histograms and seed. `None` where nothing was recorded.
///
/// Trials are resampled, never single messages: those of one trial share its
/// circumstances, and an interval from millions of them would be far too narrow
/// (a *cluster* bootstrap; Davison and Hinkley, *Bootstrap Methods and their
/// Application*, section 3.8). What is computed of each resample is what is
/// shown: the quantile of its trials' merged histograms. With one trial the
/// interval is the point.
pub fn quantile(trials: &[Histogram<u64>], at: f64, seed: u64) -> Option<Estimate> {
    Some(Resampled::quantile(trials, at, seed)?.estimate())
}

/// How many samples of each trial are at or below each value that occurs. With
/// it, a quantile of any mixture of trials is a binary search; merging thousands
/// of histograms would take seconds.
pub(super) struct Table {
    /// In ascending order.
    values: Vec<u64>,
    /// By trial, then by value.
    below: Vec<Vec<u64>>,
}

impl Table {
    pub(super) fn of(trials: &[Histogram<u64>]) -> Self {
        let recorded = |trial: &Histogram<u64>| -> Vec<(u64, u64)> {
            trial.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
        };
        let trials: Vec<Vec<(u64, u64)>> = trials.iter().map(recorded).collect();
        let mut values: Vec<u64> = trials.iter().flatten().map(|(value, _)| *value).collect();
        values.sort_unstable();
        values.dedup();
        let below = trials.iter().map(|trial| {
            let (mut at, mut sum) = (0, 0);
            let so_far = values.iter().map(|value| {
                while trial.get(at).is_some_and(|(recorded, _)| recorded <= value) {
                    sum += trial[at].1;
                    at += 1;
                }
                sum
            });
            so_far.collect()
        });
        Self { below: below.collect(), values }
    }

    /// The least value with at least the share `at` of all samples at or below
    /// it, where each trial counts as often as its weight says.
    pub(super) fn quantile(&self, weights: &[u64], at: f64) -> Option<f64> {
        let count = |index: usize| -> u64 {
            self.below.iter().zip(weights).map(|(trial, weight)| trial[index] * weight).sum()
        };
        let (mut low, mut high) = (0, self.values.len().checked_sub(1)?);
        let total = count(high);
        if total == 0 {
            return None;
        }
        let wanted = ((total as f64 * at).ceil() as u64).max(1);
        while low < high {
            let middle = usize::midpoint(low, high);
            if count(middle) < wanted { low = middle + 1 } else { high = middle }
        }
        Some(self.values[low] as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::new_histogram;

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut histogram = new_histogram();
        values.iter().for_each(|value| histogram.saturating_record(*value));
        histogram
    }

    fn merged(trials: &[Histogram<u64>]) -> Histogram<u64> {
        let mut all = new_histogram();
        trials.iter().for_each(|trial| all.add(trial).expect("same bounds"));
        all
    }

    #[test]
    fn without_samples_there_is_no_quantile_and_one_trial_is_its_own_interval() {
        assert_eq!(quantile(&[], 0.5, 1), None);
        assert_eq!(quantile(&[new_histogram()], 0.5, 1), None);
        let one = quantile(&[histogram(&[10, 20, 30])], 0.5, 1).expect("samples");
        assert_eq!(one, Estimate { median: 20.0, low: 20.0, high: 20.0 });
    }

    /// A thousand messages in each of five trials whose levels differ: the
    /// interval shows how the trials differ, not how many messages there were.
    #[test]
    fn the_interval_is_that_of_trials_and_not_of_messages() {
        let trial = |level: u64| histogram(&(0..1_000).map(|n| level + n % 10).collect::<Vec<_>>());
        let trials: Vec<_> = [100_000, 110_000, 120_000, 130_000, 140_000].map(trial).into();
        let p50 = quantile(&trials, 0.5, 1).expect("samples");
        assert!((119_000.0..121_000.0).contains(&p50.median), "{p50:?}");
        assert!(p50.low < 111_000.0 && p50.high > 129_000.0, "{p50:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_point_is_the_merged_histograms_own(
            trials in prop::collection::vec(prop::collection::vec(1..1_000_000_u64, 1..60), 1..6),
            at in prop::sample::select(vec![0.5, 0.9, 0.99]),
        ) {
            let trials: Vec<_> = trials.iter().map(|values| histogram(values)).collect();
            let estimate = quantile(&trials, at, 3).expect("samples");
            prop_assert_eq!(estimate.median, merged(&trials).value_at_quantile(at) as f64);
            prop_assert!(estimate.low <= estimate.median && estimate.median <= estimate.high);
            prop_assert_eq!(quantile(&trials, at, 3), Some(estimate));
        }
    }
}
