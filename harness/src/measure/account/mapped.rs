//! Words in a memory-mapped file: what was written is in the page cache and
//! outlives kill -9 of its writer.
#![expect(
    unsafe_code,
    reason = "memory-mapped files: each mapping is private to this module and bounds-checked here"
)]

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, Result};
use memmap2::{MmapOptions, MmapRaw};

/// 64-bit words in a mapped file. Each file has one writer.
pub(in crate::measure) struct Words(MmapRaw);

impl Words {
    /// `path` is created sparse and zeroed if it is not there.
    pub(in crate::measure) fn map(path: &Path, words: usize) -> Result<Self> {
        let attempt = || -> std::io::Result<MmapRaw> {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let len = words as u64 * 8;
            if file.metadata()?.len() < len {
                file.set_len(len)?;
            }
            MmapOptions::new().len(words * 8).map_raw(&file)
        };
        Ok(Self(attempt().with_context(|| format!("cannot map the account {}", path.display()))?))
    }

    #[inline]
    pub(in crate::measure) fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.0.len() / 8, "account index out of bounds");
        // SAFETY: in bounds by the assertion; the mapping is page-aligned, lives
        // as long as `self`, and is only ever accessed through atomics.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().cast::<u64>().add(index)) }
    }

    pub(in crate::measure) fn len(&self) -> usize {
        self.0.len() / 8
    }
}
