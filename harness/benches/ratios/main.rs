//! How fast the labs are, held against the least that does the same job: a bare
//! loop with no stamp, no account and no record, or another lab.
//!
//! Rates on a shared machine change from minute to minute; a ratio of two that
//! were measured in turn, round by round, in one run changes much less. So the
//! targets are ratios, judged by the median of the rounds' own ratios. A ratio
//! that falls short is reported, never an error.
//!
//! With `--own`, every lab is held against its own loops, uninstrumented: the same roles over
//! the same lab, that neither stamp nor account nor record. What is missing to 1
//! is what the harness holds back.
//!
//! Run it with `cargo bench -p harness --bench ratios [-- NAME… --own --quick --json]`.

mod bare;
mod brokers;
mod measure;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use comfy_table::{Table, TableStyle};
use harness::process::guard;
use harness::roles::Handle;
use harness::{roles, stats};
use labs::lab::{Broker, Guarantee};
use serde_json::json;

use measure::{Side, Stand};

/// Rounds of each comparison; `--quick` makes fewer.
const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 2;

/// What is held against what.
struct Comparison {
    /// The lab.
    lab: String,
    /// What the floor does.
    floor: &'static str,
    bare: Option<Side>,
    ours: Side,
    target: Target,
    /// Which one, and whether it has to keep things on disk.
    broker: Option<(Broker, bool)>,
}

#[derive(Clone, Copy)]
enum Target {
    /// Messages a second: the lab's are at least this share of the floor's.
    AtLeast(f64),
    /// Nanoseconds a round trip: the lab's are at most this multiple.
    AtMost(f64),
    /// Reported beside the others.
    None,
}

impl Target {
    fn reached(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtLeast(share) => Some(ratio >= share),
            Self::AtMost(multiple) => Some(ratio <= multiple),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(share) => format!(">= {share}"),
            Self::AtMost(multiple) => format!("<= {multiple}"),
            Self::None => "-".to_owned(),
        }
    }

    /// A rate, or a time.
    fn unit(self) -> &'static str {
        if matches!(self, Self::AtMost(_)) { "ns" } else { "msg/s" }
    }
}

fn comparisons() -> Vec<Comparison> {
    let lab = |lab: &str, floor, bare, target, broker| {
        let lab = lab.to_owned();
        let ours = match target {
            Target::AtMost(_) => Side::RoundTrip(lab.clone()),
            _ => Side::Lab(lab.clone()),
        };
        Comparison { lab, floor, bare, ours, target, broker }
    };
    let (redis, rabbitmq) = (Some((Broker::Redis, false)), Some((Broker::RabbitMq, false)));
    let rate = |bare: fn(&Stand) -> Result<f64>| Some(Side::Bare(bare));
    use Target::{AtLeast, AtMost};
    vec![
        lab("oneway-inproc", "a tokio channel between two threads", rate(bare::channel), AtLeast(0.5), None),
        lab("oneway-tcp", "encoded bytes through a plain socket", rate(bare::blast), AtLeast(0.3), None),
        lab("reqrep-tcp", "ping-pong through a plain socket", rate(bare::ping_pong), AtMost(1.5), None),
        lab("oneway-zeromq", "PUSH to PULL, the same crate", rate(bare::zeromq), AtLeast(0.8), None),
        lab(
            "pipeline-zeromq",
            "oneway-zeromq",
            Some(Side::Lab("oneway-zeromq".to_owned())),
            AtLeast(0.4),
            None,
        ),
        lab("pubsub-redis", "encoded PUBLISH, plain sockets", rate(brokers::redis), AtLeast(0.6), redis),
        lab("oneway-rabbitmq", "a C client, direct", rate(brokers::amqp_direct), AtLeast(0.6), rabbitmq),
        lab("pubsub-rabbitmq", "a C client, by topic", rate(brokers::amqp_topic), AtLeast(0.6), rabbitmq),
        lab("queue-rabbitmq", "none: confirms and acks", None, Target::None, rabbitmq),
    ]
}

/// Every lab that can run here, beside its own bare loop. Over TCP and in one
/// process a message costs so little that the harness's share shows; everywhere
/// else it must not.
fn own() -> Vec<Comparison> {
    let here = |lab: &Handle| {
        lab.entry.broker.is_none_or(|broker| harness::broker::find(broker, &BTreeMap::new()).is_ok())
    };
    let compared = |lab: Handle| {
        let entry = lab.entry;
        let share = matches!(entry.transport, "tcp" | "inproc");
        let durable = entry.guarantee == Guarantee::Durable && entry.broker == Some(Broker::Redis);
        Comparison {
            floor: "its own bare loop",
            bare: Some(Side::Uninstrumented(entry.name.clone())),
            ours: Side::Lab(entry.name.clone()),
            target: if share { Target::None } else { Target::AtLeast(0.9) },
            broker: entry.broker.map(|broker| (broker, durable)),
            lab: entry.name,
        }
    };
    let mut all: Vec<Comparison> = roles::handles().into_iter().filter(here).map(compared).collect();
    // One broker after the other, each started once.
    all.sort_by_key(|comparison| comparison.broker);
    all
}

