//! How a file of a result set is written: as a whole, or not at all.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Reads a file that may come from anybody: a regular one, and no more than `most` bytes; `None`
/// where there is none.
///
/// # Errors
/// When it is something else, is too large or cannot be read; it is named.
pub fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let too_large = |size: u64| {
        format!("{} is refused: it has {size} bytes, and at most {most} are read", path.display())
    };
    let size = file.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(size <= most, too_large(size));
    let mut content = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut content)
        .with_context(|| format!("cannot read {}", path.display()))?;
    // It may grow meanwhile.
    ensure!(content.len() as u64 <= most, too_large(content.len() as u64));
    Ok(Some(content))
}

/// The same as text.
///
/// # Errors
/// As [`read`]; and when it is missing or not text.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    let content = read(path, most)?.with_context(|| format!("there is no {}", path.display()))?;
    String::from_utf8(content).with_context(|| format!("{} is not text", path.display()))
}

/// Opens a regular file for reading. A pipe would keep its reader waiting for ever, and a device
/// may never end.
pub(super) fn open(path: &Path) -> Result<Option<fs::File>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let kind = file.metadata().with_context(|| format!("cannot read {}", path.display()))?.file_type();
    ensure!(kind.is_file(), "{} is refused: it is not a regular file", path.display());
    Ok(Some(file))
}

/// The largest plan file, bytes: a plan is a page of text, and what is read takes up to 90 times the
/// room of a file that consists of nothing but empty tables.
pub const MOST_PLAN: u64 = 64 << 10;
/// The largest record of a comparison, of views or of an agreement, bytes.
pub const MOST_RECORD: u64 = 256 << 20;

/// How the names of files begin that are being written.
pub(super) const UNFINISHED: &str = ".unfinished-";

/// Writes a file beside the one of this name first, then over it.
pub(super) fn replace(path: &Path, content: impl FnOnce(&mut fs::File) -> Result<()>) -> Result<()> {
    let attempt = || -> Result<()> {
        let parent = path.parent().context("a file without a folder")?;
        fs::create_dir_all(parent)?;
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(parent)?;
        content(file.as_file_mut())?;
        file.as_file().sync_all()?;
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    attempt().map_err(|error| match error.is::<io::Error>() {
        true => error.context(format!(
            "cannot write {}; free some space (or mend its permissions) and go on with --resume",
            path.display()
        )),
        false => error,
    })
}
