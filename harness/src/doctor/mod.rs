//! `lab doctor`: which programs are installed, which are missing, how noisy this machine
//! is ([`score`]), which programs cause the noise ([`neighbours`]) and what would help
//! ([`advice`]).

mod advice;
mod neighbours;
mod score;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use labs::catalog;
use labs::lab::Broker;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::broker::{self, Choices, Missing, Needs, Options, Server, Source, embedded};
use crate::command::live_terminal;
use crate::hint;
use crate::measure::{host, noise};
use crate::process::guard;
use crate::results::{Host, Noise, Versions};
use advice::{Advice, Facts, advice, size};
use neighbours::{Neighbour, OtherProcesses};
use score::{Score, score};

/// How long noise is measured.
const LISTEN: Duration = Duration::from_secs(2);

/// Everything `lab doctor --json` prints.
#[derive(Debug, Serialize)]
struct Findings {
    host: Host,
    versions: Versions,
    noise: Noise,
    noise_score: Score,
    neighbours: Vec<Neighbour>,
    shm_free_bytes: Option<u64>,
    open_files: Option<u64>,
    brokers: Vec<Found>,
    advice: Vec<Advice>,
}

/// One broker, here or not.
#[derive(Debug, Serialize)]
struct Found {
    broker: &'static str,
    /// `program`, `wheel`, `embedded`, `url` or null.
    source: Option<&'static str>,
    place: Option<String>,
    version: Option<String>,
    /// The problem, and the command that fixes it.
    problem: Option<String>,
    remedy: Option<String>,
    /// Labs that cannot run over it, by the reason.
    left_out: BTreeMap<String, Vec<String>>,
}

/// The options of `lab doctor`.
#[derive(Debug)]
pub struct DoctorOptions {
    /// The brokers to look at.
    pub brokers: Vec<Broker>,
    /// Whether missing brokers are installed first.
    pub install: bool,
    /// Whether wheels are preferred to packages.
    pub wheels: bool,
    /// One JSON object instead of text.
    pub json: bool,
}

/// Examines the machine and prints the findings. `choices` are the user's own brokers, or
/// where private ones should come from. Exit code 1 when a broker is missing or does not answer.
pub async fn doctor(options: &DoctorOptions, choices: &Choices) -> Result<ExitCode> {
    if options.install {
        let missing: Vec<Missing> =
            options.brokers.iter().filter_map(|&broker| broker::find(broker, choices).err()).collect();
        if missing.is_empty() {
            errln!("Every broker is installed; there is nothing to do.");
        }
        broker::install(&missing, options.wheels)?;
    }
    let (noise, neighbours) = listen().await;
    let mut brokers = Vec::new();
    for &broker in &options.brokers {
        brokers.push(look(broker, choices).await);
    }
    let machine = host::host();
    let seen = brokers.iter().filter_map(|found| Some((found.broker.to_owned(), found.version.clone()?)));
    let versions = host::versions(seen.collect());
    let shm_free_bytes = rustix::fs::statvfs("/dev/shm").ok().map(|shm| shm.f_bavail * shm.f_frsize);
    let open_files = getrlimit(Resource::Nofile).current;
    let without = |found: &Found| found.broker == Broker::Mqtt.as_str() && found.source.is_none();
    let advice = advice(&Facts {
        host: &machine,
        noise: &noise,
        neighbours: &neighbours,
        profile: &versions.profile,
        shm_free_bytes,
        open_files,
        without_mqtt: brokers.iter().any(without),
    });
    let findings = Findings {
        noise_score: score(&noise),
        host: machine,
        versions,
        noise,
        neighbours,
        shm_free_bytes,
        open_files,
        brokers,
        advice,
    };
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&findings).context("cannot write JSON")?)?;
    } else {
        write!(out, "{}", text(&findings))?;
    }
    let good = findings.brokers.iter().all(|found| found.problem.is_none());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look(broker: Broker, choices: &Choices) -> Found {
    let mut found = Found {
        broker: broker.as_str(),
        source: None,
        place: None,
        version: None,
        problem: None,
        remedy: None,
        left_out: BTreeMap::new(),
    };
    let source = match broker::find(broker, choices) {
        Ok(source) => source,
        Err(Missing { reason, remedy, .. }) => {
            (found.problem, found.remedy) = (Some(reason), Some(remedy));
            return found;
        }
    };
    found.source = Some(source.as_str());
    let version = match &source {
        Source::Url(address) => {
            found.place = Some(address.to_string());
            let dir = guard::session_dir();
            let options = Options { durable: false, dir: &dir, settings: &[] };
            Server::start(broker, &source, &options).await.map(|server| {
                found.left_out = left_out(&source, &server);
                server.version().to_owned()
            })
        }
        Source::Program(program) | Source::Wheel(program) => {
            found.place = Some(program.display().to_string());
            broker::version_of(broker, program)
        }
        Source::Embedded => {
            found.place = Some("inside this program; stores nothing on disk".to_owned());
            Ok(embedded::VERSION.to_owned())
        }
    };
    match version {
        Ok(version) => found.version = Some(version),
        Err(error) => {
            found.problem = Some(format!("{error:#}"));
            found.remedy = Some(match source {
                Source::Url(_) => format!("leave out --url {broker}=… for a private one"),
                Source::Wheel(_) => hint::command(&["doctor", "--install", "--wheels", broker.as_str()]),
                Source::Program(_) | Source::Embedded => hint::command(&["doctor", "--install"]),
            });
        }
    }
    found
}

