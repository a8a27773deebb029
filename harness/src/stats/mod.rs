//! Statistics over a few trials: medians with intervals, percentiles that have enough
//! samples, and the summary of a case.
//!
//! Nothing here runs anything. Everything is a function of recorded numbers and a seed,
//! so the same result set always gives the same report.

mod agreement;
mod histogram;
mod paired;
mod quantile;
pub mod queueing;
mod resampled;
mod summary;
#[cfg(test)]
mod tests;
mod verify;

pub use agreement::{FEWEST_PAIRS, LEAST, Pair, Share, TARGET, overlap, share, stretch, widen, widening};
pub use histogram::{LONGEST_NS, decode, encode, new_histogram, percentiles};
pub use paired::{Shift, fewest, holm, shift};
pub use quantile::quantile;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
pub use resampled::Resampled;
pub use summary::summarize;
pub use verify::verify;

use crate::results::Estimate;

/// Resamples of a bootstrap. With this many, the ends of a 95 % interval
/// themselves move by less than the gap between neighbouring trials.
const RESAMPLES: usize = 4_000;

/// The median, in the unit of `values`: the middle one, or the mean of the
/// middle two. `None` for no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    median_in_place(&mut sorted)
}

fn median_in_place(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The median of `values` with a 95 % percentile bootstrap interval (Efron and
/// Tibshirani, *An Introduction to the Bootstrap*, chapter 13), all in the unit
/// of `values`; the same for the same values and seed.
///
/// One value is its own interval, and no values give zeros. With fewer than six
/// values no interval for a median reaches 95 % (their whole range covers it
/// with 1 - 2^(1-n)); the interval is then close to the range, and still the
/// most that can be said.
pub fn bootstrap(values: &[f64], seed: u64) -> Estimate {
    let Some(median) = median(values) else { return Estimate::default() };
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut sample = values.to_vec();
    interval(median, || resampled_median(values, &mut sample, &mut rng))
}

/// The ratio of the median of `a` to the median of `b`, with a 95 % percentile
/// bootstrap interval; both sides are resampled independently. Without a unit.
///
/// `None` where a side is empty or has a value that is not positive: such a
/// ratio says nothing.
pub fn ratio(a: &[f64], b: &[f64], seed: u64) -> Option<Estimate> {
    if a.iter().chain(b).any(|value| value.is_nan() || *value <= 0.0) {
        return None;
    }
    let point = median(a)? / median(b)?;
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut sample_a, mut sample_b) = (a.to_vec(), b.to_vec());
    Some(interval(point, || {
        resampled_median(a, &mut sample_a, &mut rng) / resampled_median(b, &mut sample_b, &mut rng)
    }))
}

/// The ratio of `a` to `b`, each by its own baseline: `(a / a_base) / (b / b_base)`, with its interval,
/// as [`ratio`] gives it.
pub fn ratio_of_ratios(a: [&[f64]; 2], b: [&[f64]; 2], seed: u64) -> Option<Estimate> {
    let all = [a[0], b[1], a[1], b[0]];
    if all.iter().any(|side| side.iter().any(|value| value.is_nan() || *value <= 0.0)) {
        return None;
    }
    let medians = all.map(median);
    let [Some(a_own), Some(b_base), Some(a_base), Some(b_own)] = medians else { return None };
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut samples = all.map(<[f64]>::to_vec);
    Some(interval(a_own * b_base / (a_base * b_own), || {
        let mut draw = |at: usize| resampled_median(all[at], &mut samples[at], &mut rng);
        draw(0) * draw(1) / (draw(2) * draw(3))
    }))
}

fn resampled_median(values: &[f64], sample: &mut [f64], rng: &mut SmallRng) -> f64 {
    for slot in sample.iter_mut() {
        *slot = values[rng.random_range(0..values.len())];
    }
    median_in_place(sample).unwrap_or_default()
}

/// The middle 95 % of what `draw` gives, around `median`.
fn interval(median: f64, mut draw: impl FnMut() -> f64) -> Estimate {
    let mut draws: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    draws.sort_unstable_by(f64::total_cmp);
    let tail = RESAMPLES / 40; // 2.5 % on each side
    // A skewed handful can put the middle of the resamples beside the median itself.
    Estimate { median, low: draws[tail].min(median), high: draws[RESAMPLES - 1 - tail].max(median) }
}
