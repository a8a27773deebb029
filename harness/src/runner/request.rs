//! The request for a run: what to measure, and where to write it.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::broker::Choices;
use crate::measure::host;
use crate::results::private::RESULTS;
use crate::results::{Host, Plan};
use crate::roles::Handle;

/// Everything that a run needs.
pub struct Request<'a> {
    /// Every lab there is.
    pub handles: &'a [Handle],
    /// What to measure.
    pub plan: Plan,
    /// The user's own brokers, or where private ones come from.
    pub choices: Choices,
    /// The seed of everything random.
    pub seed: u64,
    /// The folder of the result set.
    pub out: &'a Path,
    /// This machine, as it is recorded.
    pub host: Host,
    /// Continue an existing result set.
    pub resume: bool,
    /// A missing broker is an error, not a skipped lab.
    pub strict: bool,
}

/// The folder a run is written to when none is given.
pub fn default_out(name: &str, host: &Host) -> Result<std::path::PathBuf> {
    let host = host::file_name(host);
    let stem = format!("{}-{host}-{name}", jiff::Zoned::now().strftime("%Y-%m-%d"));
    let results = Path::new(RESULTS);
    for number in 1..1000 {
        let dir = results.join(if number == 1 { stem.clone() } else { format!("{stem}-{number}") });
        if !dir.exists() {
            return Ok(dir);
        }
    }
    Err(anyhow::anyhow!("results/ already has 999 runs of today")).context("give a folder with --out")
}
