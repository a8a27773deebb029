//! Words in a memory-mapped file: what was written is in the page cache and
//! outlives kill -9 of its writer.
//!
//! The files are sparse. When the file system has no room for a page, the kernel ends the
//! process that touches it, by SIGBUS. So the writer reserves each page before it touches it
//! for the first time, and a reader does not map the file: it reads it.
#![expect(
    unsafe_code,
    reason = "memory-mapped files: each mapping is private to this module and bounds-checked here"
)]

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Words that are reserved together: a page of 4 KiB.
const PAGE: usize = 512;
/// Words that [`Words::read`] reads at once.
const BLOCK: usize = 8192;

/// 64-bit words in a mapped file. Each file has one writer.
pub(in crate::measure) struct Words {
    map: MmapRaw,
    file: File,
    path: PathBuf,
    /// One bit for each page.
    reserved: Box<[AtomicU64]>,
}

/// There is no room for an account. It unwinds the role, which then has failed.
pub(crate) struct NoRoom(String);

impl NoRoom {
    /// What a role that was unwound could not write, if it was this.
    pub(crate) fn of(payload: &(dyn Any + Send)) -> Option<&str> {
        payload.downcast_ref::<Self>().map(|no_room| no_room.0.as_str())
    }
}

impl Words {
    /// `path` is created sparse and zeroed if it is not there.
    pub(in crate::measure) fn map(path: &Path, words: usize) -> Result<Self> {
        let attempt = || -> std::io::Result<Self> {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let len = words as u64 * 8;
            if file.metadata()?.len() < len {
                file.set_len(len)?;
            }
            let map = MmapOptions::new().len(words * 8).map_raw(&file)?;
            let bits = words.div_ceil(PAGE).div_ceil(64);
            let reserved = (0..bits).map(|_| AtomicU64::new(0)).collect();
            Ok(Self { map, file, path: path.to_owned(), reserved })
        };
        attempt().with_context(|| format!("cannot map the account {}", path.display()))
    }

    /// The same with all pages reserved.
    pub(in crate::measure) fn whole(path: &Path, words: usize) -> Result<Self> {
        let whole = Self::map(path, words)?;
        let missing = (0..words).step_by(PAGE).find_map(|index| whole.reserve(index).err());
        match missing {
            Some(NoRoom(why)) => Err(anyhow::Error::msg(why)),
            None => Ok(whole),
        }
    }

    /// A word, for its writer.
    ///
    /// # Panics
    /// Unwinds with [`NoRoom`], without a message, where its page has no room.
    #[inline]
    pub(in crate::measure) fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len(), "account index out of bounds");
        let page = index / PAGE;
        if self.reserved[page / 64].load(Ordering::Relaxed) & (1 << (page % 64)) == 0
            && let Err(no_room) = self.reserve(index)
        {
            std::panic::resume_unwind(Box::new(no_room));
        }
        // SAFETY: in bounds by the assertion; the mapping is page-aligned, lives
        // as long as `self`, and is only ever accessed through atomics.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(index)) }
    }

    #[cold]
    fn reserve(&self, index: usize) -> std::result::Result<(), NoRoom> {
        let page = index / PAGE;
        let from = page * PAGE;
        let words = PAGE.min(self.len() - from);
        let mut done = fallocate(&self.file, FallocateFlags::empty(), from as u64 * 8, words as u64 * 8);
        while done == Err(Errno::INTR) {
            done = fallocate(&self.file, FallocateFlags::empty(), from as u64 * 8, words as u64 * 8);
        }
        match done {
            // A file system without this gives room as it is used, and nobody can know before.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.reserved[page / 64].fetch_or(1 << (page % 64), Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                let folder = self.path.parent().and_then(Path::parent).unwrap_or(&self.path);
                Err(NoRoom(format!(
                    "there is no room for the account {}: {}; make room in {}, or run fewer roles or fewer \
                     messages",
                    self.path.display(),
                    std::io::Error::from(error),
                    folder.display()
                )))
            }
        }
    }

    /// Words as they are now, for a reader: words without a page of their own are zero, and
    /// get none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(in crate::measure) fn read(&self, from: usize, words: usize) -> std::io::Result<Vec<u64>> {
        let mut bytes = vec![0; words * 8];
        self.file.read_exact_at(&mut bytes, from as u64 * 8)?;
        Ok(bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
            .collect())
    }

    /// Words from `from` up to `to`, block by block. What cannot be read is zero.
    pub(in crate::measure) fn iter(&self, from: usize, to: usize) -> impl Iterator<Item = u64> + '_ {
        (from..to).step_by(BLOCK).flat_map(move |at| {
            let words = BLOCK.min(to - at);
            self.read(at, words).unwrap_or_else(|_| vec![0; words])
        })
    }

    pub(in crate::measure) fn len(&self) -> usize {
        self.map.len() / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(dir: &Path, words: usize) -> Words {
        Words::map(&dir.join("words"), words).expect("a file")
    }

    fn pages(words: &Words) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        words.file.metadata().expect("the file").blocks() * 512 / 4096
    }

    #[test]
    fn only_what_is_written_takes_room() {
        let dir = crate::measure::account::new_dir().expect("a folder");
        let words = words(dir.path(), 1 << 24);
        let before = pages(&words);
        words.at(5 * PAGE + 3).store(7, Ordering::Relaxed);
        assert_eq!(words.iter(0, 40 * PAGE).sum::<u64>(), 7);
        assert!(pages(&words) <= before + 1, "{} pages", pages(&words));
    }

    #[test]
    fn what_one_writes_another_reads() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mine, theirs) = (words(dir.path(), 3 * BLOCK), words(dir.path(), 3 * BLOCK));
        for index in [0, PAGE - 1, PAGE, BLOCK - 1, BLOCK, 3 * BLOCK - 1] {
            mine.at(index).store(index as u64 + 1, Ordering::Relaxed);
            assert_eq!(theirs.read(index, 1).expect("a word"), [index as u64 + 1]);
        }
        assert_eq!(theirs.iter(0, 3 * BLOCK).filter(|word| *word != 0).count(), 6);
    }

    #[test]
    fn a_file_that_may_not_grow_unwinds_its_writer_with_the_reason() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut words = words(dir.path(), 4 * PAGE);
        // As where there is no room: a file that was opened for reading cannot get pages.
        words.file = File::open(&words.path).expect("the file");
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            words.at(0).load(Ordering::Relaxed);
        }));
        let payload = unwound.expect_err("it was reserved");
        let why = NoRoom::of(payload.as_ref()).expect("the reason");
        assert!(why.contains("no room for the account") && why.contains("words"), "{why}");
    }
}
