//! Common ways to measure: what tools and people do to the messages of a recording before
//! they print a number.

use std::ops::Range;

use anyhow::{Context as _, Result};

use super::model::{Figure, Flood, RecordedTrial, Sample, Samples, Unit, View};
use crate::measure::trace::MessageTrace;

const MS: u64 = 1_000_000;
/// The percentile of each second, for averaging.
const INTERVAL: u64 = 1_000 * MS;
/// Messages that come closer upon each other than this came with one wake-up
/// of the receiver, ns. A message on its own comes a gap of the schedule later,
/// which is ten times as long at 1,000 a second.
const BATCH_GAP: u64 = 100_000;

/// The measured time, ns from the common start.
pub(super) fn window(trial: &RecordedTrial) -> Range<u64> {
    let from = (trial.warmup_s * 1e9) as u64;
    from..from + (trial.seconds * 1e9) as u64
}

/// Each message that was due in the measured time and was received, as it came
/// for the first time, in the order due.
pub(super) fn samples(recording: &MessageTrace, trial: &RecordedTrial) -> Vec<Sample> {
    let window = window(trial);
    let mut samples = Vec::new();
    let mut last = None;
    for record in recording.records.iter().filter(|record| window.contains(&record.due)) {
        let Some(received) = record.received else { continue };
        // Records of one message are adjacent, the earliest receipt first.
        if last.replace((record.producer, record.sequence)) != Some((record.producer, record.sequence)) {
            samples.push(Sample { due: record.due, sent: record.sent, received });
        }
    }
    samples.sort_by_key(|sample| (sample.due, sample.received));
    samples
}

/// Sorted times.
pub(super) fn sorted(times: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    times
}

/// The smallest value that at least this share of all do not exceed (nearest
/// rank); 0 of nothing. `sorted` is.
pub(super) fn quantile(sorted: &[u64], share: f64) -> u64 {
    // A product that differs from a whole number only in the last bit counts as whole.
    let rank = (share * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).wrapping_sub(1)).copied().unwrap_or_default()
}

/// The messages of these that a client in lockstep would have sent: a message counts only if it
/// was sent when the last that counted had been received. It counts from its send.
pub(super) fn lockstep(samples: &[Sample]) -> Vec<u64> {
    let mut by_send: Vec<&Sample> = samples.iter().collect();
    by_send.sort_by_key(|sample| sample.sent);
    let mut free = 0;
    let mut kept = Vec::new();
    for sample in by_send {
        if sample.sent >= free {
            free = sample.received;
            kept.push(sample.service());
        }
    }
    sorted(kept.into_iter())
}

/// Times as a clock of whole milliseconds sees them that drops what it takes
/// for zero: whole milliseconds and how many messages got them. Where the ticks
/// of such a clock lie is chance, so each message counts at every place they
/// may have: what took 1.3 ms is 1 ms to seven clocks of ten, and 2 ms to three.
pub(super) fn milliseconds(times: &[u64]) -> Vec<(u64, f64)> {
    let mut seen: Vec<(u64, f64)> = Vec::new();
    for time in times {
        let (whole, rest) = (time / MS, (time % MS) as f64 / MS as f64);
        seen.push((whole, 1.0 - rest));
        seen.push((whole + 1, rest));
    }
    seen.retain(|(ms, share)| *ms > 0 && *share > 0.0);
    seen.sort_by_key(|(ms, _)| *ms);
    seen
}

/// As [`quantile`], of values that count in part; in the values' unit.
pub(super) fn weighted_quantile(sorted: &[(u64, f64)], share: f64) -> u64 {
    let wanted = share * sorted.iter().map(|(_, weight)| weight).sum::<f64>() - 1e-9;
    let mut sum = 0.0;
    let reached = sorted.iter().find(|(_, weight)| {
        sum += weight;
        sum >= wanted
    });
    reached.or(sorted.last()).map_or(0, |(value, _)| *value)
}

/// A percentile of the response times of each second, in order.
pub(super) fn by_second(samples: &[Sample], from: u64, share: f64) -> Vec<u64> {
    let mut seconds: Vec<Vec<u64>> = Vec::new();
    for sample in samples {
        let index = (sample.due.saturating_sub(from) / INTERVAL) as usize;
        if index >= seconds.len() {
            seconds.resize(index + 1, Vec::new());
        }
        seconds[index].push(sample.response());
    }
    seconds
        .into_iter()
        .filter(|second| !second.is_empty())
        .map(|second| quantile(&sorted(second.into_iter()), share))
        .collect()
}

/// The last message of each batch, by its response time: what is left where
/// the clock is read once for all that came together.
pub(super) fn last_of_batches(samples: &[Sample]) -> Vec<u64> {
    let mut by_receipt: Vec<&Sample> = samples.iter().collect();
    by_receipt.sort_by_key(|sample| sample.received);
    let last = by_receipt.chunk_by(|a, b| b.received - a.received < BATCH_GAP).filter_map(<[_]>::last);
    sorted(last.map(|sample| sample.response()))
}

pub(super) fn responses(samples: &[Sample]) -> Vec<u64> {
    sorted(samples.iter().map(Sample::response))
}

