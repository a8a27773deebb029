//! How a private broker is started, and the environment it gets.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use labs::lab::Guarantee;
use tempfile::TempDir;

/// How a private broker is started.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Whether what it confirms must survive kill -9 (Redis: `appendonly yes`; RabbitMQ always can).
    pub durable: bool,
    /// The folder in which it gets one of its own.
    pub dir: &'a Path,
}

/// A broker's answer about itself.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) version: String,
    /// The version as numbers, of brokers in which it decides which labs can run.
    pub(super) release: Option<(u32, u32)>,
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
