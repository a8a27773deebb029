//! Puts together what was seen of a trial: the account, the merged histograms of
//! all roles, costs, and the flags.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use labs::catalog::Pattern;

use super::flags::flags;
use super::pipeline_work::PipelineWork;
use super::reconcile::Reconciled;
use super::spec::{Outcome, Spec};
use crate::measure::clock;
use crate::measure::cost::Usage;
use crate::measure::recorder::INTERVAL;
use crate::measure::trace::MessageTrace;
use crate::results::{Cost, Drain, FLOOR, Flag, Interval, LoadKind, Noise, Paused, Raw, RoleHost, Trial};
use crate::roles::UNINSTRUMENTED;
use crate::roles::protocol::{Kind, Report};
use crate::stats;
use crate::supervisor::{Role, Side};

/// All that was seen of a trial.
pub struct TrialInputs<'a> {
    /// What the roles reported.
    pub reports: Vec<(Kind, &'a Report)>,
    /// What became of the messages.
    pub account: Reconciled,
    /// What workers did with them.
    pub work: PipelineWork,
    /// What was going on beside it.
    pub noise: Noise,
    /// What the broker used in the measured window.
    pub broker: Option<Usage>,
    /// CPU time of the process that supervises in the measured window, ns; `None` where the roles
    /// are in the same process.
    pub supervisor_cpu: Option<u64>,
    /// Sent and not yet received when the measured window opened and closed.
    pub backlog: [u64; 2],
    /// Why it failed.
    pub failed: Option<String>,
    /// When the broker stood still.
    pub paused: Option<Paused>,
    /// The roles that ran elsewhere, and what is known of the other side.
    pub sides: Vec<(&'a Role, &'a Side)>,
    /// Every single message, where that was asked for.
    pub recording: Option<MessageTrace>,
    /// The common start, ns of the clock; `None` where it never came to that.
    pub start: Option<u64>,
}

