//! The noise of the machine as one number: 0 is quiet, 100 is unusable.
//!
//! Three measured values are put on the same scale, each by straight lines through four
//! points. The worst of them is the score: one source of noise is enough to spoil a
//! measurement, and a mean would hide it. Facts such as the governor do not count. They
//! may explain noise; their effect is already in the measured values.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::results::Noise;
use crate::trial::{FOREIGN, OVERSLEEP, STEAL};

/// Where the lines bend: up to the first score a machine is quiet, up to the second usable.
const QUIET: f64 = 33.0;
const USABLE: f64 = 67.0;

/// The values of one measure that score [`QUIET`], [`USABLE`] and 100. The second is
/// that from which on a trial is flagged `noisy-machine`; the first is where a
/// difference of 3 %, the least that `lab regress` looks for, is in reach of the
/// noise; at the third there is more noise than measurement.
struct Scale([f64; 3]);

/// Oversleep at the 99th percentile, ns. A quiet kernel adds its timer slack of 50 µs and a wake-up.
pub(super) const OVERSLEPT_QUIETLY: f64 = 200_000.0;
const OVERSLEPT: Scale = Scale([OVERSLEPT_QUIETLY, OVERSLEEP as f64, 20_000_000.0]);
/// Share of the machine's CPU time that other programs take.
pub(super) const TAKEN_QUIETLY: f64 = 0.03;
const TAKEN: Scale = Scale([TAKEN_QUIETLY, FOREIGN, 0.5]);
/// Share of it that the hypervisor takes. No scheduler of ours sees it coming, so less is worse.
pub(super) const STOLEN_QUIETLY: f64 = 0.005;
const STOLEN: Scale = Scale([STOLEN_QUIETLY, STEAL, 0.2]);

impl Scale {
    fn score(&self, value: f64) -> f64 {
        let points = [(0.0, 0.0), (self.0[0], QUIET), (self.0[1], USABLE), (self.0[2], 100.0)];
        let line = points.windows(2).find(|line| value <= line[1].0);
        line.map_or(100.0, |line| {
            let ((x, from), (next, to)) = (line[0], line[1]);
            from + (to - from) * ((value - x) / (next - x)).clamp(0.0, 1.0)
        })
    }
}

/// The machine's noise, and where it comes from.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Score {
    /// 0 to 100, the largest of the parts.
    pub(super) score: u8,
    /// `quiet` (up to 33), `usable` (up to 67) or `noisy`.
    pub(super) verdict: &'static str,
    /// What decided.
    pub(super) worst: &'static str,
    /// The score of each measure by itself.
    pub(super) parts: BTreeMap<&'static str, u8>,
}

/// The score of measured noise.
pub(super) fn score(noise: &Noise) -> Score {
    let parts = [
        ("oversleep", OVERSLEPT.score(noise.oversleep_p99_ns as f64)),
        ("others' CPU", TAKEN.score(noise.foreign_cpu)),
        ("stolen CPU", STOLEN.score(noise.steal)),
    ];
    let worst = parts.iter().fold(parts[0], |worst, part| if part.1 > worst.1 { *part } else { worst });
    let verdict = match worst.1 {
        score if score <= QUIET => "quiet",
        score if score <= USABLE => "usable",
        _ => "noisy",
    };
    // Rounded up, so that a number never looks better than its word.
    let whole = |score: f64| score.ceil() as u8;
    Score {
        score: whole(worst.1),
        verdict,
        worst: worst.0,
        parts: parts.map(|(name, score)| (name, whole(score))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oversleep in µs, others' share, stolen share.
    #[track_caller]
    fn check((oversleep, foreign_cpu, steal): (u64, f64, f64), expected: (u8, &str, &str)) {
        let noise = Noise { oversleep_p99_ns: oversleep * 1_000, foreign_cpu, steal, ..Noise::default() };
        let found = score(&noise);
        assert_eq!((found.score, found.verdict, found.worst), expected, "{found:?}");
    }

    #[test]
    fn the_worst_of_the_noise_decides() {
        check((0, 0.0, 0.0), (0, "quiet", "oversleep"));
        check((100, 0.0, 0.0), (17, "quiet", "oversleep"));
        check((200, 0.03, 0.005), (33, "quiet", "oversleep"));
        check((100, 0.065, 0.0), (50, "usable", "others' CPU"));
        check((2_000, 0.0, 0.0), (67, "usable", "oversleep"));
        check((2_001, 0.0, 0.0), (68, "noisy", "oversleep"));
        check((100, 0.0, 0.11), (84, "noisy", "stolen CPU"));
        check((100, 0.5, 0.0), (100, "noisy", "others' CPU"));
        check((60_000, 1.0, 1.0), (100, "noisy", "oversleep"));
    }

    /// More noise never scores less.
    #[test]
    fn the_scale_only_rises() {
        for scale in [OVERSLEPT, TAKEN, STOLEN] {
            let values = (0..=1_000).map(|step| scale.0[2] * 1.2 * f64::from(step) / 1_000.0);
            let scores: Vec<f64> = values.map(|value| scale.score(value)).collect();
            assert!(scores.is_sorted(), "{scores:?}");
            assert_eq!((scores[0], scores[1_000]), (0.0, 100.0));
        }
    }
}
