//! Accounts in two places: what has changed in one is sent, and done in the other, so that those who
//! read an account need not share the memory of who writes it.
//!
//! What is sent are pages of words, packed. Each file has one writer, on one side: pages go one way.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use rustix::fs::{SeekFrom, seek};
use serde::{Deserialize, Serialize};

use super::counters::WORDS as COUNTER_WORDS;
use super::mapped::Words;

/// Words that are compared and sent together.
const PAGE_WORDS: usize = 512;
const PAGE_BYTES: usize = PAGE_WORDS * 8;
/// Pages in one line: with base64 at most some 3 MiB, whatever they hold.
const PAGES_A_LINE: usize = 500;
/// The largest account, bytes: a trace of one role. Nobody may have more written.
const MOST: u64 = 4 << 30;
/// How the files of counters end.
const COUNTERS: &str = ".counters";

/// A page of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The file, without a folder.
    file: String,
    /// Where it begins, in words.
    at: u64,
    /// Its bytes, packed, base64.
    data: String,
}

/// Whether a file holds counters: they are all that a role hears of others.
pub fn is_counters(name: &str) -> bool {
    name.ends_with(COUNTERS)
}

/// Which files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Counters, which are few and change all the time.
    Counters,
    /// Everything.
    All,
}

/// A folder of accounts that has a copy elsewhere.
pub struct Mirror {
    dir: PathBuf,
    /// The checksum of each page as it was last sent.
    sent: HashMap<(String, u64), u32>,
    /// Counters are written through a mapping, word by word: a reader never sees half of a number.
    counters: HashMap<String, Words>,
}

