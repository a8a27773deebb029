//! Finds brokers on the machine, and says what is missing.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use labs::lab::Broker;

use super::choice::{Choice, Choices};
use super::embedded;
use super::source::Source;
use super::wheel::Wheel;
use crate::hint;

/// Looked into after PATH: a student's PATH often lacks the `sbin` ones.
const PROGRAMS: [&str; 6] =
    ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/opt/redis/bin", "/opt/valkey/bin"];
/// `*` stands for a version; the newest wins.
const LAUNCHERS: [&str; 7] = [
    "/usr/lib/rabbitmq/bin",
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/usr/lib64/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/usr/local/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/opt/rabbitmq/sbin",
    "/opt/rabbitmq_server-*/sbin",
    "/usr/share/rabbitmq/sbin",
];
const ERLANGS: [&str; 4] =
    ["/usr/lib/erlang/bin", "/usr/lib64/erlang/bin", "/usr/local/lib/erlang/bin", "/opt/erlang/bin"];

/// A broker that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which one.
    pub broker: Broker,
    /// The program or library that was not found.
    pub reason: String,
    /// The one command that would mend it.
    pub remedy: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is missing: {}; run `{}`", self.broker, self.reason, self.remedy)
    }
}

impl std::error::Error for Missing {}

/// The broker's source: what the user has chosen, else a
/// program on PATH or where packages put it, else the wheel's, else the one
/// inside this program.
pub fn find(broker: Broker, choices: &Choices) -> Result<Source, Missing> {
    find_on(broker, choices, &std::env::var_os("PATH").unwrap_or_default())
}

/// As [`find`], with another PATH.
pub fn find_on(broker: Broker, choices: &Choices, path: &OsStr) -> Result<Source, Missing> {
    match choices.get(&broker) {
        None => {}
        Some(Choice::Wheel) => return unpacked(broker),
        Some(Choice::Embedded) if embedded::HERE => return Ok(Source::Embedded),
        Some(Choice::Embedded) => {
            let (reason, remedy) = ("this `lab` was built without it".to_owned(), embedded::BUILD.to_owned());
            return Err(Missing { broker, reason, remedy });
        }
        Some(Choice::Address(address)) => return Ok(Source::Url(address.clone())),
    }
    let missing = match installed(broker, path) {
        Ok(source) => return Ok(source),
        Err(missing) => missing,
    };
    match (Wheel::of(broker), Wheel::cache()) {
        (Some(wheel), Ok(cache)) if !matches!(wheel.found(&cache), Ok(None)) => unpacked(broker),
        _ if broker == Broker::Mqtt && embedded::HERE => Ok(Source::Embedded),
        _ => Err(missing),
    }
}

/// The program out of the broker's wheel.
fn unpacked(broker: Broker) -> Result<Source, Missing> {
    let missing = |reason: String| {
        let remedy = hint::command(&["doctor", "--install", "--wheels", broker.as_str()]);
        Missing { broker, reason, remedy }
    };
    let wheel = Wheel::of(broker).ok_or_else(|| missing("there is no wheel with it".to_owned()))?;
    let found = Wheel::cache().and_then(|cache| wheel.found(&cache));
    match found.map_err(|error| missing(format!("{error:#}")))? {
        Some(program) => Ok(Source::Wheel(program)),
        None => Err(missing(format!("the wheel {} {} is not installed yet", wheel.project, wheel.version))),
    }
}

/// A program that somebody has installed.
fn installed(broker: Broker, path: &OsStr) -> Result<Source, Missing> {
    let missing = |reason: &str| {
        let remedy = hint::command(&["doctor", "--install"]);
        Missing { broker, reason: reason.to_owned(), remedy }
    };
    match broker {
        Broker::Redis => ["redis-server", "valkey-server"]
            .iter()
            .find_map(|name| program(name, path, &PROGRAMS))
            .map(Source::Program)
            .ok_or_else(|| {
                missing("neither redis-server nor valkey-server is on PATH or where packages put it")
            }),
        Broker::Mqtt => program("mosquitto", path, &PROGRAMS)
            .map(Source::Program)
            .ok_or_else(|| missing("mosquitto is neither on PATH nor where packages put it")),
        Broker::Nats => program("nats-server", path, &PROGRAMS)
            .map(Source::Program)
            .ok_or_else(|| missing("nats-server is neither on PATH nor where packages put it")),
        Broker::RabbitMq => {
            let launcher = launcher(path)
                .ok_or_else(|| missing("rabbitmq-server is neither on PATH nor where packages put it"))?;
            erlang(path).map_err(|what| {
                missing(&format!("{} is here, but Erlang's `{what}` is not", launcher.display()))
            })?;
            Ok(Source::Program(launcher))
        }
    }
}