struct Options {
    own: bool,
    rounds: usize,
    json: bool,
    names: Vec<String>,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options { own: false, rounds: ROUNDS, json: false, names: Vec::new() };
    for arg in args {
        match arg.as_str() {
            "--own" => options.own = true,
            "--quick" => options.rounds = QUICK_ROUNDS,
            "--json" => options.json = true,
            // What cargo says to every benchmark.
            "--bench" => {}
            name => {
                let known =
                    comparisons().iter().chain(&own()).any(|comparison| comparison.lab.contains(name));
                ensure!(
                    known,
                    "nothing here is called `{name}`; say --own, --quick, --json or a part of a lab's name"
                );
                options.names.push(name.to_owned());
            }
        }
    }
    Ok(options)
}

/// One end of a floor, as a process.
fn end(args: &[String]) -> Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["redis", "subscriber", address, dir] => brokers::subscribe(address, dir),
        ["redis", "publisher", address, dir] => brokers::publish(address, dir),
        _ => bare::main(&args),
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("role") => roles::main(&measure::handles()),
        Some("bare") => end(&args[1..]),
        _ => report(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ratios: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One comparison, measured.
struct Measured {
    comparison: Comparison,
    /// Floor (where there is one) and lab, round by round.
    rounds: Vec<(Option<f64>, f64)>,
    /// Why there are no more.
    failed: Option<String>,
}

impl Measured {
    fn ratios(&self) -> Vec<f64> {
        self.rounds.iter().filter_map(|(bare, ours)| Some(ours / (*bare)?)).collect()
    }

    fn bare(&self) -> Option<f64> {
        stats::median(&self.rounds.iter().filter_map(|round| round.0).collect::<Vec<_>>())
    }

    fn ours(&self) -> Option<f64> {
        stats::median(&self.rounds.iter().map(|round| round.1).collect::<Vec<_>>())
    }
}

fn report(args: &[String]) -> Result<()> {
    let options = options(args)?;
    guard::enter()?;
    let mut stand = Stand::new()?;
    let mut all = Vec::new();
    for comparison in if options.own { own() } else { comparisons() } {
        let wanted =
            options.names.is_empty() || options.names.iter().any(|name| comparison.lab.contains(name));
        if wanted {
            all.push(compare(&mut stand, comparison, options.rounds));
        }
    }
    stand.stop()?;
    if options.json { print_json(&all) } else { print_table(&all, options.rounds) }
}

/// Floor, lab, floor, lab …: both see the same machine.
fn compare(stand: &mut Stand, comparison: Comparison, rounds: usize) -> Measured {
    let mut measured = Measured { comparison, rounds: Vec::new(), failed: None };
    for round in 1..=rounds {
        eprintln!("{} {round}/{rounds}", measured.comparison.lab);
        match one_round(stand, &measured.comparison) {
            Ok(pair) => measured.rounds.push(pair),
            Err(error) => {
                measured.failed = Some(format!("{error:#}"));
                break;
            }
        }
    }
    measured
}

fn one_round(stand: &mut Stand, comparison: &Comparison) -> Result<(Option<f64>, f64)> {
    stand.host(comparison.broker)?;
    // A floor that cannot be measured here leaves the lab's own rate to be told.
    let bare = match comparison.bare.as_ref().map(|bare| stand.measure(bare)).transpose() {
        Err(error) if error.is::<brokers::NoCClient>() => {
            eprintln!("{error}");
            None
        }
        bare => bare.with_context(|| comparison.floor)?,
    };
    Ok((bare, stand.measure(&comparison.ours).with_context(|| comparison.lab.clone())?))
}

fn print_table(all: &[Measured], rounds: usize) -> Result<()> {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_header(["LAB", "FLOOR", "UNIT", "FLOOR'S", "LAB'S", "RATIO", "(MIN-MAX)", "TARGET", "REACHED"]);
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
    for measured in all {
        let Comparison { lab, floor, target, .. } = &measured.comparison;
        let ratios = measured.ratios();
        let (ratio, range) = match stats::median(&ratios) {
            None => ("-".to_owned(), "-".to_owned()),
            Some(median) => {
                let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
                let high = ratios.iter().copied().fold(0.0, f64::max);
                (format!("{median:.2}"), format!("{low:.2}-{high:.2}"))
            }
        };
        let reached = match stats::median(&ratios).and_then(|ratio| target.reached(ratio)) {
            None => "-",
            Some(true) => "yes",
            Some(false) => "no",
        };
        let (bare, ours) = (number(measured.bare()), number(measured.ours()));
        table.add_row([
            lab.as_str(),
            floor,
            target.unit(),
            &bare,
            &ours,
            &ratio,
            &range,
            &target.text(),
            reached,
        ]);
    }
    println!("{table}\n\n64-byte messages, medians of {rounds} rounds, floor and lab in turn.");
    for measured in all {
        if let Some(failed) = &measured.failed {
            println!("{}: {failed}", measured.comparison.lab);
        }
    }
    Ok(())
}

fn print_json(all: &[Measured]) -> Result<()> {
    let all: Vec<_> = all
        .iter()
        .map(|measured| {
            let Comparison { lab, floor, target, .. } = &measured.comparison;
            let ratio = stats::median(&measured.ratios());
            json!({
                "lab": lab, "floor": floor, "unit": target.unit(), "target": target.text(),
                "floor_median": measured.bare(), "lab_median": measured.ours(),
                "rounds": measured.rounds, "ratios": measured.ratios(), "ratio": ratio,
                "reached": ratio.and_then(|ratio| target.reached(ratio)), "failed": measured.failed,
            })
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}
