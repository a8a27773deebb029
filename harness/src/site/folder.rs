//! The folder of the pages: written beside its place, and put there as a whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::results::write_file;

/// The file that says that a folder was written by `lab site`, and may be replaced.
pub const MARK: &str = ".lab-site";

/// The pages being written.
pub(super) struct Folder {
    out: PathBuf,
    made: TempDir,
}

impl Folder {
    /// Begins; what is at `out` stays until [`Self::finish`].
    pub(super) fn create(out: &Path) -> Result<Self> {
        if fs::symlink_metadata(out).is_ok() {
            let empty = fs::read_dir(out)
                .with_context(|| format!("{} is no folder", out.display()))?
                .next()
                .is_none();
            if !empty && !out.join(MARK).is_file() {
                bail!(
                    "{} has something in it that are no pages of results; give another --out, or remove it",
                    out.display()
                );
            }
        }
        let above = out.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(above).with_context(|| format!("cannot create {}", above.display()))?;
        let made = tempfile::Builder::new()
            .prefix(".lab-site-")
            .tempdir_in(above)
            .with_context(|| format!("cannot write into {}", above.display()))?;
        let folder = Self { out: out.to_owned(), made };
        folder.write(MARK, "These pages are replaced as a whole when they are written again.\n")?;
        Ok(folder)
    }

    /// Writes a file; `name` may have folders in front.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.made.path().join(name);
        let (folder, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
        let (Some(folder), Some(name)) = (folder, name) else {
            bail!("{} is no file's name", path.display())
        };
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        write_file(folder, name, content)
    }

    /// The folder that `name` is in while it is written.
    pub(super) fn below(&self, name: &Path) -> Result<PathBuf> {
        let path = self.made.path().join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Puts everything in its place. What was there is removed last.
    pub(super) fn finish(self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        // A temporary folder is its maker's alone, and pages are for all.
        fs::set_permissions(self.made.path(), fs::Permissions::from_mode(0o755))?;
        let old = TempDir::with_prefix_in(".lab-site-", self.made.path().parent().unwrap_or(Path::new(".")))?;
        let context = || format!("cannot replace {}", self.out.display());
        if self.out.exists() {
            fs::rename(&self.out, old.path().join("old")).with_context(context)?;
        }
        fs::rename(self.made.keep(), &self.out).with_context(context)
    }
}
