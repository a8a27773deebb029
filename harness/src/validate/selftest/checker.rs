//! The checker: compares what the harness found with the expected results, figure by
//! figure.

use serde::Serialize;

use labs::catalog::Pattern;

use super::check::{Check, Known, Times};
use super::expected::{Expected, around};
use crate::measure::clock;
use crate::results::{Flag, Percentiles, Raw, Trial};
use crate::stats;

/// The tolerance for a time: a share of it, and ns beyond that for the way from the transport's
/// look at the clock to the harness's.
pub const SHARE: f64 = 0.05;
/// See [`SHARE`]. In a closed loop up to 16 messages share one reading of the clock, and a
/// build without optimisation needs microseconds for each message. Such a build prints no
/// figures.
pub const HAIR_NS: u64 = if cfg!(debug_assertions) { 200_000 } else { 20_000 };
/// A percentile may be that of a rank this far away, as a share of all: a thread
/// that loses its CPU between two looks at the clock moves a message up.
pub const RANKS: f64 = 0.005;
/// The tolerance for throughput: messages at the window's ends.
const THROUGHPUT: f64 = 0.01;
/// How far a backlog may be that both looked at, but not in the same instant.
const BACKLOG: f64 = 0.15;

/// One thing that had to be found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Its name: `lost`, `response p99`.
    pub name: String,
    /// The unit of the values: `ns`, `msg/s`, or none for a number of messages.
    pub unit: &'static str,
    /// From the transport's event log, or computed from the plan.
    pub truth: Value,
    /// By the harness.
    pub found: Value,
    /// The lowest and the highest accepted value; null if only the expected value is accepted.
    pub within: Option<[f64; 2]>,
    /// Whether it was found.
    pub good: bool,
}

/// A value of a figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A count, or a time in ns.
    Whole(u64),
    /// A rate.
    Number(f64),
    /// It is withheld, or there is none.
    None,
    /// How a trial ended, whether a flag is raised.
    Text(&'static str),
}

impl Figure {
    fn exact(name: impl Into<String>, truth: u64, found: u64) -> Self {
        let (name, good) = (name.into(), truth == found);
        let [truth, found] = [truth, found].map(Value::Whole);
        Self { name, unit: "", truth, found, within: None, good }
    }

    fn text(name: impl Into<String>, truth: &'static str, found: &'static str) -> Self {
        let (name, good) = (name.into(), truth == found);
        Self { name, unit: "", truth: Value::Text(truth), found: Value::Text(found), within: None, good }
    }

    pub(super) fn near(
        name: impl Into<String>,
        unit: &'static str,
        truth: f64,
        found: Option<f64>,
        within: [f64; 2],
    ) -> Self {
        let value = |number| if unit == RATE { Value::Number(number) } else { Value::Whole(number as u64) };
        Self {
            name: name.into(),
            unit,
            truth: value(truth),
            found: found.map_or(Value::None, value),
            within: Some(within),
            good: found.is_some_and(|found| (within[0]..=within[1]).contains(&found)),
        }
    }

    /// Whether it depends on time, so that a machine which is busy with other
    /// things can spoil it. Counts do not.
    pub fn is_timed(&self) -> bool {
        self.within.is_some()
    }
}

/// The unit of throughput.
pub(super) const RATE: &str = "msg/s";
const WITHHELD: &str = "withheld";

/// The backlog during a trial.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Backlog {
    /// When, seconds from the common start.
    pub(super) at: f64,
    /// Sent and not received.
    pub(super) messages: u64,
}

/// The results of the harness.
#[derive(Clone, Copy)]
pub(super) struct Findings<'a> {
    pub(super) trial: &'a Trial,
    pub(super) raw: &'a Raw,
    pub(super) backlog: Backlog,
}