pub(super) fn services(samples: &[Sample]) -> Vec<u64> {
    sorted(samples.iter().map(Sample::service))
}

fn ns(what: &str, value: u64) -> Figure {
    Figure { what: what.to_owned(), value, unit: Unit::Ns }
}

fn messages(what: &str, count: usize) -> Figure {
    Figure { what: what.to_owned(), value: count as u64, unit: Unit::Messages }
}

/// A view of the event; the factor follows from its figures.
fn view(name: &str, measure: &str, (wrong, truth): (Figure, Figure), more: Vec<Figure>) -> View {
    let (low, high) = (wrong.value.min(truth.value).max(1), wrong.value.max(truth.value).max(1));
    let factor = high as f64 / low as f64;
    // Three digits: more would be the machine's mood.
    let scale = 10_f64.powf(2.0 - factor.log10().floor());
    let factor = (factor * scale).round() / scale;
    View { name: name.to_owned(), measure: measure.to_owned(), wrong, truth, factor, more }
}

pub(super) fn closed_loop(samples: &Samples) -> View {
    let (open, closed) = (responses(&samples.open), services(&samples.closed));
    let thinned = lockstep(&samples.open);
    let p = |times: &[u64]| quantile(times, 0.999);
    view(
        "closed-loop",
        "p99.9 of the response time",
        (
            ns("from send to receipt, by a sender that waits for each message", p(&closed)),
            ns("from due to receipt, of every message that was due", p(&open)),
        ),
        vec![
            ns(
                "the open loop's recording, thinned to the messages that such a sender would have sent",
                p(&thinned),
            ),
            messages("messages of the open loop", open.len()),
            messages("messages of the closed loop", closed.len()),
            messages("messages of the thinned recording", thinned.len()),
            ns("the longest, closed loop", quantile(&closed, 1.0)),
            ns("the longest, open loop", quantile(&open, 1.0)),
        ],
    )
}

pub(super) fn millisecond_clock(samples: &Samples) -> View {
    let times = responses(&samples.open);
    let coarse = milliseconds(&times);
    let kept: f64 = coarse.iter().map(|(_, share)| share).sum();
    view(
        "millisecond-clock",
        "median of the response time",
        (
            ns("in whole milliseconds, zeros dropped", weighted_quantile(&coarse, 0.5) * MS),
            ns("in nanoseconds, of every message", quantile(&times, 0.5)),
        ),
        vec![
            messages("messages rounded to zero and dropped", times.len() - kept.round() as usize),
            messages("messages", times.len()),
        ],
    )
}

pub(super) fn averaged_percentiles(samples: &Samples) -> View {
    let seconds = by_second(&samples.open, samples.from, 0.99);
    let mean = seconds.iter().sum::<u64>() / (seconds.len() as u64).max(1);
    view(
        "averaged-percentiles",
        "p99 of the response time",
        (
            ns("the mean of the p99 of each second", mean),
            ns("the p99 of all messages together", quantile(&responses(&samples.open), 0.99)),
        ),
        vec![
            ns("the lowest p99 of a second", seconds.iter().copied().min().unwrap_or_default()),
            ns("the highest p99 of a second", seconds.iter().copied().max().unwrap_or_default()),
        ],
    )
}

pub(super) fn one_sample_a_batch(samples: &Samples) -> View {
    let (all, last) = (responses(&samples.open), last_of_batches(&samples.open));
    view(
        "one-sample-a-batch",
        "p99 of the response time",
        (
            ns("of the last message of each batch", quantile(&last, 0.99)),
            ns("of every message", quantile(&all, 0.99)),
        ),
        vec![messages("samples, one a batch", last.len()), messages("messages", all.len())],
    )
}

pub(super) fn single_run(samples: &Samples) -> Result<View> {
    let p99: Vec<u64> = samples.runs.iter().map(|run| quantile(&responses(run), 0.99)).collect();
    let sorted = sorted(p99.iter().copied());
    let (low, high) = sorted.first().zip(sorted.last()).context("there is no short run")?;
    // Of an even number the lower of the middle two: a figure that a run has shown.
    let median = quantile(&sorted, 0.5);
    let off = |value: u64| (value as f64 / median.max(1) as f64).ln().abs();
    let farthest = if off(*low) > off(*high) { *low } else { *high };
    Ok(view(
        "single-run",
        "p99 of the response time",
        (ns("the run that is farthest from the median", farthest), ns("the median of all runs", median)),
        (1..).zip(p99).map(|(number, value)| ns(&format!("run {number}"), value)).collect(),
    ))
}

pub(super) fn senders_rate(flood: &Flood) -> View {
    let rate = |what: &str, value: f64| Figure {
        what: what.to_owned(),
        value: value.round() as u64,
        unit: Unit::PerSecond,
    };
    let count = |what: &str, value: u64| Figure { what: what.to_owned(), value, unit: Unit::Messages };
    view(
        "senders-rate",
        "throughput",
        (
            rate("messages a second that the sender handed over", flood.counts.sent as f64 / flood.seconds),
            rate("messages a second that were received", flood.received_per_s),
        ),
        vec![
            count("sent", flood.counts.sent),
            count("received in total", flood.counts.received),
            count("lost", flood.counts.lost),
        ],
    )
}
