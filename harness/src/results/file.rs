//! How a file of a result set is written: as a whole, or not at all.

use std::fs;
use std::io::{self, Read as _, Write as _};
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

/// What to do when a file of a result set can be written again.
pub(super) const GO_ON: &str = ", and go on with --resume";

/// How the names of files begin that are being written.
pub(super) const UNFINISHED: &str = ".unfinished-";

/// Writes a file beside the one of this name first, then over it. `then` is what to do after what kept
/// it from being written has been mended; it may be empty.
pub(super) fn replace(
    path: &Path,
    then: &str,
    content: impl FnOnce(&mut fs::File) -> Result<()>,
) -> Result<()> {
    let attempt = || -> Result<()> {
        let parent = path.parent().context("a file without a folder")?;
        fs::create_dir_all(parent)?;
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(parent)?;
        content(file.as_file_mut())?;
        file.as_file().sync_all()?;
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(|error| match error.downcast_ref::<io::Error>().map(remedy) {
        Some(remedy) => error.context(format!("cannot write {}; {remedy}{then}", path.display())),
        None => error,
    })
}

/// What a user can do about it.
fn remedy(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => "free some space",
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => "mend its permissions, or choose another place",
        Kind::NotADirectory | Kind::IsADirectory => "choose a name that is no folder, in a folder",
        _ => "choose another place, or mend this one",
    }
}

/// Writes the file that a user named. A regular file is replaced as a whole, also where a link leads to
/// it; a pipe or a device is written to, for nobody wants it replaced.
///
/// # Errors
/// When it cannot be written, or would be a file of a result set: these are written by the programs that
/// measure, and by nobody else.
pub fn write_named(path: &Path, content: &str) -> Result<()> {
    let named = || format!("cannot write {}", path.display());
    let name = path.file_name().with_context(named)?;
    refuse_in_a_result_set(path)?;
    let Ok(found) = fs::metadata(path) else {
        ensure!(!path.is_symlink(), "{} is a link that leads nowhere; give another name", path.display());
        return replace(&folder(path).join(name), "", |file| Ok(file.write_all(content.as_bytes())?));
    };
    ensure!(!found.is_dir(), "{} is a folder: name a file in it", path.display());
    if found.is_file() {
        let path = path.canonicalize().with_context(named)?;
        refuse_in_a_result_set(&path)?;
        return replace(&path, "", |file| Ok(file.write_all(content.as_bytes())?));
    }
    let mut file = fs::OpenOptions::new().write(true).open(path).with_context(named)?;
    file.write_all(content.as_bytes()).with_context(named)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The files that are read from a result set, of which each but the archive begins with its [`SCHEMA_KEY`].
const OF_A_RESULT_SET: [&str; 4] = [super::RUN, super::FAULTS, super::SCENARIOS, super::ARCHIVE];
const SCHEMA_KEY: &str = "{\"schema\":";

/// A name that is read from result sets is refused where there is one, and is a name like any other
/// elsewhere.
fn refuse_in_a_result_set(path: &Path) -> Result<()> {
    let read_as_one = OF_A_RESULT_SET.iter().any(|name| path.file_name().is_some_and(|own| own == *name));
    ensure!(
        !read_as_one || !OF_A_RESULT_SET.iter().any(|name| begins_as_one(&folder(path).join(name))),
        "{} is refused: it would be read as part of the result set in this folder; give another name or folder",
        path.display()
    );
    Ok(())
}

/// Whether a file begins as those of a result set do.
fn begins_as_one(path: &Path) -> bool {
    let mut start = [0; 64];
    let read = open(path).ok().flatten().map_or(0, |mut file| file.read(&mut start).unwrap_or(0));
    let start = start[..read].iter().filter(|byte| !byte.is_ascii_whitespace());
    start.copied().take(SCHEMA_KEY.len()).eq(SCHEMA_KEY.bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, symlink};

    use super::*;

    #[test]
    fn a_named_file_is_replaced_and_what_is_none_is_left_as_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        let read = |name: &str| fs::read_to_string(at(name)).expect("it was written");
        write_named(&at("new/table.csv"), "1").expect("a new one, in a new folder");
        write_named(&at("new/table.csv"), "2").expect("again");
        assert_eq!(read("new/table.csv"), "2");

        // A link stays one, and the file it leads to is replaced.
        symlink(at("new/table.csv"), at("link")).expect("a link");
        write_named(&at("link"), "3").expect("through a link");
        assert!(at("link").is_symlink() && read("new/table.csv") == "3");

        // A pipe stays one, and its reader reads.
        let pipe = at("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = String::new();
                fs::File::open(pipe).and_then(|mut file| file.read_to_string(&mut text)).map(|_| text)
            }
        });
        write_named(&pipe, "4").expect("into a pipe");
        assert_eq!(reader.join().expect("it ends").expect("it reads"), "4");
        assert!(fs::metadata(&pipe).expect("it is there").file_type().is_fifo());

        // Names of result sets are names like any others where there is no result set, also twice.
        for _ in 0..2 {
            write_named(&at("new/run.json"), "{\"resourceSpans\":[]}").expect("no result set");
        }
        fs::remove_file(at("new/run.json")).expect("it was there");
        // Here is one: of runs under faults, which has no figures of its own.
        let set = "{\n  \"schema\": 1,\n  \"runs\": []\n}";
        fs::create_dir(at("set")).and_then(|()| fs::write(at("set/faults.json"), set)).expect("a set");
        symlink(at("set/faults.json"), at("to-faults.json")).expect("a link");
        symlink(at("nowhere"), at("dangling")).expect("a link");
        for (name, why) in [
            ("new", "is a folder"),
            ("set/faults.json", "part of the result set"),
            ("set/run.json", "part of the result set"),
            ("set/raw.tar", "part of the result set"),
            ("to-faults.json", "part of the result set"),
            ("dangling", "leads nowhere"),
        ] {
            let error = format!("{:#}", write_named(&at(name), "5").expect_err("refused"));
            assert!(error.contains(why) && error.contains(name.trim_start_matches("to-")), "{error}");
        }
        assert!(read("set/faults.json") == set && at("dangling").is_symlink());
        let error = format!("{:#}", write_named(&at("new/table.csv/x"), "6").expect_err("refused"));
        assert!(error.contains("table.csv/x") && !error.contains("resume"), "{error}");
        let left = fs::read_dir(at("new")).expect("a folder").count();
        assert_eq!(left, 1, "something unfinished was left behind");
    }
}
