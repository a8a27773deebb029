//! What a student has handed in: a folder, an archive (zip, tar, tar.gz) or one file, copied into a
//! folder of our own. Nothing outside of it is read, and nothing outside of the copy is written.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use labs::printable::printable;
use sha2::{Digest as _, Sha256};

use super::roster::Student;
use crate::course::exercise::Exercise;
use crate::course::workspace::{Language, Workspace};

/// Most bytes of a submission, unpacked.
pub(crate) const LARGEST: u64 = 64 << 20;
/// Most files and folders of a submission.
const MOST: usize = 5_000;
/// How deep its folders may be.
const DEEPEST: usize = 16;
/// How an archive's name ends.
const ARCHIVES: [&str; 4] = [".tar.gz", ".tgz", ".tar", ".zip"];

/// The name of an entry without what says how it is packed or written.
pub(crate) fn stem(entry: &str) -> &str {
    let endings = ARCHIVES.into_iter().chain([".py", ".rs", ".mjs"]);
    endings.into_iter().find_map(|ending| entry.strip_suffix(ending)).unwrap_or(entry)
}

/// The entry of a student in the folder of submissions; `None` when there is none.
///
/// # Errors
/// When there are two.
pub(crate) fn entry<'a>(student: &Student, entries: &'a [String]) -> Result<Option<&'a String>> {
    let is_theirs = |entry: &&String| match &student.submission {
        Some(named) => *entry == named,
        None => stem(entry) == student.id,
    };
    let theirs: Vec<&String> = entries.iter().filter(is_theirs).collect();
    match theirs[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        [first, second, ..] => bail!(
            "there are two submissions, `{}` and `{}`; remove one, or name one in the roster's column `submission`",
            printable(first),
            printable(second)
        ),
    }
}

/// What was handed in, in a folder of our own.
#[derive(Debug)]
pub(crate) struct Submission {
    folder: PathBuf,
    /// SHA-256 of the names and contents of all files, hexadecimal.
    pub(crate) digest: String,
}

/// Copies or unpacks what is at `from` into the empty folder `to`.
///
/// # Errors
/// When it is a link, empty, too large, or would write outside of its folder: with a sentence for the
/// student.
pub(crate) fn take(from: &Path, to: &Path) -> Result<Submission> {
    let about = from.symlink_metadata().context("it cannot be read")?;
    if about.file_type().is_symlink() {
        bail!("it is a symbolic link; hand in the files themselves");
    }
    let mut room = Room { bytes: LARGEST, entries: MOST };
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if about.is_dir() {
        copy(from, to, &mut room, 0)?;
    } else if name.ends_with(".zip") {
        unzip(from, to, &mut room)?;
    } else if name.ends_with(".tar") {
        untar(File::open(from)?, to, &mut room)?;
    } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        untar(flate2::read::GzDecoder::new(File::open(from)?), to, &mut room)?;
    } else {
        room.keep(&mut File::open(from)?, &to.join(&name), about.permissions().mode())?;
    }
    let digest = digest(to)?;
    Ok(Submission { folder: to.to_owned(), digest })
}

/// What may still be taken.
struct Room {
    bytes: u64,
    entries: usize,
}

impl Room {
    fn entry(&mut self) -> Result<()> {
        self.entries = self
            .entries
            .checked_sub(1)
            .with_context(|| format!("it has more than {MOST} files; hand in only the program"))?;
        Ok(())
    }

    /// Writes a file, as long as there is room. An archive may say another size than it has.
    fn keep(&mut self, from: &mut impl io::Read, to: &Path, mode: u32) -> Result<()> {
        self.entry()?;
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create_new(to).with_context(|| format!("it has {} twice", shown(to)))?;
        let written = io::copy(&mut from.take(self.bytes + 1), &mut file).context("it cannot be read")?;
        if written > self.bytes {
            bail!("it is larger than {} MiB; hand in only the program", LARGEST >> 20);
        }
        self.bytes -= written;
        // Readable by us, and executable where it was; nothing else.
        let execute = if mode & 0o100 == 0 { 0o600 } else { 0o700 };
        fs::set_permissions(to, fs::Permissions::from_mode(execute))?;
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    format!("`{}`", printable(&name))
}

fn copy(from: &Path, to: &Path, room: &mut Room, depth: usize) -> Result<()> {
    if depth > DEEPEST {
        bail!("its folders are more than {DEEPEST} deep");
    }
    for entry in fs::read_dir(from).context("it cannot be read")? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            room.entry()?;
            fs::create_dir_all(&to)?;
            copy(&path, &to, room, depth + 1)?;
        } else if kind.is_file() {
            room.keep(&mut File::open(&path)?, &to, entry.metadata()?.permissions().mode())?;
        } else {
            bail!("{} in it is a link or a device; hand in the files themselves", shown(&path));
        }
    }
    Ok(())
}

/// The place of an entry of an archive, below `to`.
fn place(name: &Path, to: &Path) -> Result<PathBuf> {
    let mut depth = 0;
    for part in name.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            _ => bail!(
                "its entry `{}` is outside of it; pack the folder again, without absolute paths and `..`",
                printable(&name.to_string_lossy())
            ),
        }
    }
    if depth > DEEPEST {
        bail!("its folders are more than {DEEPEST} deep");
    }
    Ok(to.join(name))
}

