//! A case as one flat row.

use serde::Serialize;

use super::super::number;
use super::promise::Promise;
use crate::results::{BenchmarkCase, Estimate, Flag, Load, LoadKind, Part, Run, Trial};
use crate::stats;

/// A case of a run, with what was measured of it. A column's name says its unit; what was not
/// measured, or is withheld for too few samples, is empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// The name of the run.
    pub(crate) result_set: String,
    /// When the run began, RFC 3339.
    pub(crate) created: String,
    /// The machine, its CPU and how many logical CPUs it has.
    pub(crate) host: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// The version of `lab`, and the source revision.
    pub(crate) version: String,
    pub(crate) revision: String,
    /// The case's name in `run.json`.
    pub(crate) case: String,
    pub(crate) lab: String,
    pub(crate) pattern: String,
    pub(crate) transport: String,
    /// `none` for peer-to-peer transports.
    pub(crate) broker: String,
    pub(crate) broker_version: String,
    pub(crate) guarantee: String,
    /// What happens when the receiver is too slow.
    pub(crate) overload: String,
    pub(crate) size_bytes: u64,
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
    /// Knobs that were varied: `batch=16`.
    pub(crate) settings: String,
    /// `max`, `1000/s`, `drain 10000`.
    pub(crate) load: String,
    /// `sustainable rate` for the run that confirmed the result of a search, `latency against load` for
    /// a point of a sweep; empty for all others.
    pub(crate) part_of: &'static str,
    pub(crate) trials: usize,
    pub(crate) failed_trials: usize,
    /// Received messages a second: the median of the trials with its 95 % interval; for a backlog the
    /// rate of draining. One trial has no interval.
    pub(crate) throughput_per_s: Option<f64>,
    pub(crate) throughput_per_s_low: Option<f64>,
    pub(crate) throughput_per_s_high: Option<f64>,
    /// The throughput by that of raw sockets over the same transport, at maximum load.
    pub(crate) baseline_share: Option<f64>,
    pub(crate) baseline_share_low: Option<f64>,
    pub(crate) baseline_share_high: Option<f64>,
    /// From the scheduled send to the receipt, at a rate, merged over the trials.
    pub(crate) response_p50_ns: Option<f64>,
    pub(crate) response_p50_ns_low: Option<f64>,
    pub(crate) response_p50_ns_high: Option<f64>,
    pub(crate) response_p99_ns: Option<f64>,
    pub(crate) response_p99_ns_low: Option<f64>,
    pub(crate) response_p99_ns_high: Option<f64>,
    /// The median response time by that of raw sockets, at a rate.
    pub(crate) baseline_times: Option<f64>,
    pub(crate) baseline_times_low: Option<f64>,
    pub(crate) baseline_times_high: Option<f64>,
    /// How late the generator itself woke up and sent; it is part of the response time.
    pub(crate) wake_up_p50_ns: Option<u64>,
    pub(crate) wake_up_p99_ns: Option<u64>,
    /// Sums over the good trials, messages, as in `run.json`.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) confirmed_lost: u64,
    pub(crate) unconfirmed_lost: u64,
    pub(crate) unaccounted: u64,
    pub(crate) indeterminate: u64,
    pub(crate) refused: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    /// Whether messages of one sender are to arrive in order here.
    pub(crate) order_promised: bool,
    pub(crate) corrupt: u64,
    pub(crate) misrouted: u64,
    /// CPU time of all roles and the broker per received message.
    pub(crate) cpu_ns_per_message: Option<f64>,
    pub(crate) cpu_ns_per_message_low: Option<f64>,
    pub(crate) cpu_ns_per_message_high: Option<f64>,
    /// What the runs under faults say of the lab's promise, and the folder they are in.
    pub(crate) under_faults: String,
    pub(crate) faults: String,
    /// Why a figure is not to be believed as it stands, separated by spaces.
    pub(crate) flags: String,
    /// Why the case failed; empty where it has a result.
    pub(crate) failure: Option<String>,
}

impl Row {
    /// `64 B, 1 → 1`, and knobs that were varied.
    pub(crate) fn setting(&self) -> String {
        let shape = format!("{}, {} → {}", number::bytes(self.size_bytes), self.senders, self.receivers);
        if self.settings.is_empty() { shape } else { format!("{shape}, {}", self.settings) }
    }

    /// All fields that may hold anything.
    pub(super) fn texts(&mut self) -> Vec<&mut String> {
        let mut texts = vec![
            &mut self.result_set,
            &mut self.created,
            &mut self.host,
            &mut self.cpu,
            &mut self.version,
            &mut self.revision,
            &mut self.case,
            &mut self.lab,
            &mut self.pattern,
            &mut self.transport,
            &mut self.broker,
            &mut self.broker_version,
            &mut self.guarantee,
            &mut self.overload,
            &mut self.settings,
            &mut self.load,
            &mut self.under_faults,
            &mut self.faults,
            &mut self.flags,
        ];
        texts.extend(&mut self.failure);
        texts
    }
}

