//! Bundles made by hand: a small one with something of everything, and one as
//! large as a real run.

use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::bundle::{
    Arrivals, Bundle, Cell, Cost, Counts, Flag, Hops, Host, Interval, Load, LoadKind, Noise, Plan, Raw, Run,
    SCHEMA, Skipped, Trial, Versions,
};
use crate::stats;

fn max() -> Load {
    Load::max()
}

fn rate() -> Load {
    Load::rate(1_000.0, Arrivals::Constant)
}

pub(super) fn plan() -> Plan {
    Plan {
        record: false,
        pause: None,
        name: "standard".to_owned(),
        labs: vec!["*".to_owned()],
        sizes: vec![64],
        loads: vec![max(), rate()],
        trials: 3,
        warmup_s: 1.0,
        seconds: 2.0,
        drain_s: 5.0,
        senders: vec![1],
        receivers: vec![1],
        window: Some(32_768),
        knobs: [].into(),
        cpus: None,
        floor: true,
        ..Plan::default()
    }
}

fn run(name: &str) -> Run {
    let pairs = |all: &[(&str, &str)]| all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Run {
        schema: SCHEMA,
        name: name.to_owned(),
        created: "2026-03-04T05:06:07+01:00".to_owned(),
        seed: 7,
        complete: true,
        host: Host {
            name: "bench-1".to_owned(),
            cpu: "AMD EPYC 7B13".to_owned(),
            cores: 2,
            kernel: "6.1.0-31-amd64 x86_64".to_owned(),
            memory_bytes: 8_327_000_000,
            governor: None,
            clocksource: Some("tsc".to_owned()),
            virtualized: true,
            load: [0.12, 0.3, 0.25],
            cpu_quota: Some(1.5),
            smt: Some(false),
            numa_nodes: Some(1),
            hugepages: Some("madvise".to_owned()),
            timer_slack_ns: Some(50_000),
            network: pairs(&[("net.ipv4.tcp_wmem", "4096 16384 4194304")]),
            container: Some("docker".to_owned()),
            hypervisor: Some("kvm".to_owned()),
            ..Host::default()
        },
        versions: Versions {
            lab: "0.1.0".to_owned(),
            git: Some("56cbd8d".to_owned()),
            rustc: "1.95.0".to_owned(),
            profile: "release, opt-level 3".to_owned(),
            brokers: pairs(&[("redis", "7.0.15"), ("rabbitmq", "3.10.8")]),
            settings: [("redis".to_owned(), pairs(&[("appendonly", "no"), ("save", "")]))].into(),
            crates: pairs(&[("redis", "1.8.0"), ("lapin", "4.12.3"), ("zeromq", "0.7.0")]),
        },
        noise: Noise {
            oversleep_p50_ns: 58_000,
            oversleep_p99_ns: 142_000,
            oversleep_max_ns: 1_900_000,
            steal: 0.004,
            foreign_cpu: 0.021,
        },
        plan: plan(),
        cells: Vec::new(),
        capacities: Vec::new(),
        sweeps: Vec::new(),
        skipped: vec![Skipped {
            lab: "pubsub-nats".to_owned(),
            reason: "nats-server is not installed; `lab doctor --install` gets it".to_owned(),
        }],
        widening: None,
    }
}

fn cell(lab: &str, guarantee: &str, overload: &str, load: Load) -> Cell {
    let mut parts = lab.splitn(3, '-').map(str::to_owned);
    let (pattern, transport) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let stem = if load.kind == LoadKind::Max { "max" } else { "1000" };
    Cell {
        id: format!("{lab}.64B.1x1.{stem}"),
        lab: lab.to_owned(),
        broker: ["redis", "rabbitmq"].contains(&transport.as_str()).then(|| transport.clone()),
        source: format!("labs/src/{pattern}/{transport}.rs"),
        pattern,
        transport,
        variant: parts.next(),
        guarantee: guarantee.to_owned(),
        guarantee_note: None,
        overload: overload.to_owned(),
        size: 64,
        senders: 1,
        receivers: 1,
        load,
        knobs: [("batch".to_owned(), 256)].into(),
        set: [].into(),
        part_of: None,
        trials: Vec::new(),
        summary: None,
        floor: None,
    }
}