impl Mirror {
    /// Of a folder.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), sent: HashMap::new(), counters: HashMap::new() }
    }

    /// What has changed in a role's files since it was last asked for, in lines of a bounded length.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn changes(&mut self, role: &str, which: Which) -> Result<Vec<Vec<Page>>> {
        self.changes_of(which, |name| name.strip_prefix(role).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The same of all files that `own` names.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn changes_of(&mut self, which: Which, own: impl Fn(&str) -> bool) -> Result<Vec<Vec<Page>>> {
        let mut pages = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if own(&name) && (which == Which::All || is_counters(&name)) {
                self.changes_in(&name, &mut pages)
                    .with_context(|| format!("cannot read the account {}", entry.path().display()))?;
            }
        }
        Ok(pages.chunks(PAGES_A_LINE).map(<[Page]>::to_vec).collect())
    }

    fn changes_in(&mut self, name: &str, pages: &mut Vec<Page>) -> Result<()> {
        let file = File::open(self.dir.join(name))?;
        let len = file.metadata()?.len();
        let mut at = 0;
        // Files are sparse: only what has room is read.
        while at < len
            && let Ok(data) = seek(&file, SeekFrom::Data(at))
        {
            let end = seek(&file, SeekFrom::Hole(data)).unwrap_or(len);
            at = data - data % PAGE_BYTES as u64;
            while at < end {
                let mut bytes = vec![0; PAGE_BYTES.min((len - at) as usize)];
                file.read_exact_at(&mut bytes, at)?;
                let sum = crc32c::crc32c(&bytes);
                // A page that was never anything but zeros is the same everywhere.
                let fresh = self.sent.insert((name.to_owned(), at), sum) != Some(sum);
                if fresh && bytes.iter().any(|byte| *byte != 0) {
                    pages.push(Page { file: name.to_owned(), at: at / 8, data: pack(&bytes)? });
                }
                at += PAGE_BYTES as u64;
            }
        }
        Ok(())
    }

    /// Does here what has changed there, in the files that the other side writes.
    ///
    /// # Errors
    /// When a page is none, or there is no room for it. A name that leads elsewhere, or that of
    /// somebody else's file, is refused.
    pub fn apply(&mut self, pages: &[Page], theirs: impl Fn(&str) -> bool) -> Result<()> {
        for page in pages {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            ensure!(
                page.file.len() < 100 && !page.file.starts_with('.') && page.file.chars().all(plain),
                "{:?} is no name of an account",
                page.file
            );
            ensure!(theirs(&page.file), "{} is written by somebody else", page.file);
            let bytes = unpack(&page.data).with_context(|| format!("a page of {}", page.file))?;
            ensure!(
                page.at < MOST / 8 && bytes.len() % 8 == 0,
                "a page of {} lies outside of any account",
                page.file
            );
            if is_counters(&page.file) {
                self.count(page, &bytes)?;
            } else {
                let path = self.dir.join(&page.file);
                let file = File::options().write(true).create(true).truncate(false).open(&path);
                file.and_then(|file| file.write_all_at(&bytes, page.at * 8))
                    .with_context(|| format!("cannot write the account {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Word by word: those who read a counter while it is written see the old value or the new one.
    fn count(&mut self, page: &Page, bytes: &[u8]) -> Result<()> {
        if !self.counters.contains_key(&page.file) {
            let words = Words::whole(&self.dir.join(&page.file), COUNTER_WORDS)?;
            self.counters.insert(page.file.clone(), words);
        }
        let words = &self.counters[&page.file];
        for (index, word) in bytes.chunks_exact(8).enumerate() {
            let at = page.at as usize + index;
            ensure!(at < words.len(), "{} has no number {at}", page.file);
            words.at(at).store(u64::from_le_bytes(word.try_into()?), Ordering::Release);
        }
        Ok(())
    }
}

fn pack(bytes: &[u8]) -> Result<String> {
    // Words are sent with the low byte first, whatever the machine's own order is.
    let little: Vec<u8> = bytes
        .chunks(8)
        .flat_map(|word| {
            <[u8; 8]>::try_from(word)
                .map_or_else(|_| word.to_vec(), |word| u64::from_ne_bytes(word).to_le_bytes().to_vec())
        })
        .collect();
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&little)?;
    Ok(STANDARD.encode(packer.finish()?))
}

fn unpack(text: &str) -> Result<Vec<u8>> {
    let packed = STANDARD.decode(text).context("it is no base64")?;
    let mut bytes = Vec::new();
    ZlibDecoder::new(packed.as_slice()).take(PAGE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() <= PAGE_BYTES, "it is longer than a page");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{Bitmap, Counter, Counters, Set, new_dir};
    use super::*;

    #[test]
    fn what_is_written_here_is_read_there() {
        let (here, there) = (new_dir().expect("a folder"), new_dir().expect("a folder"));
        let (mut from, mut to) = (Mirror::new(here.path()), Mirror::new(there.path()));
        let counters = Counters::open(here.path(), "receiver-0").expect("counters");
        let received = Bitmap::open(here.path(), "receiver-0", Set::Received, 0).expect("a set");
        let read = Counters::open(there.path(), "receiver-0").expect("counters");
        let mut send = |which| {
            let lines = from.changes("receiver-0", which).expect("read");
            lines.iter().for_each(|pages| to.apply(pages, |_| true).expect("written"));
            lines.iter().map(Vec::len).sum::<usize>()
        };
        counters.set(Counter::Received, 41);
        received.insert(7);
        received.insert(900_000);
        assert_eq!(send(Which::Counters), 1);
        assert_eq!(read.get(Counter::Received), 41);
        assert_eq!(send(Which::All), 2, "two pages of the set are not zero");
        let mirrored = Bitmap::existing(there.path(), "receiver-0", Set::Received, 0).expect("readable");
        let mirrored = mirrored.expect("it is there");
        assert!(mirrored.contains(7) && mirrored.contains(900_000) && !mirrored.contains(8));
        // What has not changed is not sent again, and what has is.
        assert_eq!(send(Which::All), 0);
        counters.set_progress(1_000, 5);
        received.insert(8);
        assert_eq!(send(Which::All), 2);
        assert!(read.progress(1_000) == 5 && mirrored.contains(8));
        // Another role's account is another's.
        assert!(from.changes("receiver", Which::All).expect("read").is_empty());
    }

    #[test]
    fn a_page_that_leads_elsewhere_is_refused() {
        let dir = new_dir().expect("a folder");
        let mut mirror = Mirror::new(dir.path());
        let page = |file: &str, at, data: &str| Page { file: file.to_owned(), at, data: data.to_owned() };
        let good = pack(&[1; 16]).expect("packed");
        for (bad, said) in [
            (page("../receiver-0.counters", 0, &good), "no name of an account"),
            (page("a/b", 0, &good), "no name of an account"),
            (page(".hidden", 0, &good), "no name of an account"),
            (page("sender-0.counters", 0, &good), "written by somebody else"),
            (page("r.received.0", u64::MAX / 8, &good), "outside of any account"),
            (page("r.counters", 5_000, &good), "has no number"),
            (page("r.received.0", 0, "?"), "base64"),
            (page("r.received.0", 0, &pack(&[7; 5_000]).expect("packed")), "longer than a page"),
        ] {
            let error = format!(
                "{:#}",
                mirror
                    .apply(std::slice::from_ref(&bad), |name| !name.starts_with("sender-0."))
                    .expect_err("refused")
            );
            assert!(error.contains(said), "{error}");
        }
        assert!(mirror.apply(&[page("r.received.0", 3, &good)], |_| true).is_ok());
    }
}