/// Every figure of a check, found or not.
pub(super) fn compare(check: &Check, truth: &Expected, findings: Findings<'_>) -> Vec<Figure> {
    let Findings { trial, backlog, .. } = findings;
    let mut figures = vec![Figure::text("ends", check.ending(), ending(trial))];
    figures.extend(counts(check, truth, trial));
    let open = check.load.is_open();
    for (times, sorted, found) in [
        (Times::Lag, &truth.lag, trial.lag_ns),
        (Times::Service, &truth.service, trial.service_ns),
        (Times::Response, &truth.response, trial.response_ns),
        (Times::Confirm, &truth.confirm, trial.confirm_ns.unwrap_or_default()),
    ] {
        // When the last of a closed loop was due, or when something was confirmed,
        // is known to the harness alone.
        if open && times != Times::Confirm {
            figures.push(Figure::exact(format!("{times} samples"), sorted.len() as u64, found.count));
        }
        if open || times == Times::Service {
            figures.extend(percentiles(times, sorted, &found));
            figures.extend(mean(times, sorted, &found));
            if check.longest.contains(&times) {
                figures.extend(time(format!("{times} max"), sorted, 1.0, found.max));
            }
        }
    }
    if open {
        figures.push(Figure::exact("due", truth.lag.len() as u64, trial.due));
    }
    let within = [truth.throughput * (1.0 - THROUGHPUT), truth.throughput * (1.0 + THROUGHPUT)];
    let found = trial.throughput_per_s;
    figures.push(Figure::near("throughput", RATE, truth.throughput, Some(found), within));
    if check.backlog {
        figures.push(backlog_at((backlog.at.max(0.0) * 1e9) as u64, "backlog", truth, backlog.messages));
        if open {
            let end = clock::seconds(check.warmup + check.seconds);
            figures.push(backlog_at(end, "backlog at the end", truth, trial.backlog[1]));
        }
    }
    figures.extend(check.known.iter().filter_map(|known| worked_out(*known, check, truth, findings)));
    figures.extend(check.raised.iter().map(|flag| flagged(*flag, true, trial)));
    figures.extend(check.not_raised.iter().map(|flag| flagged(*flag, false, trial)));
    figures
}

/// What had piled up `at` ns after the common start.
fn backlog_at(at: u64, name: &'static str, truth: &Expected, found: u64) -> Figure {
    let there = truth.backlog(at) as f64;
    let within = [there * (1.0 - BACKLOG), there * (1.0 + BACKLOG)];
    Figure::near(name, "", there, Some(found as f64), within)
}

fn ending(trial: &Trial) -> &'static str {
    match &trial.failed {
        None => "complete",
        Some(why) if why.starts_with("stalled") => "stalled",
        Some(_) => "failed",
    }
}

fn counts(check: &Check, truth: &Expected, trial: &Trial) -> Vec<Figure> {
    let (mut truth, found) = (truth.counts, &trial.counts);
    if check.stalls && !matches!(check.pattern, Pattern::Queue | Pattern::Durable) {
        // No marker says that they will not come, and there is no store to look into.
        truth.unaccounted = std::mem::take(&mut truth.lost);
        (truth.confirmed_lost, truth.unconfirmed_lost) = (0, 0);
    }
    [
        ("sent", truth.sent, found.sent),
        ("received", truth.received, found.received),
        ("refused", truth.refused, found.refused),
        ("lost", truth.lost, found.lost),
        ("confirmed lost", truth.confirmed_lost, found.confirmed_lost),
        ("unconfirmed lost", truth.unconfirmed_lost, found.unconfirmed_lost),
        ("indeterminate", truth.indeterminate, found.indeterminate),
        ("unaccounted", truth.unaccounted, found.unaccounted),
        ("duplicated", truth.duplicated, found.duplicated),
        ("redelivered", truth.redelivered, found.redelivered),
        ("reordered", truth.reordered, found.reordered),
        ("reorder distance", truth.reorder_distance, found.reorder_distance),
        ("corrupt", truth.corrupt, found.corrupt),
        ("misrouted", truth.misrouted, found.misrouted),
        ("negative", truth.negative, found.negative),
        ("peers disconnected", truth.peers_disconnected, found.peers_disconnected),
        ("messages skipped", truth.messages_skipped, found.messages_skipped),
        ("window resets", truth.window_resets, found.window_resets),
    ]
    .map(|(name, truth, found)| Figure::exact(name, truth, found))
    .to_vec()
}

fn percentiles(times: Times, sorted: &[u64], found: &Percentiles) -> Vec<Figure> {
    [
        ("p50", 0.5, 20, found.p50),
        ("p90", 0.9, 100, found.p90),
        ("p99", 0.99, 1_000, found.p99),
        ("p99.9", 0.999, 10_000, found.p999),
    ]
    .into_iter()
    .filter_map(|(name, quantile, needed, found)| {
        let name = format!("{times} {name}");
        if sorted.len() < needed {
            let told = if found.is_some() { "shown" } else { WITHHELD };
            return (!sorted.is_empty()).then(|| Figure::text(name, WITHHELD, told));
        }
        time(name, sorted, quantile, found)
    })
    .collect()
}

fn mean(times: Times, sorted: &[u64], found: &Percentiles) -> Option<Figure> {
    let truth = sorted.iter().sum::<u64>() as f64 / sorted.len() as f64;
    let within = [truth * (1.0 - SHARE) - HAIR_NS as f64, truth * (1.0 + SHARE) + HAIR_NS as f64];
    let found = found.mean.map(|ns| ns as f64);
    (!sorted.is_empty()).then(|| Figure::near(format!("{times} mean"), "ns", truth, found, within))
}