/// Adds a good trial; times are in ns.
fn add(cell: &mut Cell, raws: &mut Vec<Raw>, throughput: f64, times: &[u64], cost: &[(&str, f64)]) {
    let mut histogram = stats::new_histogram();
    for time in times {
        histogram.saturating_record(*time);
    }
    let index = cell.trials.len();
    let total = (throughput * 3.0) as u64;
    let series = times.chunks(100).map(|chunk| Interval {
        received: chunk.len() as u64,
        max_ns: chunk.iter().copied().max().unwrap_or_default(),
        sum_ns: chunk.iter().sum(),
        offered: 0,
    });
    cell.trials.push(Trial {
        paused: None,
        index,
        position: index * 2,
        seed: 7 + index as u64,
        seconds: 3.0,
        failed: None,
        throughput_per_s: throughput,
        counts: Counts { sent: total, received: total, ..Counts::default() },
        response_ns: stats::percentiles(&histogram),
        cost: cost
            .iter()
            .map(|(role, ns)| {
                let cost = Cost {
                    cpu_ns_per_msg: *ns,
                    switches_per_msg: Some(0.01),
                    rss_bytes: 12_000_000,
                    writes_per_msg: Some(0.004),
                    bytes_per_msg: Some(68.0),
                    allocations_per_msg: (*role != "broker").then_some(1.5),
                };
                ((*role).to_owned(), cost)
            })
            .collect(),
        ..Trial::default()
    });
    raws.push(Raw {
        response: stats::encode(&histogram).expect("it packs"),
        interval_ns: 100_000_000,
        measure_from_ns: 1_000_000_000,
        series: series.collect(),
        ..Raw::default()
    });
}

fn fail(cell: &mut Cell, raws: &mut Vec<Raw>, reason: &str) {
    add(cell, raws, 0.0, &[], &[]);
    let trial = cell.trials.last_mut().expect("one was added");
    trial.failed = Some(reason.to_owned());
}

fn finish(bundle: &Bundle, run: &mut Run, mut cell: Cell, raws: &[Raw]) {
    cell.summary = stats::summarize(&cell, raws, run.seed).expect("intact");
    for (trial, raw) in cell.trials.iter().zip(raws).filter(|(trial, _)| trial.failed.is_none()) {
        bundle.save_raw(&cell.id, trial.index, raw).expect("it writes");
    }
    run.cells.push(cell);
}

/// Two patterns, three guarantees, a failed trial, a lab that failed
/// altogether, a skipped one, flags, and withheld percentiles.
pub(super) fn small(dir: &Path, change: impl Fn(&mut Run)) {
    let bundle = Bundle::create(dir).expect("a new folder");
    let mut run = run("small");
    let labs: [(&str, &str, &str, f64, u64); 5] = [
        ("oneway-tcp", "at-most-once", "waits", 9_100_000.0, 400),
        ("oneway-redis", "at-most-once", "disconnects", 440_000.0, 2_000),
        ("oneway-rabbitmq", "at-least-once", "stores", 43_000.0, 400),
        ("queue-rabbitmq", "durable", "stores", 21_000.0, 20),
        ("queue-redis", "at-least-once", "stores", 0.0, 0),
    ];
    for (lab, guarantee, overload, speed, samples) in labs {
        for load in [max(), rate()] {
            let (mut cell, mut raws) = (cell(lab, guarantee, overload, load.clone()), Vec::new());
            let times: Vec<u64> = (1..=samples).map(|n| n * 100).collect();
            for index in 0..3 {
                let throughput =
                    if load.kind == LoadKind::Max { speed * (1.0 + f64::from(index) / 100.0) } else { 1e3 };
                if speed == 0.0 || (lab == "oneway-redis" && index == 1) {
                    fail(&mut cell, &mut raws, "the broker did not come up in 10 s | see its log");
                } else {
                    add(&mut cell, &mut raws, throughput, &times, &[("sender", 90.0), ("receiver", 60.0)]);
                }
            }
            if lab == "oneway-tcp" {
                cell.trials[2].flags = vec![Flag::Unsteady, Flag::NoisyMachine];
                cell.trials[2].counts.lost = 1;
                cell.trials[2].counts.received = 999;
                cell.trials[1].counts.received = 0;
                cell.trials[0].counts.received = 0;
            }
            if lab == "oneway-rabbitmq" {
                cell.guarantee_note = Some("the broker at --url does not keep its queues".to_owned());
            }
            finish(&bundle, &mut run, cell, &raws);
        }
    }
    change(&mut run);
    bundle.save(&run).expect("it writes");
}

/// A lab without its pattern, what it guarantees, and its messages a second.
type LabAt<'a> = (&'a str, &'a str, f64);