/// Puts everything together and says what is not to be believed.
pub fn evaluate(spec: &Spec, seen: TrialInputs<'_>, index: usize, position: usize) -> Outcome {
    let TrialInputs {
        reports,
        account,
        mut work,
        noise,
        broker,
        supervisor_cpu,
        backlog,
        mut failed,
        paused,
        sides,
        recording,
        start,
    } = seen;
    let Reconciled { counts, again } = account;
    let reports = || reports.iter().copied();
    let merged = |pick: fn(&Report) -> &str| merge(reports().map(|(_, report)| pick(report)));
    let (mut response, mut response_text) = merged(|report| &report.response);
    let (mut service, mut service_text) = merged(|report| &report.service);
    let clock_bound_ns = clock_bound(spec, &sides);
    let uncertain = clock_bound_ns.is_some_and(|bound| is_too_far(bound, response.value_at_quantile(0.5)));
    if uncertain && !response.is_empty() {
        // Nobody can say how long anything took.
        response.reset();
        service.reset();
        response_text.clear();
        service_text.clear();
    }
    // Each hop is timed by two roles.
    let bound = sides.iter().map(|(_, side)| side.clock.bound_ns.saturating_mul(2)).max().unwrap_or(0);
    let is_known = |times: &Histogram<u64>| !is_too_far(bound, times.value_at_quantile(0.5));
    work.hops = work.hops.filter(|hops| bound == 0 || hops.named().iter().all(|(_, times)| is_known(times)));
    let (lag, lag_text) = merged(|report| &report.lag);
    let (pacer, pacer_text) = merged(|report| &report.pacer);
    let (confirm, confirm_text) = merged(|report| &report.confirm);
    // Those who share messages each count what they see for the first time. What
    // came to a second of them is taken off, in the window or not: no rate is too high.
    let received: u64 = reports().map(|(_, report)| report.measured).sum::<u64>().saturating_sub(again);
    if failed.is_none() && received == 0 {
        failed = Some("nothing was received in the measured time".to_owned());
    }
    let mut series: Vec<Interval> = Vec::new();
    for (_, report) in reports() {
        series.resize(series.len().max(report.series.len()), Interval::default());
        for (sum, part) in series.iter_mut().zip(&report.series) {
            sum.received += part.received;
            sum.max_ns = sum.max_ns.max(part.max_ns);
            sum.sum_ns += part.sum_ns;
            sum.offered += part.offered;
        }
    }
    if uncertain {
        // Counts are right, and times are not.
        series.iter_mut().for_each(|interval| (interval.max_ns, interval.sum_ns) = (0, 0));
    }
    let mut cost: BTreeMap<String, Cost> = BTreeMap::new();
    for (kind, report) in reports() {
        let one = report.usage.per_message(received);
        let all = cost.remove(kind.as_str()).map_or(one, |others| {
            // Threads share one process's memory; processes add up.
            let shared = spec.placement.threads.then_some(one.rss_bytes.max(others.rss_bytes));
            let sum = others + one;
            Cost { rss_bytes: shared.unwrap_or(sum.rss_bytes), ..sum }
        });
        cost.insert(kind.to_string(), all);
    }
    if let Some(usage) = broker {
        cost.insert("broker".to_owned(), plausible(usage.per_message(received), spec.size));
    }
    let harness_cpu = supervisor_cpu.map(|supervisor| {
        let roles: u64 = reports().map(|(_, report)| report.usage.cpu_ns).sum();
        let all = roles + broker.map_or(0, |usage| usage.cpu_ns) + supervisor;
        // Looks are counted from the common start.
        let looks: u64 = reports().map(|(_, report)| report.window_cpu_ns).sum();
        let measured = looks as f64 * spec.seconds / (spec.warmup + spec.seconds);
        if all == 0 { 0.0 } else { (supervisor as f64 + measured) / all as f64 }
    });
    let knobs = reports().flat_map(|(_, report)| report.knobs.clone()).collect();
    let raw = Raw {
        response: response_text,
        service: service_text,
        lag: lag_text,
        pacer: pacer_text,
        confirm: confirm_text,
        hops: work.hops.as_ref().map(|hops| hops.map(encode)),
        interval_ns: INTERVAL,
        measure_from_ns: clock::seconds(spec.warmup),
        series,
    };
    let drain = (spec.load.kind == LoadKind::Drain).then(|| drained(reports(), counts.sent));
    let seconds = drain.map_or(spec.seconds, |drain| drain.drain_s);
    let mut trial = Trial {
        index,
        position,
        seed: spec.seed,
        seconds,
        failed,
        throughput_per_s: if seconds > 0.0 { received as f64 / seconds } else { 0.0 },
        due: if spec.load.is_open() { lag.len() } else { 0 },
        backlog,
        drain,
        counts,
        response_ns: stats::percentiles(&response),
        service_ns: stats::percentiles(&service),
        lag_ns: stats::percentiles(&lag),
        pacer_ns: (!pacer.is_empty()).then(|| stats::percentiles(&pacer)),
        confirm_ns: (!confirm.is_empty()).then(|| stats::percentiles(&confirm)),
        hops_ns: work.hops.as_ref().map(|hops| hops.map(stats::percentiles)),
        shares: work.shares,
        cost,
        harness_cpu,
        noise,
        flags: Vec::new(),
        paused,
        hosts: sides.iter().map(|(role, side)| role_host(&role.name, side)).collect(),
        clock_bound_ns,
    };
    let guarantee = spec.handle.entry.guarantee;
    let name = &spec.handle.entry.name;
    let accounts = !name.starts_with(UNINSTRUMENTED) && !name.starts_with(FLOOR);
    trial.flags = flags(&trial, &raw, &spec.load, spec.seconds, spec.null_rate, guarantee, accounts);
    if uncertain && spec.load.is_open() {
        trial.flags.retain(|flag| *flag != Flag::TooFewSamples);
        trial.flags.push(Flag::UncertainClock);
        trial.flags.sort_unstable();
    }
    Outcome { trial, raw, knobs, recording, start }
}

/// Whether a bound is more than a tenth of a time: then nobody can say how long it took.
fn is_too_far(bound: u64, time: u64) -> bool {
    bound.saturating_mul(10) > time
}

/// How far from the truth times may be that were taken on two hosts: `None` where one clock took both,
/// as in request/reply, where a requester times its own replies.
fn clock_bound(spec: &Spec, sides: &[(&Role, &Side)]) -> Option<u64> {
    if spec.handle.entry.pattern == Pattern::RequestReply {
        return None;
    }
    let worst = |sends: bool| {
        // A worker between takes no time that counts for the whole way.
        let of = sides.iter().filter(|(role, _)| role.kind.sends() == sends && role.kind != Kind::Worker);
        of.map(|(_, side)| side.clock.bound_ns).max()
    };
    match (worst(true), worst(false)) {
        (None, None) => None,
        (senders, receivers) => Some(senders.unwrap_or(0).saturating_add(receivers.unwrap_or(0))),
    }
}

