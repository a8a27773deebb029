//! A bundle's files, each replaced as a whole.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{Raw, Run, SCHEMA, private};

/// A bundle on disk.
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
}

impl Bundle {
    /// Makes the folder for a new bundle; refuses one that has something in it.
    pub fn create(dir: &Path) -> Result<Self> {
        if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!(
                "{} exists and is not empty; choose another --out, or continue it with --resume",
                dir.display()
            );
        }
        private::create(dir)?;
        fs::create_dir_all(dir.join("raw"))
            .with_context(|| format!("cannot create {}", dir.join("raw").display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Opens a bundle that exists and reads its run.
    pub fn open(dir: &Path) -> Result<(Self, Run)> {
        let path = dir.join("run.json");
        let text = fs::read_to_string(&path).with_context(|| {
            format!("{} is not a result bundle: cannot read {}", dir.display(), path.display())
        })?;
        // The schema is looked at first: another version may not parse as this one.
        let value: serde_json::Value = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged: it is not valid JSON. Files in raw/ are intact; run the benchmark again into a new --out",
                path.display()
            )
        })?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(found) if (1..=u64::from(SCHEMA)).contains(&found) => {}
            Some(found) => bail!(
                "{} has result schema {found}, and this program reads schemas up to {SCHEMA}; use the version of `lab` that wrote it",
                path.display()
            ),
            None => bail!("{} has no `schema` field: it is not a result of this program", path.display()),
        }
        let mut run: Run = serde_json::from_value(value)
            .with_context(|| format!("{} does not follow result schema {SCHEMA}", path.display()))?;
        // What is written again is written in today's format.
        run.schema = SCHEMA;
        Ok((Self { dir: dir.to_owned() }, run))
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Replaces `run.json` atomically.
    pub fn save(&self, run: &Run) -> Result<()> {
        self.write("run.json", &pretty(run)?)
    }

    /// Writes one trial's raw recording.
    pub fn save_raw(&self, cell: &str, trial: usize, raw: &Raw) -> Result<()> {
        self.write(&format!("raw/{cell}.{trial}.json"), &pretty(raw)?)
    }

    /// Reads one trial's raw recording.
    pub fn raw(&self, cell: &str, trial: usize) -> Result<Raw> {
        let path = self.dir.join(format!("raw/{cell}.{trial}.json"));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Writes a file of the bundle: beside it first, then moved over the old one,
    /// so that a crash or a full disk leaves the old one whole.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.dir.join(name);
        let attempt = || -> std::io::Result<()> {
            let parent = path.parent().unwrap_or(&self.dir);
            fs::create_dir_all(parent)?;
            let mut file = tempfile::NamedTempFile::new_in(parent)?;
            file.write_all(content.as_bytes())?;
            file.as_file().sync_all()?;
            use std::os::unix::fs::PermissionsExt as _;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
            file.persist(&path)?;
            Ok(())
        };
        attempt().with_context(|| {
            format!(
                "cannot write {}; free some space (or mend its permissions) and go on with --resume",
                path.display()
            )
        })
    }
}

pub(super) fn pretty<T: Serialize>(value: &T) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