fn time(name: String, sorted: &[u64], quantile: f64, found: Option<u64>) -> Option<Figure> {
    let [low, truth, high] = around(sorted, quantile, RANKS)?;
    let within = [low as f64 * (1.0 - SHARE) - HAIR_NS as f64, high as f64 * (1.0 + SHARE) + HAIR_NS as f64];
    Some(Figure::near(name, "ns", truth as f64, found.map(|ns| ns as f64), within))
}

/// Figures that follow from the plan alone. A search is not evaluated by one trial.
fn worked_out(known: Known, check: &Check, truth: &Expected, findings: Findings<'_>) -> Option<Figure> {
    let Findings { trial, raw, .. } = findings;
    let (name, unit, truth, found) = match known {
        Known::Sustained(_) => return None,
        Known::Lost(lost) => return Some(Figure::exact("lost, by the plan", lost, trial.counts.lost)),
        Known::LongGaps(share) => {
            let found = check.load.rate.and_then(|rate| truth.gaps_beyond(clock::SECOND as f64 / rate));
            ("gaps over the mean, of 1000".to_owned(), "", share * 1000.0, found.map(|share| share * 1000.0))
        }
        Known::Throughput(rate) => ("throughput".to_owned(), RATE, rate, Some(trial.throughput_per_s)),
        Known::Time(times, quantile, truth) => {
            let packed = match times {
                Times::Lag => &raw.lag,
                Times::Service => &raw.service,
                Times::Response => &raw.response,
                Times::Confirm => &raw.confirm,
            };
            let found = stats::decode(packed).ok().filter(|histogram| !histogram.is_empty());
            let found = found.map(|histogram| histogram.value_at_quantile(quantile) as f64);
            let name = format!("{times} p{}", quantile * 100.0);
            (name, "ns", truth as f64, found)
        }
        Known::Beyond(limit, truth) => {
            let found = stats::decode(&raw.response).ok();
            let found = found.map(|histogram| histogram.count_between(limit + 1, stats::LONGEST_NS) as f64);
            (format!("response over {} ms", limit / 1_000_000), "", truth as f64, found)
        }
    };
    let within = [truth * (1.0 - SHARE), truth * (1.0 + SHARE)];
    Some(Figure::near(format!("{name}, by formula"), unit, truth, found, within))
}

fn flagged(flag: Flag, truth: bool, trial: &Trial) -> Figure {
    let [truth, found] =
        [truth, trial.flags.contains(&flag)].map(|raised| if raised { "raised" } else { "not raised" });
    Figure::text(format!("flag {}", flag.as_str()), truth, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 1,000 messages that take 2 ms each, but for 20 that take 30 ms.
    fn times() -> Vec<u64> {
        (0..1_000).map(|at| if at < 980 { 2_000_000 } else { 30_000_000 }).collect()
    }

    #[track_caller]
    fn check(quantile: f64, found: Option<u64>, good: bool) {
        let figure = time("a time".to_owned(), &times(), quantile, found).expect("a figure");
        assert_eq!(figure.good, good, "{figure:?}");
    }

    #[test]
    fn a_time_is_found_within_a_twentieth_and_a_hair() {
        check(0.5, Some(2_000_000), true);
        check(0.5, Some(2_100_000 + HAIR_NS), true);
        check(0.5, Some(2_100_001 + HAIR_NS), false);
        check(0.5, Some(1_900_000 - HAIR_NS), true);
        check(0.5, Some(1_899_999 - HAIR_NS), false);
        check(0.5, None, false);
        check(0.99, Some(30_000_000), true);
        check(0.99, Some(33_000_000), false);
        check(0.99, Some(2_000_000), false);
    }

    #[test]
    fn what_is_withheld_must_be() {
        let few: Vec<u64> = times().into_iter().take(999).collect();
        let judged = |p99| -> bool {
            let found =
                Percentiles { p50: Some(2_000_000), p90: Some(2_000_000), p99, ..Percentiles::default() };
            percentiles(Times::Service, &few, &found).iter().all(|figure| figure.good)
        };
        assert!(judged(None));
        assert!(!judged(Some(30_000_000)));
    }

    #[test]
    fn a_count_is_found_exactly_or_not() {
        assert!(Figure::exact("lost", 57, 57).good);
        assert!(!Figure::exact("lost", 57, 56).good && !Figure::exact("lost", 57, 58).good);
    }
}