/// Twenty-four labs with plausible speeds and tails.
pub(super) fn full(dir: &Path) {
    let bundle = Bundle::create(dir).expect("a new folder");
    let mut rng = SmallRng::seed_from_u64(3);
    let mut run = run("all-transports");
    let (most, least, durable) = ("at-most-once", "at-least-once", "durable");
    let groups: [(&str, &[LabAt<'_>]); 5] = [
        (
            "oneway",
            &[
                ("inproc", most, 9.4e6),
                ("tcp", most, 9.1e6),
                ("zeromq", most, 1.25e6),
                ("redis", most, 4.4e5),
                ("rabbitmq", least, 4.1e4),
            ],
        ),
        (
            "reqrep",
            &[
                ("inproc", most, 6.1e5),
                ("tcp", most, 3.2e5),
                ("zeromq", most, 2.6e4),
                ("zeromq-dealer", most, 2.1e5),
                ("redis", most, 5.8e4),
                ("rabbitmq", least, 1.9e4),
            ],
        ),
        (
            "pubsub",
            &[
                ("inproc", most, 5.2e6),
                ("tcp", most, 4.4e6),
                ("zeromq", most, 9.6e5),
                ("redis", most, 3.9e5),
                ("rabbitmq", least, 4.0e4),
            ],
        ),
        (
            "pipeline",
            &[
                ("inproc", most, 3.3e6),
                ("tcp", most, 2.9e6),
                ("zeromq", most, 7.7e5),
                ("redis", least, 6.1e4),
                ("rabbitmq", least, 1.7e4),
            ],
        ),
        ("queue", &[("redis", least, 8.1e4), ("redis-stream", durable, 4.6e4), ("rabbitmq", durable, 2.2e4)]),
    ];
    for (pattern, labs) in groups {
        for (name, guarantee, speed) in labs {
            let overload = if name.starts_with("r") { "stores" } else { "waits" };
            for load in [max(), rate()] {
                let lab = format!("{pattern}-{name}");
                let (mut cell, mut raws) = (cell(&lab, guarantee, overload, load.clone()), Vec::new());
                let base = 12_000.0 + 6e9 / speed;
                for index in 0..3 + usize::from(*name == "tcp") * 2 {
                    let times = if load.kind == LoadKind::Max { Vec::new() } else { times(&mut rng, base) };
                    let noisy = 1.0 + (rng.random::<f64>() - 0.5) * 0.12;
                    let throughput = if load.kind == LoadKind::Max { speed * noisy } else { 1_000.0 };
                    let cpu = 1e9 / speed * noisy;
                    let (a, b) = match pattern {
                        "reqrep" => ("requester", "responder"),
                        "pubsub" => ("publisher", "subscriber"),
                        "pipeline" => ("ventilator", "sink"),
                        "queue" => ("producer", "consumer"),
                        _ => ("sender", "receiver"),
                    };
                    let mut costs = vec![(a, cpu * 0.6), (b, cpu * 0.4)];
                    if pattern == "pipeline" {
                        costs.push(("worker", cpu * 0.5));
                    }
                    if name.starts_with('r') {
                        costs.push(("broker", cpu * 0.9));
                    }
                    if name == &"rabbitmq" && index == 1 && pattern == "pipeline" {
                        fail(&mut cell, &mut raws, "the worker did not leave within 5 s after `stop`");
                    } else {
                        add(&mut cell, &mut raws, throughput, &times, &costs);
                        if pattern == "pipeline" && load.kind == LoadKind::Rate {
                            pass_on(&mut cell, &mut raws, &times);
                        }
                    }
                }
                if pattern == "pubsub" && name == &"zeromq" && load.kind == LoadKind::Max {
                    cell.trials[0].counts.lost = 41_230;
                    cell.trials[0].flags = vec![Flag::Unsteady];
                }
                if name == &"inproc" && load.kind == LoadKind::Rate {
                    cell.trials[1].flags = vec![Flag::GeneratorLimited];
                }
                if pattern == "queue" && name == &"redis" {
                    cell.trials[2].counts.duplicated = 12;
                    cell.trials[2].counts.reordered = 1_203;
                }
                finish(&bundle, &mut run, cell, &raws);
            }
        }
    }
    bundle.save(&run).expect("it writes");
}

/// Gives the last trial hops and two workers.
fn pass_on(cell: &mut Cell, raws: &mut [Raw], times: &[u64]) {
    let part = |parts: u64| {
        let mut histogram = stats::new_histogram();
        times.iter().for_each(|time| histogram.saturating_record(time * parts / 10));
        stats::encode(&histogram).expect("it packs")
    };
    let hops = Hops { task_queued: part(4), worked: part(2), result_queued: part(4), collected: part(1) };
    raws.last_mut().expect("one was added").hops = Some(hops);
    cell.trials.last_mut().expect("one was added").shares = vec![1_400, 1_600];
}

/// Three seconds at 1,000/s, around `base` ns, with a tail and now and then a hiccup.
fn times(rng: &mut SmallRng, base: f64) -> Vec<u64> {
    (0..3_000)
        .map(|n| {
            let warm = if n < 300 { 1.8 } else { 1.0 };
            let tail = -(1.0 - rng.random::<f64>()).ln();
            let hiccup = if rng.random::<f64>() < 0.002 { 40.0 * rng.random::<f64>() } else { 0.0 };
            (base * warm * (0.7 + 0.4 * tail + hiccup)) as u64
        })
        .collect()
}
