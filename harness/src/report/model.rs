//! The data of a report: the run's cases in the order in which they are shown, and the
//! recordings of the trials at a rate.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;

use super::figures::{Figures, times};
use crate::results::{Arrivals, BenchmarkCase, Drain, LoadKind, Raw, ResultSet, Run};
use crate::stats;

/// What a transport speaks, as people look for it; a transport that is not known here by its name.
pub(super) fn protocol_of(transport: &str) -> &str {
    match transport {
        "inproc" => "tokio channels in one process",
        "tcp" => "plain TCP",
        "unix" => "Unix sockets",
        "http" => "HTTP/1.1",
        "websocket" => "WebSocket",
        "zeromq" => "ZMTP",
        "redis" | "redis-stream" => "RESP",
        "rabbitmq" => "AMQP 0-9-1",
        "nats" | "jetstream" => "NATS",
        "mqtt" => "MQTT 5",
        "stomp" => "STOMP 1.2",
        other => other,
    }
}

/// The same of a lab: MQTT has a quality of service, which follows from what the lab promises.
pub(super) fn protocol(cell: &BenchmarkCase) -> String {
    let protocol = protocol_of(&cell.transport);
    match (cell.transport.as_str(), cell.variant.as_deref(), cell.guarantee.as_str()) {
        ("mqtt", Some("qos2"), _) => format!("{protocol} at QoS 2"),
        ("mqtt", _, "at-most-once") => format!("{protocol} at QoS 0"),
        ("mqtt", ..) => format!("{protocol} at QoS 1"),
        _ => protocol.to_owned(),
    }
}

/// A run with the recordings that the plots need.
pub(super) struct ReportData<'a> {
    pub(super) run: &'a Run,
    recordings: BTreeMap<&'a str, Recording>,
}

/// The recordings of the good trials of a case.
pub(super) struct Recording {
    /// Response times of all good trials, ns.
    pub(super) response: Histogram<u64>,
    /// The good trials' own recordings, for their interval series.
    pub(super) trials: Vec<Raw>,
}

impl<'a> ReportData<'a> {
    /// Reads the recordings of all good trials at a rate; those of other
    /// trials hold nothing that is drawn.
    pub(super) fn read(result_set: &ResultSet, run: &'a Run) -> Result<Self> {
        let mut recordings = BTreeMap::new();
        for cell in run.cells.iter().filter(|cell| cell.load.kind == LoadKind::Rate && cell.is_answer()) {
            let mut recording = Recording { response: stats::new_histogram(), trials: Vec::new() };
            for trial in cell.trials.iter().filter(|trial| trial.failed.is_none()) {
                let raw = result_set.raw(&cell.id, trial.index).and_then(|raw| {
                    recording.response.add(stats::decode(&raw.response)?)?;
                    Ok(raw)
                });
                recording.trials.push(raw.with_context(|| {
                    format!(
                        "the recording raw/{}.{}.json of {} is missing or damaged, and the plots need it; \
                         copy it back from the original result set, or measure again with `{}`",
                        cell.id,
                        trial.index,
                        result_set.dir().display(),
                        crate::hint::command(&[
                            "bench",
                            "--resume",
                            "--out",
                            &result_set.dir().display().to_string()
                        ])
                    )
                })?);
            }
            recordings.insert(cell.id.as_str(), recording);
        }
        Ok(Self { run, recordings })
    }

    /// The figures of all cases, to be compared.
    pub(super) fn figures(&self) -> Result<Figures> {
        Figures::of(self.run, self.run.seed, |cell, seed| match self.recording(cell) {
            Some(recording) => times(cell, &recording.trials, seed),
            // Baselines are not recorded here, and compared with nothing else.
            None => Ok([None, None]),
        })
    }

    /// The recording of a case at a rate.
    pub(super) fn recording(&self, cell: &BenchmarkCase) -> Option<&Recording> {
        self.recordings.get(cell.id.as_str())
    }
}

/// The cases of one pattern that are comparable in one plot: same size, same shape, same load.
pub(super) struct Comparison<'a> {
    pub(super) pattern: &'a str,
    pub(super) cells: Vec<&'a BenchmarkCase>,
    /// The run, for the baselines of the cases.
    pub(super) run: &'a Run,
}

impl<'a> Comparison<'a> {
    fn first(&self) -> &'a BenchmarkCase {
        self.cells[0]
    }

    pub(super) fn kind(&self) -> LoadKind {
        self.first().load.kind
    }

    pub(super) fn is_max(&self) -> bool {
        self.kind() == LoadKind::Max
    }

    /// How messages were spaced, where they were not evenly.
    pub(super) fn is_uneven(&self) -> bool {
        self.first().load.arrivals.is_some_and(|arrivals| arrivals != Arrivals::Constant)
    }

    /// `64 B, 1 → 1`: message size, senders and receivers, and knobs that are axes.
    pub(super) fn setting(&self) -> String {
        setting(self.first())
    }

    /// `maximum load`, or `1 000/s`.
    pub(super) fn load_text(&self) -> String {
        if self.is_max() { "maximum load".to_owned() } else { super::number::load(&self.first().load) }
    }

    /// A stem for file names.
    pub(super) fn stem(&self) -> String {
        let cell = self.first();
        let text = format!(
            "{}.{}B.{}x{}{}.{}",
            self.pattern,
            cell.size,
            cell.senders,
            cell.receivers,
            cell.set.iter().map(|(name, value)| format!(".{name}-{value}")).collect::<String>(),
            cell.load.label()
        );
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
        text.trim_end_matches("/s").replace("/s", "").chars().map(plain).collect()
    }

    /// The cases by guarantee, weakest first: different guarantees are never ranked together.
    pub(super) fn by_guarantee(&self) -> Vec<(&'a str, Vec<&'a BenchmarkCase>)> {
        let mut groups: BTreeMap<(usize, &str), Vec<&BenchmarkCase>> = BTreeMap::new();
        for cell in &self.cells {
            groups.entry(guarantee_order(&cell.guarantee)).or_default().push(cell);
        }
        groups.into_iter().map(|((_, name), cells)| (name, cells)).collect()
    }
}

