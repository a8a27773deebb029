//! Holds the figures of a result set against its raw data. A result set may come from
//! anybody, and a mistake in copying can put one recording in another's place.

use anyhow::{Context as _, Result, ensure};

use super::{decode, percentiles, summarize};
use crate::results::{BenchmarkCase, Estimate, LoadKind, Percentiles, Raw, Run, Summary, Trial};

/// The relative difference that rounding may cause.
const ROUNDING: f64 = 1e-6;

/// Fails unless the figures of all good trials follow from their recordings, and the summaries
/// from the trials.
///
/// # Errors
/// Names the case, the trial, the figure and both values.
pub fn verify(run: &Run, mut recording: impl FnMut(&BenchmarkCase, &Trial) -> Result<Raw>) -> Result<()> {
    for cell in &run.cells {
        let mut raws = Vec::with_capacity(cell.trials.len());
        for trial in &cell.trials {
            if trial.failed.is_some() {
                raws.push(Raw::default());
                continue;
            }
            let raw = recording(cell, trial)?;
            let named = || format!("case {}, trial {}", cell.id, trial.number());
            follows(trial, &raw, cell.load.kind, run.plan.seconds).with_context(named)?;
            raws.push(raw);
        }
        let found = summarize(cell, &raws, run.seed)?;
        summary(cell, found.as_ref(), run.widening.is_some()).with_context(|| format!("case {}", cell.id))?;
    }
    Ok(())
}

/// The figures of a trial, by its recording.
fn follows(trial: &Trial, raw: &Raw, load: LoadKind, planned_s: f64) -> Result<()> {
    let none = Percentiles::default();
    for (name, stored, text) in [
        ("response", &trial.response_ns, &raw.response),
        ("service", &trial.service_ns, &raw.service),
        ("lag", &trial.lag_ns, &raw.lag),
        ("pacer", trial.pacer_ns.as_ref().unwrap_or(&none), &raw.pacer),
        ("confirmation", trial.confirm_ns.as_ref().unwrap_or(&none), &raw.confirm),
    ] {
        let found = percentiles(&decode(text).with_context(|| format!("its {name} times"))?);
        same_percentiles(name, stored, &found)?;
    }
    let seconds = if trial.seconds > 0.0 { trial.seconds } else { planned_s };
    let received = trial.throughput_per_s * seconds;
    let found = match load {
        // A backlog is drained until nothing is left.
        LoadKind::Drain => {
            let all = raw.series.iter().map(|interval| interval.received).fold(0, u64::saturating_add);
            Some((all, all))
        }
        _ => window(raw, seconds),
    };
    // A recording that ends before the measured time says nothing of it.
    let Some((least, most)) = found else { return Ok(()) };
    // What came to a second receiver is in the series, and not in the throughput.
    let again = trial.counts.duplicated.saturating_add(trial.counts.redelivered);
    let least = least.saturating_sub(again) as f64 * (1.0 - ROUNDING) - 1.0;
    let most = most as f64 * (1.0 + ROUNDING) + 1.0;
    ensure!(
        (least..=most).contains(&received),
        "run.json has a throughput of {:.0}/s, and its recording has {:.0} messages in {seconds} s",
        trial.throughput_per_s,
        most - 1.0
    );
    Ok(())
}

/// Messages that were received in the measured time: in intervals that lie in it, and in those
/// that begin or end in it as well. `None` when none of them does.
fn window(raw: &Raw, seconds: f64) -> Option<(u64, u64)> {
    let (from, to) = (raw.measure_from_ns as f64, raw.measure_from_ns as f64 + seconds * 1e9);
    let mut found = None;
    for (number, interval) in raw.series.iter().enumerate() {
        let begins = number as f64 * raw.interval_ns as f64;
        let ends = begins + raw.interval_ns as f64;
        if ends > from && begins < to {
            let (least, most) = found.get_or_insert((0, 0));
            *most = u64::saturating_add(*most, interval.received);
            *least =
                u64::saturating_add(*least, if begins >= from && ends <= to { interval.received } else { 0 });
        }
    }
    found
}

/// The summary of a case, by its trials.
fn summary(cell: &BenchmarkCase, found: Option<&Summary>, widened: bool) -> Result<()> {
    let (Some(stored), Some(found)) = (&cell.summary, found) else {
        let missing = cell.summary.is_none();
        ensure!(missing || found.is_some(), "run.json has a summary, and none of its trials was good");
        return Ok(());
    };
    same_estimate("throughput", &stored.throughput_per_s, &found.throughput_per_s, widened)?;
    ensure!(
        stored.counts == found.counts,
        "the counts of its summary are not the sums of its trials: {:?}, and not {:?}",
        stored.counts,
        found.counts
    );
    let none = Percentiles::default();
    for (name, stored, found) in [
        ("response", Some(&stored.response_ns), Some(&found.response_ns)),
        ("service", Some(&stored.service_ns), Some(&found.service_ns)),
        ("lag", Some(&stored.lag_ns), Some(&found.lag_ns)),
        ("pacer", stored.pacer_ns.as_ref(), found.pacer_ns.as_ref()),
        ("confirmation", stored.confirm_ns.as_ref(), found.confirm_ns.as_ref()),
    ] {
        same_percentiles(name, stored.unwrap_or(&none), found.unwrap_or(&none))?;
    }
    for (name, stored, found) in [
        ("p50", stored.response_p50_ns, found.response_p50_ns),
        ("p99", stored.response_p99_ns, found.response_p99_ns),
    ] {
        // Older result sets have no intervals of percentiles.
        if let (Some(stored), Some(found)) = (stored, found) {
            same_estimate(name, &stored, &found, widened)?;
        }
    }
    Ok(())
}

