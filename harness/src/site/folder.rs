//! The folder of the pages: written beside its place, and put there as a whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::hint;
use crate::results::write_file;

/// The file that says that a folder was written by `lab site`, and what is in it: these files may be
/// replaced, and nothing else.
pub const MARK: &str = ".lab-site";

/// The first line of that file.
const SAYS: &str = "These files are replaced as a whole when the pages are written again:";

/// The pages being written.
pub(super) struct Folder {
    out: PathBuf,
    made: TempDir,
}

impl Folder {
    /// Begins; what is at `out` stays until [`Self::finish`].
    pub(super) fn create(out: &Path) -> Result<Self> {
        match fs::symlink_metadata(out) {
            Ok(found) if found.is_dir() => {
                if let Some(foreign) = foreign(out)? {
                    bail!(
                        "{} has something in it that `{}` did not write: {}; give another --out, or remove it",
                        out.display(),
                        hint::command(&["site"]),
                        foreign.display()
                    );
                }
            }
            Ok(found) if found.is_symlink() => {
                bail!("{} is a link: give the folder that it leads to, or another --out", out.display())
            }
            Ok(_) => bail!("{} is a file: give a folder as --out", out.display()),
            Err(_) => {}
        }
        let above = out.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(above).with_context(|| format!("cannot create {}", above.display()))?;
        let made = tempfile::Builder::new()
            .prefix(".lab-site-")
            .tempdir_in(above)
            .with_context(|| format!("cannot write into {}", above.display()))?;
        Ok(Self { out: out.to_owned(), made })
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
        let names: Vec<String> =
            files(self.made.path())?.iter().map(|name| name.display().to_string()).collect();
        write_file(self.made.path(), MARK, &format!("{SAYS}\n{}\n", names.join("\n")))?;
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

/// A file in the folder, however deep, that was not written here; nothing where there is none.
fn foreign(folder: &Path) -> Result<Option<PathBuf>> {
    let known: BTreeSet<PathBuf> = match fs::read_to_string(folder.join(MARK)) {
        Ok(text) if text.starts_with(SAYS) => text.lines().skip(1).chain([MARK]).map(PathBuf::from).collect(),
        _ => BTreeSet::new(),
    };
    Ok(files(folder)?.into_iter().find(|name| !known.contains(name)))
}

/// All files below a folder, links among them, by their way from there.
fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![PathBuf::new()]);
    while let Some(below) = folders.pop() {
        let place = folder.join(&below);
        let cannot = || format!("cannot read {}", place.display());
        for entry in fs::read_dir(&place).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let name = below.join(entry.file_name());
            if entry.file_type().with_context(cannot)?.is_dir() {
                folders.push(name);
            } else {
                found.insert(name);
            }
        }
    }
    Ok(found)
}
