//! When messages are due. The times are laid out beforehand and never reset:
//! whoever is late sends at once, and the delay counts as latency (Gil Tene,
//! "How NOT to Measure Latency").

use anyhow::{Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::account;
use crate::bundle::{Arrivals, Load, LoadKind};
use crate::clock::{self, SECOND};
use crate::record::{Ledger, Window};

/// The due times of one of `senders` senders, in ns from the start.
pub struct Schedule {
    gap_ns: f64,
    next_ns: f64,
    random: Option<SmallRng>,
}

impl Schedule {
    /// Sender `index`'s share of a load at a rate. Constant arrivals of
    /// several senders interleave evenly; Poisson arrivals are independent.
    pub fn new(load: &Load, seed: u64, index: usize, senders: usize) -> Option<Self> {
        let (LoadKind::Rate, Some(rate)) = (load.kind, load.rate) else { return None };
        let gap_ns = SECOND as f64 / rate * senders as f64;
        let random = (load.arrivals == Some(Arrivals::Poisson)).then(|| {
            SmallRng::seed_from_u64(seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        });
        let mut schedule = Self { gap_ns, next_ns: gap_ns * index as f64 / senders as f64, random };
        if schedule.random.is_some() {
            schedule.next_ns = schedule.gap();
        }
        Some(schedule)
    }

    /// Exponential gaps have the distribution function 1 - e^(-t/gap); its
    /// inverse turns uniform numbers into gaps.
    fn gap(&mut self) -> f64 {
        match &mut self.random {
            Some(random) => -(1.0 - random.random::<f64>()).ln() * self.gap_ns,
            None => self.gap_ns,
        }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let due = self.next_ns;
        self.next_ns += self.gap();
        Some(due as u64)
    }
}

/// What the generator can offer to a transport that does nothing: messages a
/// second, stamped and accounted for. Takes about 20 ms.
pub fn null_rate(size: usize) -> Result<f64> {
    let dir = account::new_dir()?;
    let window = Window { start: 0, from: 0, to: u64::MAX };
    let mut ledger = Ledger::open(dir.path(), "null-0", 0, 0, size, window)?;
    let start = clock::now();
    let end = start + SECOND / 50;
    loop {
        let now = clock::now();
        if now >= end {
            return Ok(ledger.sent() as f64 / (now - start) as f64 * SECOND as f64);
        }
        std::hint::black_box(ledger.next(now, now)?);
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

    fn load(rate: f64, arrivals: Arrivals) -> Load {
        Load { kind: LoadKind::Rate, rate: Some(rate), arrivals: Some(arrivals) }
    }

    #[test]
    fn constant_arrivals_of_several_senders_interleave() {
        let all: Vec<Vec<u64>> = (0..2)
            .map(|index| {
                Schedule::new(&load(1000.0, Arrivals::Constant), 1, index, 2).expect("open").take(3).collect()
            })
            .collect();
        assert_eq!(all, [[0, 2_000_000, 4_000_000], [1_000_000, 3_000_000, 5_000_000]]);
    }

    #[test]
    fn poisson_arrivals_come_from_the_seed_and_have_the_rate() {
        let take = |seed, index| -> Vec<u64> {
            Schedule::new(&load(1000.0, Arrivals::Poisson), seed, index, 1)
                .expect("open")
                .take(20_000)
                .collect()
        };
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
        let max = Load { kind: LoadKind::Max, rate: None, arrivals: None };
        assert!(Schedule::new(&max, 1, 0, 1).is_none());
    }

    #[test]
    fn impossible_rates_are_refused_by_value() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(check_rate(rate).expect_err("refused").to_string().contains(&rate.to_string()));
        }
    }
}