fn role_host(role: &str, side: &Side) -> RoleHost {
    RoleHost {
        role: role.to_owned(),
        host: side.host.name.clone(),
        cpu: side.host.cpu.clone(),
        cores: side.host.cores,
        clock_offset_ns: side.clock.offset_ns,
        clock_bound_ns: side.clock.bound_ns,
        noise: side.noise.clone(),
    }
}

fn encode(histogram: &Histogram<u64>) -> String {
    stats::encode(histogram).unwrap_or_default()
}

/// The histograms that roles have encoded, as one; and that one encoded. Where a single role has
/// samples, as in most patterns, its own text is kept.
fn merge<'a>(texts: impl Iterator<Item = &'a str>) -> (Histogram<u64>, String) {
    let parts: Vec<(&str, Histogram<u64>)> = texts
        .filter(|text| !text.is_empty())
        .filter_map(|text| Some((text, stats::decode(text).ok()?)))
        .collect();
    if let [(text, only)] = &parts[..] {
        return (only.clone(), (*text).to_owned());
    }
    let mut sum = stats::new_histogram();
    for (_, part) in &parts {
        // Same bounds on both sides: adding cannot fail.
        let _ = sum.add(part);
    }
    let text = encode(&sum);
    (sum, text)
}

/// A broker hands every message it delivers to the kernel once at least. Where the
/// books show less than this share of that, it sends by calls that they leave out.
const WRITTEN: f64 = 0.5;

/// A broker's cost; what it wrote only where the kernel has counted it.
fn plausible(cost: Cost, size: usize) -> Cost {
    let counted = cost.bytes_per_msg.is_some_and(|bytes| bytes >= WRITTEN * size as f64);
    if counted { cost } else { Cost { writes_per_msg: None, bytes_per_msg: None, ..cost } }
}

/// How a backlog was filled and drained: from the first start of a kind of
/// role to the last end.
fn drained<'a>(reports: impl Iterator<Item = (Kind, &'a Report)>, messages: u64) -> Drain {
    let (mut fill, mut drain) = ((u64::MAX, 0), (u64::MAX, 0));
    for (kind, report) in reports {
        let Some((from, to)) = report.span else { continue };
        let span = if kind.sends() { &mut fill } else { &mut drain };
        *span = (span.0.min(from), span.1.max(to));
    }
    let seconds = |(from, to): (u64, u64)| to.saturating_sub(from) as f64 / clock::SECOND as f64;
    Drain { messages, fill_s: seconds(fill), drain_s: seconds(drain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_of_roles_are_merged_and_encoded() {
        let of = |values: &[u64]| {
            let mut histogram = stats::new_histogram();
            values.iter().for_each(|&value| histogram.saturating_record(value));
            (stats::encode(&histogram).expect("it encodes"), histogram)
        };
        let ((one, _), (two, _), (both, merged)) = (of(&[5, 7_000]), of(&[90]), of(&[5, 90, 7_000]));
        for (texts, expected) in [
            (vec![one.as_str(), two.as_str()], (merged, both)),
            (vec!["", one.as_str(), "?"], (of(&[5, 7_000]).1, one.clone())),
            (vec![""], (stats::new_histogram(), String::new())),
        ] {
            assert_eq!(merge(texts.iter().copied()), expected, "{texts:?}");
        }
    }

    #[test]
    fn a_broker_cannot_deliver_more_than_it_writes() {
        let cost = |bytes| Cost { writes_per_msg: Some(0.1), bytes_per_msg: bytes, ..Cost::default() };
        for (bytes, kept) in [(Some(70.0), true), (Some(32.0), true), (Some(31.9), false), (None, false)] {
            let cost = plausible(cost(bytes), 64);
            assert_eq!(
                (cost.writes_per_msg.is_some(), cost.bytes_per_msg.is_some()),
                (kept, kept),
                "{bytes:?}"
            );
        }
    }
}