/// The row of a case; `promise` is what is known of its lab under faults.
pub(crate) fn row(run: &Run, cell: &BenchmarkCase, promise: Option<&Promise>) -> Row {
    let summary = cell.summary.as_ref();
    let counts = summary.map(|summary| summary.counts).unwrap_or_default();
    let open = cell.load.is_open();
    let speed = summary.map(|summary| interval(cell, summary.throughput_per_s)).unwrap_or_default();
    let cpu = cpu_interval(run, cell);
    let share = with_interval(run.share(cell), ratio_to_baseline(run, cell, throughput));
    let times = with_interval(run.times(cell), ratio_to_baseline(run, cell, p50));
    let response = |estimate: Option<Estimate>, value: Option<u64>| {
        let value = value.filter(|_| open).map(|ns| ns as f64);
        let ends = estimate.filter(|_| open).map(|estimate| interval(cell, estimate)).unwrap_or_default();
        [value, ends[1], ends[2]]
    };
    let p50 = summary.map(|all| response(all.response_p50_ns, all.response_ns.p50)).unwrap_or_default();
    let p99 = summary.map(|all| response(all.response_p99_ns, all.response_ns.p99)).unwrap_or_default();
    let lag = summary.filter(|_| open).map(|summary| summary.lag_ns);
    let settings: Vec<String> = cell.set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let broker = cell.broker.clone();
    Row {
        result_set: run.name.clone(),
        created: run.created.clone(),
        host: run.host.name.clone(),
        cpu: run.host.cpu.clone(),
        cores: run.host.cores,
        version: run.versions.lab.clone(),
        revision: run.versions.git.clone().unwrap_or_default(),
        case: cell.id.clone(),
        lab: cell.lab.clone(),
        pattern: cell.pattern.clone(),
        transport: cell.transport.clone(),
        broker_version: broker
            .as_ref()
            .and_then(|broker| run.versions.brokers.get(broker).cloned())
            .unwrap_or_default(),
        broker: broker.unwrap_or_else(|| "none".to_owned()),
        guarantee: cell.guarantee.clone(),
        overload: cell.overload.clone(),
        size_bytes: cell.size,
        senders: cell.senders,
        receivers: cell.receivers,
        settings: settings.join(" "),
        load: cell.load.label(),
        part_of: match cell.part_of {
            Some(Part::Capacity) => "sustainable rate",
            Some(Part::Sweep) => "latency against load",
            None => "",
        },
        trials: cell.trials.len(),
        failed_trials: cell.trials.len() - cell.good_trials(),
        throughput_per_s: speed[0],
        throughput_per_s_low: speed[1],
        throughput_per_s_high: speed[2],
        baseline_share: share[0],
        baseline_share_low: share[1],
        baseline_share_high: share[2],
        response_p50_ns: p50[0],
        response_p50_ns_low: p50[1],
        response_p50_ns_high: p50[2],
        response_p99_ns: p99[0],
        response_p99_ns_low: p99[1],
        response_p99_ns_high: p99[2],
        baseline_times: times[0],
        baseline_times_low: times[1],
        baseline_times_high: times[2],
        wake_up_p50_ns: lag.and_then(|lag| lag.p50),
        wake_up_p99_ns: lag.and_then(|lag| lag.p99),
        sent: counts.sent,
        received: counts.received,
        lost: counts.lost,
        confirmed_lost: counts.confirmed_lost,
        unconfirmed_lost: counts.unconfirmed_lost,
        unaccounted: counts.unaccounted,
        indeterminate: counts.indeterminate,
        refused: counts.refused,
        duplicated: counts.duplicated,
        reordered: counts.reordered,
        order_promised: cell.promises_order(),
        corrupt: counts.corrupt,
        misrouted: counts.misrouted,
        cpu_ns_per_message: cpu[0],
        cpu_ns_per_message_low: cpu[1],
        cpu_ns_per_message_high: cpu[2],
        under_faults: promise.map(Promise::words).unwrap_or_default(),
        faults: promise.map(|promise| promise.folder.clone()).unwrap_or_default(),
        flags: flags(cell).into_iter().map(Flag::as_str).collect::<Vec<_>>().join(" "),
        failure: match summary {
            Some(_) => None,
            None => {
                let reason = cell.trials.iter().find_map(|trial| trial.failed.clone());
                Some(reason.unwrap_or_else(|| "not measured yet".to_owned()))
            }
        },
    }
}