fn untar(from: impl io::Read, to: &Path, room: &mut Room) -> Result<()> {
    // What a stream unpacks to may be much larger than it is, also in entries that are left out.
    let mut archive = tar::Archive::new(from.take(LARGEST + (MOST as u64) * 2048));
    for entry in archive.entries().context("it is no tar archive")? {
        let mut entry = entry.context("it is no tar archive, or larger than is taken")?;
        let name = entry.path().context("a name in it cannot be read")?.into_owned();
        let to = place(&name, to)?;
        let kind = entry.header().entry_type();
        let mode = entry.header().mode().unwrap_or(0o644);
        match kind {
            tar::EntryType::Directory => {
                room.entry()?;
                fs::create_dir_all(&to)?;
            }
            tar::EntryType::Regular | tar::EntryType::Continuous => room.keep(&mut entry, &to, mode)?,
            tar::EntryType::XGlobalHeader => {}
            _ => bail!("{} in it is a link or a device; hand in the files themselves", shown(&name)),
        }
    }
    Ok(())
}

#[cfg(feature = "wheels")]
fn unzip(from: &Path, to: &Path, room: &mut Room) -> Result<()> {
    let file = File::open(from).context("it cannot be read")?;
    let mut archive = zip::ZipArchive::new(file).context("it is no zip archive")?;
    for number in 0..archive.len() {
        let mut entry = archive.by_index(number).context("an entry of it cannot be read")?;
        let name = entry.name().context("a name in it cannot be read")?.into_owned();
        let to = place(Path::new(&name), to)?;
        let mode = entry.unix_mode().unwrap_or(0o644);
        // The kind of a file in the mode of Unix: link, pipe, device.
        let kind = mode & 0o170_000;
        if entry.is_dir() {
            room.entry()?;
            fs::create_dir_all(&to)?;
        } else if kind == 0 || kind == 0o100_000 {
            room.keep(&mut entry, &to, mode)?;
        } else {
            bail!("{} in it is a link or a device; hand in the files themselves", shown(&to));
        }
    }
    Ok(())
}

#[cfg(not(feature = "wheels"))]
fn unzip(_: &Path, _: &Path, _: &mut Room) -> Result<()> {
    bail!("this build of `lab` reads no zip archives; build it with `--features redis`")
}

/// All files below a folder, sorted by name.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            files(&entry, found)?;
        } else {
            found.push(entry);
        }
    }
    Ok(())
}

fn digest(folder: &Path) -> Result<String> {
    let mut all = Vec::new();
    files(folder, &mut all)?;
    if all.is_empty() {
        bail!("it is empty");
    }
    let mut digest = Sha256::new();
    for file in all {
        let name = file.strip_prefix(folder).unwrap_or(&file).as_os_str().as_encoded_bytes().to_vec();
        let text = fs::read(&file)?;
        for part in [name, text] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The program of an exercise in a submission, ready to be checked.
#[derive(Debug)]
pub(crate) enum Program {
    /// In a student's folder as `lab check --dir` takes it.
    In { folder: PathBuf, language: Language },
    /// Any executable.
    File(PathBuf),
}

impl Program {
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::In { language, .. } => language.name().to_owned(),
            Self::File(file) => file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

impl Submission {
    /// Looks for the program of an exercise: `NAME.py`, `NAME.rs`, `NAME.mjs` or an executable `NAME`,
    /// in any folder of the submission. Builds a student's folder for it at `to`, with what lies
    /// beside it and the helpers of the course. A project file of Rust is always ours: it decides what
    /// a build runs.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub(crate) fn program(&self, exercise: &Exercise, to: &Path) -> Result<Program> {
        let mut all = Vec::new();
        files(&self.folder, &mut all)?;
        // A single file may have the student's name.
        let alone = if all.len() == 1 { all.first() } else { None };
        let mut found: Vec<(Option<Language>, &PathBuf)> = Vec::new();
        for file in &all {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let language = Language::of(file);
            let named = match language {
                Some(_) => file.file_stem().is_some_and(|stem| stem == exercise.name) || alone.is_some(),
                None => name == exercise.name && is_executable(file),
            };
            let kept = file
                .components()
                .any(|part| ["target", "node_modules"].map(AsRef::as_ref).contains(&part.as_os_str()));
            if named && !kept {
                found.push((language, file));
            }
        }
        let (language, file) = match found[..] {
            [] => bail!(
                "there is no program for {0} in it: no file {0}.py, {0}.rs or {0}.mjs, and no executable {0}",
                exercise.name
            ),
            [one] => one,
            [(_, first), (_, second), ..] => bail!(
                "there are two programs for {} in it, `{}` and `{}`; hand in one",
                exercise.name,
                printable(&self.name(first)),
                printable(&self.name(second))
            ),
        };
        let Some(language) = language else { return Ok(Program::File(file.clone())) };
        let workspace = Workspace::at(to);
        let place = workspace.file(exercise, language);
        let beside = file.parent().unwrap_or(&self.folder);
        let mut room = Room { bytes: LARGEST, entries: MOST };
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
            copy(beside, folder, &mut room, 0)?;
        }
        if language == Language::Rust && beside.ends_with("src/bin") {
            // The library of the course, as the student has it.
            if let (Some(from), Some(to)) = (beside.parent(), place.parent().and_then(Path::parent)) {
                for name in ["lib.rs", "control.rs", "json.rs"] {
                    if from.join(name).is_file() {
                        fs::copy(from.join(name), to.join(name))?;
                    }
                }
            }
        }
        let text =
            fs::read_to_string(file).with_context(|| format!("{} is not text in UTF-8", shown(file)))?;
        workspace.put(exercise, language, &text)?;
        Ok(Program::In { folder: to.to_owned(), language })
    }

    fn name(&self, file: &Path) -> String {
        file.strip_prefix(&self.folder).unwrap_or(file).display().to_string()
    }
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o100 != 0)
}

#[cfg(all(test, feature = "wheels"))]
mod tests;
