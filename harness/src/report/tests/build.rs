//! Runs and cases built by hand, for rules that need no recording.

use super::super::cases::Figure;
use super::super::figures::Figures;
use crate::results::{
    BenchmarkCase, Cost, Counts, Estimate, Host, Load, Noise, Percentiles, Plan, Run, Summary, Trial,
    Versions,
};
use crate::stats::Resampled;

/// Its figures, by the percentiles of its trials: what is built by hand has no recordings.
pub(crate) fn figures(run: &Run, from: u64) -> Figures {
    let times = |cell: &BenchmarkCase, seed| {
        Ok([Figure::P50, Figure::P99].map(|figure| Resampled::median(&figure.trials(cell), seed)))
    };
    Figures::of(run, from, times).expect("nothing is read")
}

/// A run of a host, without cases.
pub(crate) fn run() -> Run {
    Run {
        schema: 1,
        name: "built".to_owned(),
        created: "2026-01-31T10:00:00+01:00".to_owned(),
        seed: 1,
        complete: true,
        host: Host { name: "bench".to_owned(), cpu: "CPU".to_owned(), cores: 2, ..Host::default() },
        versions: Versions::default(),
        noise: Noise::default(),
        plan: Plan { trials: 3, seconds: 1.0, ..Plan::default() },
        cells: Vec::new(),
        capacities: Vec::new(),
        sweeps: Vec::new(),
        skipped: Vec::new(),
        sources: [].into(),
        widening: None,
    }
}

/// A case at maximum load, with a summary and without trials; `lab` is `PATTERN-TRANSPORT`.
pub(crate) fn plain(lab: &str) -> BenchmarkCase {
    let (pattern, transport) = lab.split_once('-').expect("a pattern and a transport");
    BenchmarkCase {
        id: format!("{lab}.64B.1x1.max"),
        lab: lab.to_owned(),
        pattern: pattern.to_owned(),
        transport: transport.to_owned(),
        variant: None,
        guarantee: "at-most-once".to_owned(),
        guarantee_note: None,
        overload: "waits".to_owned(),
        broker: None,
        source: format!("labs/src/{pattern}/{transport}.rs"),
        size: 64,
        senders: 1,
        receivers: 1,
        load: Load::max(),
        knobs: [].into(),
        set: [].into(),
        part_of: None,
        trials: Vec::new(),
        summary: Some(summary(1.0)),
        floor: None,
    }
}

/// A case with three trials around `value`: messages a second at maximum load, ns of p99 at a rate.
pub(crate) fn measured(lab: &str, load: Load, value: f64) -> BenchmarkCase {
    let open = load.is_open();
    let mut cell = plain(lab);
    cell.id = format!("{lab}.{}", load.label());
    cell.load = load;
    let trial = |index: usize| {
        let value = value * (1.0 + index as f64 / 100.0);
        let response = Percentiles {
            p50: Some((value / 2.0) as u64),
            p99: Some(value as u64),
            count: 1_000,
            ..Percentiles::default()
        };
        let cost = Cost { cpu_ns_per_msg: 1e9 / value, ..Cost::default() };
        Trial {
            index,
            throughput_per_s: if open { 1_000.0 } else { value },
            response_ns: if open { response } else { Percentiles::default() },
            counts: Counts { sent: 1_000, received: 1_000, ..Counts::default() },
            cost: [("sender".to_owned(), cost)].into(),
            ..Trial::default()
        }
    };
    cell.trials = (0..3).map(trial).collect();
    let middle = cell.trials[1].clone();
    let around = |value: f64| Estimate { median: value, low: value / 1.01, high: value * 1.01 };
    cell.summary = Some(Summary {
        throughput_per_s: around(middle.throughput_per_s),
        counts: Counts { sent: 3_000, received: 3_000, ..Counts::default() },
        response_ns: middle.response_ns,
        response_p50_ns: middle.response_ns.p50.map(|ns| around(ns as f64)),
        response_p99_ns: middle.response_ns.p99.map(|ns| around(ns as f64)),
        cost: middle.cost,
        ..summary(1.0)
    });
    cell
}

fn summary(throughput: f64) -> Summary {
    Summary {
        throughput_per_s: Estimate { median: throughput, low: throughput, high: throughput },
        counts: Counts::default(),
        response_ns: Percentiles::default(),
        response_p50_ns: None,
        response_p99_ns: None,
        service_ns: Percentiles::default(),
        lag_ns: Percentiles::default(),
        pacer_ns: None,
        confirm_ns: None,
        hops_ns: None,
        shares: Vec::new(),
        cost: [].into(),
        flags: Vec::new(),
    }
}