/// All flags of a case; those of failed trials only if no trial was good.
///
/// Earlier versions raised `generator-limited` for a wake-up that was long only beside a fast
/// transport: it counts where the generator was late by more than a gap between messages. And they
/// did not know `sent-before`, which follows from what they recorded.
pub(crate) fn flags(cell: &BenchmarkCase) -> Vec<Flag> {
    let mut flags: Vec<Flag> = match &cell.summary {
        Some(summary) => summary.flags.clone(),
        None => cell.trials.iter().flat_map(|trial| trial.flags.iter().copied()).collect(),
    };
    let lag = cell.summary.as_ref().and_then(|summary| summary.lag_ns.p99);
    flags.retain(|flag| is_raised(*flag, lag, &cell.load));
    let mut good = cell.trials.iter().filter(|trial| trial.failed.is_none());
    if !cell.is_floor() && good.any(|trial| trial.is_sent_before(&cell.load)) {
        flags.push(Flag::SentBefore);
    }
    flags.sort_unstable();
    flags.dedup();
    flags
}

/// The flags of one trial, by the same rule.
pub(crate) fn trial_flags(cell: &BenchmarkCase, trial: &Trial) -> Vec<Flag> {
    let lag = trial.lag_ns.p99;
    let mut flags: Vec<Flag> =
        trial.flags.iter().copied().filter(|flag| is_raised(*flag, lag, &cell.load)).collect();
    if !cell.is_floor() && !flags.contains(&Flag::SentBefore) && trial.is_sent_before(&cell.load) {
        flags.push(Flag::SentBefore);
    }
    flags
}

/// Whether a flag would be raised today; `lag` is the generator's, p99, ns.
fn is_raised(flag: Flag, lag: Option<u64>, load: &Load) -> bool {
    match (flag, lag, load.gap_ns()) {
        (Flag::GeneratorLimited, Some(lag), Some(gap)) => lag as f64 > gap,
        _ => true,
    }
}

/// CPU time of all roles and the broker per received message, ns.
pub(crate) fn cpu(cell: &BenchmarkCase) -> Option<f64> {
    let cost = &cell.summary.as_ref()?.cost;
    Some(cost.values().map(|cost| cost.cpu_ns_per_msg).sum()).filter(|cpu| *cpu > 0.0)
}

/// The same with the ends of its interval over the trials.
pub(crate) fn cpu_interval(run: &Run, cell: &BenchmarkCase) -> [Option<f64>; 3] {
    let Some(median) = cpu(cell) else { return [None; 3] };
    let found = stats::bootstrap(&figures(cell, trial_cpu), run.seed);
    let factor = run.widening.as_ref().map_or(1.0, |widening| widening.factor);
    // Roles are added up by their medians: the ends may lie beside that sum.
    let whole = Estimate { median, low: found.low.min(median), high: found.high.max(median) };
    interval(cell, stats::widen(whole, factor))
}

/// The median and the ends of its interval; of one trial there is none.
pub(crate) fn interval(cell: &BenchmarkCase, estimate: Estimate) -> [Option<f64>; 3] {
    let several = cell.good_trials() > 1;
    let end = |value: f64| several.then_some(value);
    [Some(estimate.median), end(estimate.low), end(estimate.high)]
}

/// A ratio with the ends of its interval, where there is one.
fn with_interval(ratio: Option<f64>, estimate: Option<Estimate>) -> [Option<f64>; 3] {
    let estimate = estimate.filter(|estimate| ratio.is_some() && estimate.low < estimate.high);
    [ratio, estimate.map(|estimate| estimate.low), estimate.map(|estimate| estimate.high)]
}

/// Messages a second of a trial.
pub(crate) fn throughput(trial: &Trial) -> Option<f64> {
    Some(trial.throughput_per_s)
}

/// The median response time of a trial, ns.
pub(crate) fn p50(trial: &Trial) -> Option<f64> {
    trial.response_ns.p50.map(|ns| ns as f64)
}

/// The 99th percentile of the response time of a trial, ns.
pub(crate) fn p99(trial: &Trial) -> Option<f64> {
    trial.response_ns.p99.map(|ns| ns as f64)
}

/// CPU time of all roles and the broker per received message of a trial, ns.
pub(crate) fn trial_cpu(trial: &Trial) -> Option<f64> {
    Some(trial.cost.values().map(|cost| cost.cpu_ns_per_msg).sum()).filter(|cpu| *cpu > 0.0)
}

/// The interval of a figure by that of the baseline beneath it, over the trials of both.
pub(crate) fn ratio_to_baseline(
    run: &Run,
    cell: &BenchmarkCase,
    figure: fn(&Trial) -> Option<f64>,
) -> Option<Estimate> {
    if !matches!(cell.load.kind, LoadKind::Max | LoadKind::Rate) {
        return None;
    }
    let baseline = run.cells.iter().find(|baseline| Some(&baseline.id) == cell.floor.as_ref())?;
    stats::ratio(&figures(cell, figure), &figures(baseline, figure), run.seed)
}

/// A figure of every good trial that has it.
pub(crate) fn figures(cell: &BenchmarkCase, figure: fn(&Trial) -> Option<f64>) -> Vec<f64> {
    cell.trials.iter().filter(|trial| trial.failed.is_none()).filter_map(figure).collect()
}
