//! Packs the loose files of `raw/` into `raw.tar`.
//!
//! The order of the steps is what keeps the data: the archive is written beside the old one
//! and moved over it when it is whole and on the disk, and only then the loose files are
//! removed. Between two steps a file may be in both places, and the loose one is read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::super::archive::{ARCHIVE, Archive, FOLDER, Writer, is_plain};
use super::super::file::{GO_ON, UNFINISHED, replace};

/// What the names of raw data end with. Anything else in `raw/` is somebody's own, and stays.
const ENDINGS: [&str; 2] = [".json", ".messages.csv"];

/// Packs what is loose; whether there was anything.
pub(super) fn pack(dir: &Path) -> Result<bool> {
    let folder = dir.join(FOLDER);
    let loose = loose(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    if loose.is_empty() {
        return Ok(false);
    }
    let old = Archive::open(dir)?;
    // A pack that was killed may have left most of an archive.
    sweep(dir, &BTreeSet::new()).with_context(|| format!("cannot tidy {}", dir.display()))?;
    let kept = old.iter().flat_map(Archive::names).map(str::to_owned);
    let all: BTreeSet<String> = kept.chain(loose.iter().cloned()).collect();
    replace(&dir.join(ARCHIVE), GO_ON, |file| {
        let mut archive = Writer::new(BufWriter::new(file));
        for name in &all {
            if loose.contains(name) {
                archive.add(name, File::open(folder.join(name))?)?;
            } else if let Some(stored) = old.as_ref().map(|old| old.stored(name)).transpose()?.flatten() {
                archive.store(name, &stored)?;
            }
        }
        Ok(archive.finish()?.flush()?)
    })?;
    // The new name is on the disk before the files are gone that it stands for.
    let removed = File::open(dir).and_then(|dir| dir.sync_all()).and_then(|()| {
        let others = sweep(&folder, &loose)?;
        if others { Ok(()) } else { fs::remove_dir(&folder) }
    });
    removed.with_context(|| format!("{ARCHIVE} is whole; cannot remove {}", folder.display()))?;
    Ok(true)
}

/// The files of raw data in a folder; none where there is no folder.
fn loose(folder: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut found = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = is_plain(&name) && ENDINGS.iter().any(|ending| name.ends_with(ending));
        if ours && entry.file_type()?.is_file() {
            found.insert(name);
        }
    }
    Ok(found)
}

/// Removes these files of a folder, and what a killed program did not finish; whether anything
/// else is there.
fn sweep(folder: &Path, names: &BTreeSet<String>) -> io::Result<bool> {
    let mut others = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if names.contains(&name) || name.starts_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        } else {
            others = true;
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests;