/// Erlang's programs.
pub(super) struct Erlang {
    pub(super) bin: PathBuf,
    pub(super) epmd: PathBuf,
}

/// Finds them, or says which one is missing.
pub(super) fn erlang(path: &OsStr) -> Result<Erlang, &'static str> {
    let erl = program("erl", path, &ERLANGS).or_else(|| program("erl", path, &PROGRAMS)).ok_or("erl")?;
    let beside = erl.canonicalize().ok().and_then(|erl| {
        let root = erl.parent()?.parent()?.display().to_string();
        expand(&format!("{root}/erts-*/bin"))
            .into_iter()
            .map(|dir| dir.join("epmd"))
            .find(|epmd| runnable(epmd))
    });
    let epmd = beside.or_else(|| program("epmd", path, &PROGRAMS)).ok_or("epmd")?;
    Ok(Erlang { bin: erl.parent().map(Path::to_owned).unwrap_or_default(), epmd })
}

/// The launcher inside the package: what most packages put on PATH is a wrapper
/// that insists on the system's user and folders.
fn launcher(path: &OsStr) -> Option<PathBuf> {
    let home = std::env::var_os("RABBITMQ_HOME").map(|home| PathBuf::from(home).join("sbin"));
    let packaged = LAUNCHERS.iter().flat_map(|pattern| expand(pattern));
    home.into_iter()
        .chain(std::env::split_paths(path))
        .chain(packaged)
        .map(|dir| dir.join("rabbitmq-server"))
        .find(|launcher| runnable(launcher) && is_launcher(launcher))
}

/// The wrapper, too, may lie beside the launcher; its file has another name.
fn is_launcher(program: &Path) -> bool {
    program.canonicalize().is_ok_and(|real| {
        real.file_name() == program.file_name() && real.with_file_name("rabbitmq-env").is_file()
    })
}

fn program(name: &str, path: &OsStr, after: &[&str]) -> Option<PathBuf> {
    std::env::split_paths(path)
        .chain(after.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|program| program.is_absolute() && runnable(program))
}

fn runnable(program: &Path) -> bool {
    program.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Folders that match a path in which one part may hold a `*`, newest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or((".", before));
    let mut versions: Vec<(Vec<u64>, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_string_lossy().strip_prefix(prefix)?.to_owned();
            let numbers = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
            Some((numbers, entry.path().join(after.trim_start_matches('/'))))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, path)| path).collect()
}

/// A broker program's version, without starting the broker. Redis is asked;
/// RabbitMQ's package is read, because its tools leave an epmd behind that
/// listens on every address.
pub fn version_of(broker: Broker, program: &Path) -> Result<String> {
    let shown = program.display();
    if broker == Broker::RabbitMq {
        let real = program.canonicalize().with_context(|| format!("cannot find {shown}"))?;
        let root = real.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        let version =
            std::fs::read_dir(root.join("plugins")).into_iter().flatten().flatten().find_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let version = name.strip_prefix("rabbit-")?;
                Some(version.strip_suffix(".ez").unwrap_or(version).to_owned())
            });
        return version.with_context(|| format!("{} holds no plugins/rabbit-VERSION", root.display()));
    }
    // "Redis server v=7.0.15 sha=…", "mosquitto version 2.0.11", "nats-server: v2.9.10"
    let (arg, before) = match broker {
        Broker::Mqtt => ("-h", "version "),
        Broker::Nats => ("--version", ": v"),
        _ => ("--version", "v="),
    };
    let mut command = Command::new(program);
    command.arg(arg).stdin(Stdio::null());
    let text = output(command, broker == Broker::Mqtt)
        .with_context(|| format!("cannot ask {shown} for its version"))?;
    let version = text.split_once(before).and_then(|(_, rest)| rest.split_whitespace().next());
    version.map(str::to_owned).with_context(|| format!("{shown} {arg} prints no version, but `{text}`"))
}

/// Standard output of a short command, which is given 20 s. `any_end`: some
/// programs say that they have failed after they have shown their help.
fn output(mut command: Command, any_end: bool) -> Result<String> {
    crate::process::die_with_parent(&mut command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            crate::process::kill_tree(&[child.id()])?;
            child.wait()?;
            bail!("it did not answer within 20 s");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output()?;
    if !any_end && !output.status.success() {
        bail!("it ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