fn same_percentiles(name: &str, stored: &Percentiles, found: &Percentiles) -> Result<()> {
    // Older result sets have no means.
    let stored = Percentiles { mean: stored.mean.or(found.mean), ..*stored };
    ensure!(
        stored == *found,
        "run.json has other {name} times than the recording: {}, and not {}",
        told(&stored),
        told(found)
    );
    Ok(())
}

fn told(percentiles: &Percentiles) -> String {
    let ns = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |ns| ns.to_string());
    let Percentiles { p50, p90, p99, p999, max, count, .. } = percentiles;
    format!(
        "{count} samples, p50 {}, p90 {}, p99 {}, p99.9 {}, maximum {} ns",
        ns(*p50),
        ns(*p90),
        ns(*p99),
        ns(*p999),
        ns(*max)
    )
}

/// The interval is compared where it is as the bootstrap gave it.
fn same_estimate(name: &str, stored: &Estimate, found: &Estimate, widened: bool) -> Result<()> {
    let near = |a: f64, b: f64| (a - b).abs() <= ROUNDING * b.abs().max(1.0);
    let interval = widened || (near(stored.low, found.low) && near(stored.high, found.high));
    ensure!(
        near(stored.median, found.median) && interval,
        "its summary has a {name} of {} ({} to {}), and its trials give {} ({} to {})",
        stored.median,
        stored.low,
        stored.high,
        found.median,
        found.low,
        found.high
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Interval, ResultSet};

    fn committed() -> Vec<std::path::PathBuf> {
        let results = concat!(env!("CARGO_MANIFEST_DIR"), "/../results");
        let entries = std::fs::read_dir(results).expect("a folder").flatten();
        entries.map(|entry| entry.path()).filter(|dir| dir.join("run.json").is_file()).collect()
    }

    #[test]
    fn committed_result_sets_follow_from_their_raw_data() {
        assert!(!committed().is_empty());
        for dir in committed() {
            let (result_set, run) = ResultSet::open(&dir).expect("a result set");
            let verified = verify(&run, |cell, trial| result_set.raw(&cell.id, trial.index));
            assert!(verified.is_ok(), "{}: {verified:?}", dir.display());
        }
    }

    #[test]
    fn a_figure_that_does_not_follow_is_refused_by_name() {
        let dir = committed().into_iter().min().expect("a result set");
        let (result_set, run) = ResultSet::open(&dir).expect("a result set");
        let cell =
            run.cells.iter().find(|cell| cell.summary.is_some() && cell.trials.len() > 1).expect("a case");
        let run = Run { cells: vec![cell.clone()], ..run.clone() };
        let refused = |words: &str, change: &dyn Fn(&mut Run)| {
            let mut run = run.clone();
            change(&mut run);
            let error = verify(&run, |cell, trial| result_set.raw(&cell.id, trial.index)).expect_err(words);
            let error = format!("{error:#}");
            assert!(error.contains(words) && error.contains(&cell.id), "{error}");
        };
        refused("throughput", &|run| run.cells[0].trials[0].throughput_per_s *= 10.0);
        refused("throughput", &|run| run.cells[0].trials[0].throughput_per_s *= 1.01);
        refused("throughput", &|run| {
            if let Some(summary) = &mut run.cells[0].summary {
                summary.throughput_per_s.median *= 1.01;
            }
        });
        refused("service times", &|run| run.cells[0].trials[0].service_ns.max = Some(1));
        refused("counts", &|run| {
            if let Some(summary) = &mut run.cells[0].summary {
                summary.counts.lost += 1;
            }
        });
        refused("none of its trials was good", &|run| {
            run.cells[0].trials.iter_mut().for_each(|trial| trial.failed = Some("no".to_owned()));
        });
        // One recording in the place of another.
        let swapped =
            verify(&run, |cell, trial| result_set.raw(&cell.id, (trial.index + 1) % cell.trials.len()));
        assert!(swapped.is_err());
    }

    #[test]
    fn an_interval_at_the_edge_counts_for_the_most_only() {
        let series = vec![Interval { received: 10, ..Interval::default() }; 4];
        let raw = Raw { interval_ns: 100, measure_from_ns: 150, series, ..Raw::default() };
        assert_eq!(window(&raw, 150e-9), Some((10, 20)));
        assert_eq!(window(&Raw { measure_from_ns: 100, ..raw }, 200e-9), Some((20, 20)));
        assert_eq!(window(&Raw { measure_from_ns: 100, ..Raw::default() }, 200e-9), None);
    }
}
