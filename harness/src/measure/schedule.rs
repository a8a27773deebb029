//! When messages are due. The times are laid out beforehand and never reset:
//! whoever is late sends at once, and the delay counts as latency (Gil Tene,
//! "How NOT to Measure Latency").

use anyhow::{Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::measure::account;
use crate::measure::clock::{self, SECOND};
use crate::measure::recorder::{Full, SenderRecorder, Window};
use crate::results::{Arrivals, Load, LoadKind};

/// Which part of the load one sender has.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// The run's seed, for random arrivals.
    pub seed: u64,
    /// The sender's number.
    pub index: usize,
    /// How many senders there are.
    pub senders: usize,
    /// Warm-up and measured time, ns: a ramp ends with them.
    pub length_ns: u64,
}

/// The due times of one of several senders, in ns from the start.
pub struct Schedule {
    /// Mean gap between this sender's messages, ns; for a ramp, at its end.
    gap_ns: f64,
    /// Where this sender stands among the others, in gaps: 0 to 1.
    offset: f64,
    made: u64,
    spacing: Spacing,
}

enum Spacing {
    Constant,
    Poisson { random: SmallRng, next_ns: f64 },
    Burst { messages: u64 },
    Ramp { length_ns: f64 },
}

impl Schedule {
    /// A sender's share of a load at a rate; `None` for other loads. Arrivals
    /// of several senders interleave evenly; Poisson arrivals are independent.
    pub fn new(load: &Load, share: Share) -> Option<Self> {
        let (LoadKind::Rate, Some(rate)) = (load.kind, load.rate) else { return None };
        let gap_ns = SECOND as f64 / rate * share.senders as f64;
        let spacing = match load.arrivals.unwrap_or(Arrivals::Constant) {
            Arrivals::Constant => Spacing::Constant,
            Arrivals::Poisson => {
                let own = (share.index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mut random = SmallRng::seed_from_u64(share.seed.wrapping_add(own));
                let next_ns = exponential(&mut random) * gap_ns;
                Spacing::Poisson { random, next_ns }
            }
            Arrivals::Burst => Spacing::Burst { messages: load.burst.unwrap_or(1).max(1) },
            Arrivals::Ramp => Spacing::Ramp { length_ns: share.length_ns as f64 },
        };
        Some(Self { gap_ns, offset: share.index as f64 / share.senders as f64, made: 0, spacing })
    }
}

/// A gap of mean 1: exponential gaps have the distribution function 1 - e^-t,
/// and its inverse turns uniform numbers into gaps.
fn exponential(random: &mut SmallRng) -> f64 {
    -(1.0 - random.random::<f64>()).ln()
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let place = self.made as f64 + self.offset;
        let due = match &mut self.spacing {
            Spacing::Constant => place * self.gap_ns,
            Spacing::Poisson { random, next_ns } => {
                let due = *next_ns;
                *next_ns += exponential(random) * self.gap_ns;
                due
            }
            Spacing::Burst { messages } => {
                let burst = (self.made / *messages) as f64 + self.offset;
                burst * *messages as f64 * self.gap_ns
            }
            // The rate at t is t / (length x gap), so t^2 / (2 x length x gap) messages are due until then.
            Spacing::Ramp { length_ns } => (2.0 * *length_ns * self.gap_ns * place).sqrt(),
        };
        self.made += 1;
        Some(due as u64)
    }
}

/// What the generator can offer to a transport that does nothing: messages a
/// second, stamped and accounted for. Takes about 20 ms.
pub fn null_rate(size: usize) -> Result<f64> {
    let dir = account::new_dir()?;
    let window = Window { start: 0, from: 0, to: u64::MAX };
    let mut sends = SenderRecorder::<Full>::open(dir.path(), "null-0", 0, 0, size, window)?;
    let start = clock::now();
    let end = start + SECOND / 50;
    loop {
        let now = clock::now();
        if now >= end {
            return Ok(sends.sent() as f64 / (now - start) as f64 * SECOND as f64);
        }
        std::hint::black_box(sends.next(now, now)?);
    }
}

/// A rate must be a positive number of messages a second.
pub fn check_rate(rate: f64) -> Result<f64> {
    ensure!(
        rate.is_finite() && rate > 0.0,
        "a rate of {rate} messages a second cannot be offered; give a number above 0, or `max`"
    );
    ensure!(
        rate <= 1e8,
        "a rate of {rate} messages a second is more than any sender here can offer (100 million)"
    );
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(load: &Load, seed: u64, index: usize, senders: usize, count: usize) -> Vec<u64> {
        let share = Share { seed, index, senders, length_ns: 2 * SECOND };
        Schedule::new(load, share).expect("open").take(count).collect()
    }

    #[test]
    fn constant_arrivals_of_several_senders_interleave() {
        let all = [0, 1].map(|index| take(&Load::rate(1000.0, Arrivals::Constant), 1, index, 2, 3));
        assert_eq!(all, [[0, 2_000_000, 4_000_000], [1_000_000, 3_000_000, 5_000_000]]);
    }

    #[test]
    fn bursts_come_at_once_and_keep_the_rate() {
        let load = Load { burst: Some(3), ..Load::rate(1000.0, Arrivals::Burst) };
        assert_eq!(take(&load, 1, 0, 1, 7), [0, 0, 0, 3_000_000, 3_000_000, 3_000_000, 6_000_000]);
        // Two senders take turns: a burst of one is followed by a burst of the other.
        assert_eq!(take(&load, 1, 1, 2, 4), [3_000_000, 3_000_000, 3_000_000, 9_000_000]);
    }

    #[test]
    fn a_ramp_ends_at_the_rate_and_offers_half_of_it_on_the_whole() {
        let times = take(&Load::rate(1000.0, Arrivals::Ramp), 1, 0, 1, 1000);
        // 2 s at 500 a second on average, a quarter of them in the first half.
        assert_eq!(times.iter().filter(|time| **time < SECOND).count(), 250);
        let last_gap = times[999] - times[998];
        assert!((1_000_000..1_002_000).contains(&last_gap), "{last_gap}");
        assert!(times[999] < 2 * SECOND);
        let both: usize = [0, 1]
            .map(|index| take(&Load::rate(1000.0, Arrivals::Ramp), 1, index, 2, 500).len())
            .iter()
            .sum();
        assert_eq!(both, 1000);
    }

    #[test]
    fn poisson_arrivals_come_from_the_seed_and_have_the_rate() {
        let take = |seed, index| take(&Load::rate(1000.0, Arrivals::Poisson), seed, index, 1, 20_000);
        let times = take(7, 0);
        assert_eq!(times, take(7, 0));
        assert_ne!(times, take(8, 0));
        assert_ne!(times, take(7, 1));
        // The sum of n exponential gaps has the mean n and the deviation √n: 5 of
        // these are 3.5 %.
        let mean = *times.last().expect("times") as f64 / 20_000.0;
        assert!((mean / 1e6 - 1.0).abs() < 0.035, "{mean}");
        // For exponential gaps, deviation and mean are the same; for constant ones it is 0.
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.1);
    }

    #[test]
    fn a_closed_loop_has_no_schedule() {
        let share = Share { seed: 1, index: 0, senders: 1, length_ns: SECOND };
        assert!(Schedule::new(&Load::max(), share).is_none());
    }

    #[test]
    fn impossible_rates_are_refused_by_value() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(check_rate(rate).expect_err("refused").to_string().contains(&rate.to_string()));
        }
    }
}