/// All comparisons of a run, in the order of patterns, sizes, shapes and loads.
pub(super) fn comparisons(run: &Run) -> Vec<Comparison<'_>> {
    let mut comparisons: Vec<Comparison<'_>> = Vec::new();
    for cell in run.cells.iter().filter(|cell| cell.is_answer()) {
        let same = |other: &BenchmarkCase| {
            (&other.pattern, other.size, other.senders, other.receivers, &other.set, &other.load)
                == (&cell.pattern, cell.size, cell.senders, cell.receivers, &cell.set, &cell.load)
        };
        match comparisons.iter_mut().find(|comparison| same(comparison.first())) {
            Some(comparison) => comparison.cells.push(cell),
            None => comparisons.push(Comparison { pattern: &cell.pattern, cells: vec![cell], run }),
        }
    }
    for comparison in &mut comparisons {
        // Fastest first, cases without a result last. They are grouped later.
        comparison.cells.sort_by(|a, b| throughput(b).total_cmp(&throughput(a)));
    }
    comparisons.sort_by(|a, b| {
        let key = |comparison: &Comparison<'_>| {
            let cell = comparison.first();
            (cell.size, cell.senders, cell.receivers, cell.set.clone(), !comparison.is_max())
        };
        let rate = |comparison: &Comparison<'_>| comparison.first().load.rate.unwrap_or(0.0);
        (pattern_order(a.pattern).cmp(&pattern_order(b.pattern)))
            .then_with(|| key(a).cmp(&key(b)))
            .then_with(|| rate(a).total_cmp(&rate(b)))
    });
    comparisons
}

fn throughput(cell: &BenchmarkCase) -> f64 {
    cell.summary.as_ref().map_or(-1.0, |summary| summary.throughput_per_s.median)
}

/// `64 B, 1 → 1`, and knobs that are axes: `, batch = 16`.
pub(crate) fn setting(cell: &BenchmarkCase) -> String {
    let set = cell.set.iter().map(|(name, value)| format!(", {name} = {value}"));
    let shape = format!("{}, {} → {}", super::number::bytes(cell.size), cell.senders, cell.receivers);
    shape + &set.collect::<String>()
}

/// How the backlog of a case was filled and drained: medians over the good trials.
pub(super) struct Backlog {
    /// Messages.
    pub(super) messages: f64,
    /// Seconds until all were confirmed.
    pub(super) fill_s: f64,
    /// Seconds from the consumers' start until the last was received.
    pub(super) drain_s: f64,
}

impl Backlog {
    /// Messages a second; 0 where the time is not known.
    pub(super) fn fill_per_s(&self) -> f64 {
        if self.fill_s > 0.0 { self.messages / self.fill_s } else { 0.0 }
    }
}

/// `None` for cases of other loads, and if no trial was good.
pub(super) fn backlog(cell: &BenchmarkCase) -> Option<Backlog> {
    let good = || cell.trials.iter().filter(|trial| trial.failed.is_none()).filter_map(|trial| trial.drain);
    let median = |figure: fn(Drain) -> f64| stats::median(&good().map(figure).collect::<Vec<_>>());
    Some(Backlog {
        messages: median(|drain| drain.messages as f64)?,
        fill_s: median(|drain| drain.fill_s)?,
        drain_s: median(|drain| drain.drain_s)?,
    })
}

/// The lab's name without its pattern, which the reader sees already.
pub(super) fn short_name(cell: &BenchmarkCase) -> &str {
    cell.lab.strip_prefix(&cell.pattern).and_then(|rest| rest.strip_prefix('-')).unwrap_or(&cell.lab)
}

const PATTERNS: [(&str, &str); 6] = [
    ("oneway", "One-way"),
    ("reqrep", "Request/reply"),
    ("pubsub", "Publish/subscribe"),
    ("pipeline", "Pipeline"),
    ("queue", "Queue"),
    ("durable", "Durable subscriber"),
];

pub(crate) fn pattern_order(name: &str) -> (usize, &str) {
    (PATTERNS.iter().position(|(known, _)| *known == name).unwrap_or(PATTERNS.len()), name)
}

/// A pattern's name for people.
pub(crate) fn pattern_title(name: &str) -> &str {
    PATTERNS.iter().find(|(known, _)| *known == name).map_or(name, |(_, title)| title)
}

pub(super) fn guarantee_order(name: &str) -> (usize, &str) {
    let order = ["at-most-once", "at-least-once", "durable"];
    (order.iter().position(|known| *known == name).unwrap_or(order.len()), name)
}
