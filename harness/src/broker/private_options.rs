//! How a private broker is started, and the environment it gets.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use labs::lab::{BrokerFeature, Guarantee};
use tempfile::TempDir;

/// How a private broker is started.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Whether what it confirms must survive kill -9 (Redis: `appendonly yes`; RabbitMQ always can).
    pub durable: bool,
    /// The folder in which it gets one of its own.
    pub dir: &'a Path,
    /// Settings of its own, each with its value, which [`check_setting`] has let through.
    pub settings: &'a [(String, String)],
}

/// Settings that decide where a private broker listens and writes, and who may come in.
const OURS: [&str; 21] = [
    "port",
    "bind",
    "unixsocket",
    "dir",
    "daemonize",
    "protected-mode",
    "include",
    "loadmodule",
    "pidfile",
    "logfile",
    "listener",
    "persistence_location",
    "allow_anonymous",
    "user",
    "plugin",
    "include_dir",
    "log_dest",
    "server_name",
    "listen",
    "default_user",
    "default_pass",
];

/// Refuses what is no setting that can be given to a private broker.
///
/// # Errors
/// When its name or value cannot stand in a configuration file, or it is one that `lab` sets itself.
pub fn check_setting(name: &str, value: &str) -> Result<()> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let in_value = |c: char| c.is_ascii_graphic() && !"'\"`#\\;{}".contains(c) || c == ' ';
    ensure!(
        !name.is_empty() && name.len() <= 100 && name.chars().all(in_name),
        "`{name}` is not the name of a setting"
    );
    ensure!(
        !value.is_empty() && value.len() <= 200 && value.chars().all(in_value),
        "`{value}` is not a value that `{name}` can have here"
    );
    let base = name.split('.').next().unwrap_or(name);
    ensure!(
        !OURS.contains(&base) && !["listeners", "stomp", "mqtt", "management"].contains(&base),
        "`{name}` is set by lab itself for a private broker"
    );
    Ok(())
}

/// A broker's answer about itself.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) version: String,
    /// The version as numbers, of brokers in which it decides which labs can run.
    pub(super) release: Option<(u32, u32)>,
    /// Features that labs need and it does not have.
    pub(super) lacks: Vec<BrokerFeature>,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) limit: Option<(Guarantee, String)>,
    /// The largest message that it takes, bytes, and the name that it has for this limit.
    pub(super) largest: Option<(u64, &'static str)>,
}

/// A broker's own folder.
pub(super) fn folder(name: &str, options: &Options<'_>) -> Result<TempDir> {
    tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(options.dir).with_context(|| {
        format!("cannot make a folder in {}; set TMPDIR to a folder you may write to", options.dir.display())
    })
}

/// 128 unpredictable bits.
pub(super) fn random() -> Result<u128> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(u128::from_ne_bytes(bytes))
}

/// The PATH of the system's own programs, for a broker's environment.
pub(super) fn system_path() -> String {
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
}
