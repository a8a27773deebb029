//! How a file of a result set is written: as a whole, or not at all.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

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

/// JSON as it stands in a file of a result set.
pub(super) fn pretty<T: Serialize>(value: &T) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
