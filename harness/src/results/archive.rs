//! `raw.tar`: the raw data of a result set in one file.
//!
//! A plain tar file. Its entries are files of `raw/`, each compressed by gzip on its own, so
//! that one can be read without the others; the last is `raw/SHA256SUMS`, which names every
//! other one with the SHA-256 of what is stored. Where it is missing, the archive was cut
//! short. Programs that everybody has read it: `tar`, `gzip`, `sha256sum --check`.
//!
//! An archive may come from anybody. Nothing of it is ever written to a file of its own name,
//! nothing is unpacked before its sum was compared, and nothing beyond a limit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// The archive's name in the folder of a result set.
pub const ARCHIVE: &str = "raw.tar";
/// The folder of the loose files, and of the entries' names.
pub(super) const FOLDER: &str = "raw";
/// The entry with the sums of all others.
const SUMS: &str = "SHA256SUMS";
/// What an entry's name ends with, beyond the file's.
const ENDING: &str = ".gz";
/// More entries than this are refused: a run of a week does not have them.
const MOST_ENTRIES: usize = 200_000;
/// The largest list of sums: as many lines of the longest names.
const MOST_SUMS: u64 = 64 << 20;
/// The longest name of a file of `raw/`.
const LONGEST_NAME: usize = 240;

/// An archive that can be read: its entries are known, and their names are safe.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    file: File,
    entries: BTreeMap<String, Entry>,
}

/// Where an entry is stored, and what its bytes sum up to.
#[derive(Debug)]
struct Entry {
    at: u64,
    size: u64,
    sum: String,
}

/// Whether this can be the name of a file of `raw/`: one part of a path, of visible characters,
/// that hides nothing and leads nowhere else.
pub(super) fn is_plain(name: &str) -> bool {
    let visible = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with('.') && name.chars().all(visible)
}

impl Archive {
    /// Opens the archive of a result set; `None` where there is none.
    ///
    /// # Errors
    /// When it is no such archive, is cut short, or has an entry that nobody listed, that is
    /// missing, or whose name leads elsewhere.
    pub(super) fn open(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(ARCHIVE);
        let Some(file) = super::file::open(&path)? else { return Ok(None) };
        let entries = index(&file).with_context(|| {
            format!("{} is damaged; copy it back from where the result set came from", path.display())
        })?;
        Ok(Some(Self { path, file, entries }))
    }

    /// The names of the files in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A file of it, unpacked; `None` where it has none of this name.
    ///
    /// # Errors
    /// When its sum is not the one listed, or it does not unpack to `most` bytes at most; the
    /// entry and the archive are named.
    pub(super) fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(stored) = self.stored(name)? else { return Ok(None) };
        let unpack = || -> Result<Vec<u8>> {
            let mut content = Vec::new();
            GzDecoder::new(stored.as_slice()).take(most + 1).read_to_end(&mut content)?;
            ensure!(content.len() as u64 <= most, "it unpacks to more than {most} bytes");
            Ok(content)
        };
        unpack().with_context(|| self.damaged(name)).map(Some)
    }

    /// A file of it as it is stored, its sum compared.
    pub(super) fn stored(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        let stored = bytes(&self.file, entry.at, entry.size).with_context(|| self.damaged(name))?;
        let sum = sum(&stored);
        ensure!(
            sum == entry.sum,
            "{}: its SHA-256 is {sum}, and {SUMS} says {}; copy the archive back from where the result set came from",
            self.damaged(name),
            entry.sum
        );
        Ok(Some(stored))
    }

    fn damaged(&self, name: &str) -> String {
        format!("the entry {FOLDER}/{name}{ENDING} of {} is damaged", self.path.display())
    }
}

/// What is stored of an entry. Its size was compared with the file's before.
fn bytes(file: &File, at: u64, size: u64) -> Result<Vec<u8>> {
    let mut stored = vec![0; usize::try_from(size)?];
    file.read_exact_at(&mut stored, at)?;
    Ok(stored)
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every entry by the name of its file, as the headers and the list of sums both have it.
fn index(file: &File) -> Result<BTreeMap<String, Entry>> {
    let length = file.metadata()?.len();
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        ensure!(found.len() <= MOST_ENTRIES, "it has more than {MOST_ENTRIES} entries");
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
        let name = name.filter(|name| is_plain(name) && entry.header().entry_type() == EntryType::Regular);
        let Some(name) = name else { bail!("its entry {path:?} is not a file of {FOLDER}/") };
        let (at, size) = (entry.raw_file_position(), entry.size());
        let end = at.checked_add(size).filter(|&end| end <= length);
        ensure!(end.is_some(), "it was cut short: it ends within {path}");
        ensure!(found.insert(name.to_owned(), (at, size)).is_none(), "it has {path} twice");
    }
    let Some((at, size)) = found.remove(SUMS) else {
        bail!("it has no {FOLDER}/{SUMS}: it was cut short, or another program wrote it")
    };
    ensure!(size <= MOST_SUMS, "its {SUMS} has {size} bytes");
    let list = String::from_utf8(bytes(file, at, size)?).context("its SHA256SUMS is not text")?;
    let mut entries = BTreeMap::new();
    for line in list.lines() {
        let (sum, name) = line.split_once("  ").with_context(|| format!("its {SUMS} has a line {line:?}"))?;
        let Some((at, size)) = found.remove(name) else { bail!("its entry {FOLDER}/{name} is missing") };
        let plain = name.strip_suffix(ENDING).filter(|name| !name.is_empty());
        let plain = plain.with_context(|| format!("its entry {FOLDER}/{name} does not end with {ENDING}"))?;
        entries.insert(plain.to_owned(), Entry { at, size, sum: sum.to_owned() });
    }
    if let Some(name) = found.keys().next() {
        bail!("its entry {FOLDER}/{name} is not listed in its {SUMS}");
    }
    Ok(entries)
}

/// An archive that is being written.
pub(super) struct Writer<W: Write> {
    tar: Builder<W>,
    sums: String,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(to: W) -> Self {
        Self { tar: Builder::new(to), sums: String::new() }
    }

    /// Adds a file, compressed.
    pub(super) fn add(&mut self, name: &str, mut content: impl io::Read) -> Result<()> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        io::copy(&mut content, &mut packed)?;
        self.store(name, &packed.finish()?)
    }

    /// Adds a file as another archive has it stored.
    pub(super) fn store(&mut self, name: &str, stored: &[u8]) -> Result<()> {
        ensure!(is_plain(name), "{name:?} cannot be the name of a file of {FOLDER}/");
        let name = format!("{name}{ENDING}");
        self.sums.push_str(&format!("{}  {name}\n", sum(stored)));
        self.append(&name, stored)
    }

    /// Without time and owner, so that the same files give the same archive.
    fn append(&mut self, name: &str, stored: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(stored.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        Ok(self.tar.append_data(&mut header, format!("{FOLDER}/{name}"), stored)?)
    }

    /// Ends the archive with its sums.
    pub(super) fn finish(mut self) -> Result<W> {
        let sums = std::mem::take(&mut self.sums);
        self.append(SUMS, sums.as_bytes())?;
        Ok(self.tar.into_inner()?)
    }
}

#[cfg(test)]
mod tests;
