//! The record of a comparison, `regress.json`: it holds every sample, so that anyone can
//! compute the verdict again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::measures::Measure;
use super::outcome::Verdict;
use crate::results::{Host, MOST_RECORD, Noise, Skipped, read_text};

/// The version of this format.
pub const SCHEMA: u32 = 1;

/// A whole comparison: `regress.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this format.
    pub schema: u32,
    /// When it began, RFC 3339 with offset.
    pub created: String,
    /// The machine.
    pub host: Host,
    /// How quiet the machine was before the first round.
    pub noise: Noise,
    /// The plan of the comparison.
    pub plan: Plan,
    /// The program to compare with.
    pub base: Program,
    /// The program to judge.
    pub head: Program,
    /// Broker name to version, as the broker says it.
    pub brokers: BTreeMap<String, String>,
    /// Labs that were asked for and could not be measured, with the reason.
    pub skipped: Vec<Skipped>,
    /// Every round that was finished.
    pub rounds: Vec<Round>,
    /// How long the rounds took, seconds, builds excluded.
    pub took_s: f64,
    /// The outcome; null while it runs.
    pub verdict: Option<Verdict>,
}

/// The plan of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The labs that are measured.
    pub labs: Vec<String>,
    /// Rounds.
    pub rounds: usize,
    /// The fixed load of each lab, messages a second.
    pub rates: BTreeMap<String, f64>,
    /// Message size, bytes.
    pub size: u64,
    /// Warm-up of each trial, seconds.
    pub warmup_s: f64,
    /// Measured time of each trial, in seconds, seconds.
    pub seconds: f64,
    /// The peak rate is measured every this many rounds; 0: never.
    pub peak_every: usize,
    /// The least slowdown that counts: 0.03 for 3 %.
    pub min_effect: f64,
    /// Knobs of both sides.
    pub knobs: Vec<String>,
    /// Further knobs of head.
    pub head_knobs: Vec<String>,
    /// The seed of the order.
    pub seed: u64,
}

/// One of the two programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The user's name for it: a commit or a file.
    pub asked: String,
    /// The file that ran.
    pub binary: String,
    /// SHA-256 of that file.
    pub sha256: String,
    /// The source revision, as the program says it.
    pub git: Option<String>,
    /// The compiler, as the program says it.
    pub rustc: String,
}

/// Which of the three measurements of a round a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The program that is compared with.
    Base,
    /// The program that is judged.
    Head,
    /// Base once more: the control.
    Again,
}

impl Arm {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Base, Self::Head, Self::Again];
}

/// One round: every lab, three times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// 0, 1, 2 …
    pub index: usize,
    /// In the order made.
    pub samples: Vec<Sample>,
}

/// One lab measured once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The lab.
    pub lab: String,
    /// For which side.
    pub arm: Arm,
    /// Why it failed; null for a good one.
    pub failed: Option<String>,
    /// The values, in the unit of each measure.
    pub measures: BTreeMap<Measure, f64>,
    /// Messages lost although confirmed, corrupt or misrouted.
    pub defects: u64,
}

impl Record {
    /// Reads `regress.json` in `dir`.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("regress.json");
        let text = read_text(&path, MOST_RECORD).with_context(|| {
            format!("{} does not hold a comparison: cannot read {}", dir.display(), path.display())
        })?;
        let record: Self =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(
            record.schema == SCHEMA,
            "{} has schema {}, but this program reads schema {SCHEMA}",
            path.display(),
            record.schema
        );
        Ok(record)
    }
}

/// Replaces a file as a whole, so that an interruption leaves the old one.
pub(crate) fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let attempt = || -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.persist(dir.join(name))?;
        Ok(())
    };
    attempt().with_context(|| {
        format!("cannot write {}; choose a writable folder with --out", dir.join(name).display())
    })
}