/// The labs that cannot run over the user's own broker, by the reason.
fn left_out(source: &Source, server: &Server) -> BTreeMap<String, Vec<String>> {
    let mut left_out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let broker = server.broker();
    for lab in catalog::entries().into_iter().filter(|lab| lab.broker == Some(broker)) {
        let plugin = source.why_not(broker, lab.guarantee, lab.transport);
        let why = plugin.or_else(|| server.why_not(Needs::of(lab.broker_since, lab.broker_features)));
        if let Some(why) = why {
            left_out.entry(why).or_default().push(lab.name);
        }
    }
    left_out
}

async fn listen() -> (Noise, Vec<Neighbour>) {
    let bar = if live_terminal() {
        indicatif::ProgressBar::new_spinner()
            .with_message(format!("measuring noise for {} s …", LISTEN.as_secs()))
    } else {
        indicatif::ProgressBar::hidden()
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    let (others, meter) = (OtherProcesses::watch(), noise::Meter::start());
    tokio::time::sleep(LISTEN).await;
    let heard = (meter.stop(), others.busiest());
    bar.finish_and_clear();
    heard
}

fn text(findings: &Findings) -> String {
    let Findings { host, versions, noise, .. } = findings;
    let mut lines = vec!["Brokers".to_owned()];
    for Found { broker, source, version, place, problem, remedy, left_out } in &findings.brokers {
        let here = match (version, source, place) {
            (Some(version), Some(source), Some(place)) => format!("{version:<12} {source:<8} {place}"),
            _ => {
                let (problem, remedy) = (problem.as_deref().unwrap_or(""), remedy.as_deref().unwrap_or(""));
                // One that is there and does not work is not missing.
                let state = if place.is_some() { "does not work" } else { "missing" };
                format!("{state}: {problem}\n  {:<12} to fix it: {remedy}", "")
            }
        };
        lines.push(format!("  {broker:<12} {here}"));
        let left_out =
            left_out.iter().map(|(why, labs)| format!("  {:<12} cannot run {}: {why}", "", labs.join(", ")));
        lines.extend(left_out);
    }
    let micros = |ns: u64| format!("{:.0} µs", ns as f64 / 1000.0);
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "not shown".to_owned());
    let mut section = |title: &str, rows: Vec<(&str, String)>| {
        lines.push(format!("\n{title}"));
        lines.extend(rows.into_iter().map(|(name, value)| format!("  {name:<12} {value}")));
    };
    section(
        "Machine",
        vec![
            (
                "CPU",
                format!(
                    "{}, {} usable{}{}",
                    host.cpu,
                    host.cores,
                    host.cpu_quota
                        .map_or_else(String::new, |cpus| format!(" ({cpus} of {} CPUs allowed)", host.cores)),
                    if host.virtualized { ", virtual" } else { "" }
                ),
            ),
            ("memory", size(host.memory_bytes)),
            ("kernel", host.kernel.clone()),
            ("governor", known(&host.governor)),
            ("turbo, SMT", format!("{}, {}", on(host.turbo), on(host.smt))),
            ("huge pages", known(&host.hugepages)),
            ("kind", kind(host)),
            ("clock", known(&host.clocksource)),
            (
                "/dev/shm",
                findings.shm_free_bytes.map_or("not there".to_owned(), |free| format!("{} free", size(free))),
            ),
            ("open files", findings.open_files.map_or("unlimited".to_owned(), |limit| limit.to_string())),
            ("load", host.load.map(|load| format!("{load:.2}")).join(" ")),
        ],
    );
    section(
        "Noise",
        vec![
            (
                "oversleep",
                format!(
                    "median {}, 99th percentile {}, longest {}",
                    micros(noise.oversleep_p50_ns),
                    micros(noise.oversleep_p99_ns),
                    micros(noise.oversleep_max_ns)
                ),
            ),
            ("stolen CPU", format!("{:.1} %", noise.steal * 100.0)),
            ("others' CPU", format!("{:.1} %", noise.foreign_cpu * 100.0)),
            ("score", {
                let Score { score, worst, parts, .. } = &findings.noise_score;
                let parts: Vec<String> =
                    parts.iter().map(|(name, score)| format!("{name} {score}")).collect();
                format!("{score}/100 because of {worst} (0 = quiet; {})", parts.join(", "))
            }),
            (
                "verdict",
                match findings.noise_score.verdict {
                    "quiet" => "quiet: small differences can be seen",
                    "usable" => {
                        "usable: trust medians over several trials; be careful with the 99th percentile"
                    }
                    _ => "noisy: compare only interleaved runs, and repeat them",
                }
                .to_owned(),
            ),
        ],
    );
    section(
        "Program",
        vec![
            ("lab", format!("{} ({})", versions.lab, versions.git.as_deref().unwrap_or("unknown revision"))),
            ("compiler", versions.rustc.clone()),
            ("built as", versions.profile.clone()),
            (
                "clients",
                versions
                    .crates
                    .iter()
                    .map(|(name, version)| format!("{name} {version}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
        ],
    );
    if !findings.advice.is_empty() {
        lines.push("\nWhat would help".to_owned());
        for Advice { fact, advice, command } in &findings.advice {
            lines.push(format!("  - {fact}: {advice}"));
            lines.extend(command.iter().map(|command| format!("      {command}")));
        }
    }
    lines.join("\n") + "\n"
}

fn on(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "on",
        Some(false) => "off",
        None => "not shown",
    }
}

/// The kind of machine: hardware, virtual machine or container.
fn kind(host: &Host) -> String {
    let machine = match &host.hypervisor {
        Some(kind) => format!("virtual, {kind}"),
        None if host.virtualized => "virtual".to_owned(),
        None => "hardware".to_owned(),
    };
    host.container.as_ref().map_or(machine.clone(), |kind| format!("{kind} container on {machine}"))
}
