//! Each role's account of its messages, in small memory-mapped files, so that
//! it outlives kill -9 of the role: what was written is in the page cache.
//!
//! Three kinds of file: [`Counters`], read by others while the run goes on. A
//! [`Bitmap`] for each producer's messages that were received, confirmed or
//! refused: its file is sparse, so only what is touched takes memory. The
//! [`Times`] of a pipeline's messages. A trial that is recorded message by message
//! has a fourth, [`super::trace`]. Every file has one writer, so plain loads and
//! stores are enough.

mod counters;
mod hops;
mod limits;
pub(crate) mod mapped;
mod message_set;
mod mirror;

use std::path::Path;

use anyhow::{Context as _, Result};

pub use counters::{Counter, Counters};
pub use hops::{Collected, Journey, Times, Worked, journeys};
pub use limits::{MAX_MESSAGES, MAX_PRODUCERS};
pub use message_set::{Bitmap, Fate, Set, fate};
pub use mirror::{Mirror, Page, Which, is_counters};

use crate::process::guard;

/// Where accounts are kept: in memory where there is a RAM disk, so that
/// measuring writes to no disk.
pub fn new_dir() -> Result<tempfile::TempDir> {
    let prefix = guard::shared_prefix();
    let named = |dir: &Path| tempfile::Builder::new().prefix(&prefix).tempdir_in(dir);
    let dir = named(Path::new(guard::SHARED))
        .or_else(|_| named(&std::env::temp_dir()))
        .context("cannot make a folder for the accounts, neither in /dev/shm nor in the temporary folder")?;
    guard::belongs_to_session(dir.path());
    Ok(dir)
}
