//! A result set on disk: files that are each replaced as a whole, and raw data that is loose
//! while a run goes on and packed when it is over.

mod pack;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::archive::{ARCHIVE, Archive, FOLDER, is_plain};
use super::file::{GO_ON, MOST_RECORD, read_text, replace};
use super::json::pretty;
use super::model::Run;
use super::private;
use super::schema::SCHEMA;
use super::trial::Raw;

/// The record of a run, in its folder.
pub const RUN: &str = "run.json";
/// The largest recording of a trial: interval series and histograms of a day have less.
const MOST_RECORDING: u64 = 64 << 20;
/// The largest file of raw data. A trial message by message may have hundreds of megabytes.
const MOST_RAW: u64 = 1 << 30;

/// Held by the one process that writes to a result set.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "dropping the file gives up the lock")] fs::File);

/// A result set on disk.
#[derive(Debug)]
pub struct ResultSet {
    dir: PathBuf,
    /// Opened when raw data is first read that is not loose.
    archive: OnceCell<Option<Archive>>,
}

impl Lock {
    /// Keeps other runs from writing to this folder of results, until the lock is dropped; also a
    /// killed process gives it up.
    ///
    /// # Errors
    /// When another process has it, or there is no such folder; it is named.
    pub fn of(dir: &Path) -> Result<Self> {
        let folder = fs::File::open(dir).with_context(|| format!("cannot open {}", dir.display()))?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(folder)),
            Err(Errno::WOULDBLOCK) => {
                bail!("another `lab` is writing to {} now; wait for it, or give another --out", dir.display())
            }
            // A file system without locks: nothing is gained by refusing to work there.
            Err(_) => Ok(Self(folder)),
        }
    }
}

impl ResultSet {
    fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), archive: OnceCell::new() }
    }

    /// Makes the folder for a new result set; refuses one that has something in it.
    pub fn create(dir: &Path) -> Result<Self> {
        if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!(
                "{} exists and is not empty; choose another --out, or continue it with --resume",
                dir.display()
            );
        }
        private::create(dir)?;
        fs::create_dir_all(dir.join(FOLDER))
            .with_context(|| format!("cannot create {}", dir.join(FOLDER).display()))?;
        Ok(Self::at(dir))
    }

    /// As [`Lock::of`].
    pub fn lock(&self) -> Result<Lock> {
        Lock::of(&self.dir)
    }

    /// Opens a result set that exists and reads its run.
    pub fn open(dir: &Path) -> Result<(Self, Run)> {
        let path = dir.join(RUN);
        if let Some(inside) = inside(dir).filter(|_| !path.exists()) {
            bail!(
                "{} is not a result set, but has some in it: name one, as in {}",
                dir.display(),
                inside.display()
            );
        }
        let text = read_text(&path, MOST_RECORD).with_context(|| {
            format!("{} is not a result set: cannot read {}", dir.display(), path.display())
        })?;
        Ok((Self::at(dir), read(&text, &path)?))
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Replaces `run.json` atomically.
    pub fn save(&self, run: &Run) -> Result<()> {
        self.write(RUN, &pretty(run)?)
    }

    /// Writes one trial's raw recording.
    pub fn save_raw(&self, cell: &str, trial: usize, raw: &Raw) -> Result<()> {
        self.save_loose(&recording(cell, trial), &pretty(raw)?)
    }

    /// Writes a file of raw data, to be packed when the run is over.
    pub fn save_loose(&self, name: &str, content: &str) -> Result<()> {
        ensure!(is_plain(name), "{name:?} cannot be the name of a file of {FOLDER}/");
        self.write(&format!("{FOLDER}/{name}"), content)
    }

    /// Reads one trial's raw recording.
    pub fn raw(&self, cell: &str, trial: usize) -> Result<Raw> {
        let name = recording(cell, trial);
        let content = self.load(&name, MOST_RECORDING)?;
        serde_json::from_slice(&content)
            .with_context(|| format!("the recording {FOLDER}/{name} of {} is damaged", self.dir.display()))
    }

    /// Reads a file of raw data, loose or packed.
    pub fn read_raw(&self, name: &str) -> Result<Vec<u8>> {
        self.load(name, MOST_RAW)
    }

    /// A loose file is the newer one: it is what a resumed run has made again.
    fn load(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        ensure!(is_plain(name), "{name:?} cannot be the name of a file of {FOLDER}/");
        let path = self.dir.join(FOLDER).join(name);
        if let Some(loose) = super::file::read(&path, most)? {
            return Ok(loose);
        }
        let packed = match self.archive()? {
            Some(archive) => archive.read(name, most)?,
            None => None,
        };
        packed.with_context(|| format!("there is no {}, and no {ARCHIVE} that has it", path.display()))
    }

    fn archive(&self) -> Result<Option<&Archive>> {
        if let Some(known) = self.archive.get() {
            return Ok(known.as_ref());
        }
        let opened = Archive::open(&self.dir)?;
        Ok(self.archive.get_or_init(|| opened).as_ref())
    }

    /// Packs the raw data of a run that is over; whether there was any to pack. Whatever ends this,
    /// each file is loose or packed afterwards, and a second call goes on.
    ///
    /// # Errors
    /// When the archive cannot be written, or one that is there is damaged. The loose files stay.
    pub fn pack(&mut self) -> Result<bool> {
        let packed = pack::pack(&self.dir)?;
        self.archive = OnceCell::new();
        Ok(packed)
    }

    /// Writes a file of the result set: beside it first, then moved over the old one,
    /// so that a crash or a full disk leaves the old one whole.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = Path::new(name);
        let inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        ensure!(inside, "{name:?} leads out of {}", self.dir.display());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let folder = self.dir.join(folder);
            ensure!(!folder.is_symlink(), "{} is refused: it is a link to another folder", folder.display());
        }
        replace(&self.dir.join(name), GO_ON, |file| Ok(file.write_all(content.as_bytes())?))
    }
}

/// The file of a trial's recording in `raw/`.
fn recording(cell: &str, trial: usize) -> String {
    format!("{cell}.{trial}.json")
}

/// The run in a `run.json`; `path` is for messages.
/// The last by name, which begins with the date, of the result sets in a folder.
fn inside(dir: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    folders.filter(|folder| folder.join(RUN).is_file()).max()
}

fn read(text: &str, path: &Path) -> Result<Run> {
    // The schema is looked at first: another version may not parse as this one.
    let value: serde_json::Value = serde_json::from_str(text).with_context(|| {
        format!(
            "{} is damaged: it is not valid JSON; copy it from where it was made, or run the benchmark again into a new --out",
            path.display()
        )
    })?;
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(found) if (1..=u64::from(SCHEMA)).contains(&found) => {}
        Some(found) => bail!(
            "{} has result schema {found}, and this program reads schemas up to {SCHEMA}; use the version of `lab` that wrote it",
            path.display()
        ),
        None => bail!("{} has no `schema` field: it is not a result of this program", path.display()),
    }
    let mut run: Run = serde_json::from_value(value)
        .with_context(|| format!("{} does not follow result schema {SCHEMA}", path.display()))?;
    names(&run).with_context(|| format!("{} is refused", path.display()))?;
    // What is written again is written in today's format.
    run.schema = SCHEMA;
    Ok(run)
}

/// Files are named after cases and trials: a name must not lead elsewhere, nor be there twice.
fn names(run: &Run) -> Result<()> {
    let mut known = BTreeSet::new();
    for cell in &run.cells {
        let id = &cell.id;
        ensure!(is_plain(&recording(id, 0)), "the case {id:?} cannot be the name of a file");
        ensure!(known.insert(id), "the case {id} is in it twice");
        let mut indexes = BTreeSet::new();
        for trial in &cell.trials {
            ensure!(indexes.insert(trial.index), "the case {id} has trial {} twice", trial.number());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_whose_name_leads_elsewhere_is_refused_by_name() {
        let seed = include_str!("../../../fuzz/seeds/run.json");
        let run = super::read(seed, Path::new("run.json")).expect("a run");
        let bad = ["../../x", "a/b", "/etc/passwd", "..", ".hidden", "", "a\u{0}b", "a\nb", "a\\b"];
        for id in bad.iter().map(|bad| (*bad).to_owned()).chain(["x".repeat(300)]) {
            let mut run = run.clone();
            run.cells[0].id.clone_from(&id);
            let error = super::read(&pretty(&run).expect("JSON"), Path::new("a/run.json")).expect_err(&id);
            let error = format!("{error:#}");
            assert!(error.contains("a/run.json") && error.contains(&format!("{id:?}")), "{error}");
        }
        let mut twice = run.clone();
        twice.cells.push(run.cells[0].clone());
        let error = super::read(&pretty(&twice).expect("JSON"), Path::new("run.json")).expect_err("twice");
        assert!(format!("{error:#}").contains("twice"), "{error:#}");
    }

    #[test]
    fn a_folder_of_result_sets_is_no_result_set() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["2026-01-30-a", "2026-01-31-a"] {
            fs::create_dir(dir.path().join(name)).expect("a folder");
            fs::write(dir.path().join(name).join(RUN), "{}").expect("a file");
        }
        fs::create_dir(dir.path().join("2026-02-01-empty")).expect("a folder");
        let error = ResultSet::open(dir.path()).expect_err("not one").to_string();
        assert!(error.contains("name one, as in") && error.ends_with("2026-01-31-a"), "{error}");
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let run = dir.path().join("run.json");
        let refused = |words: &str| {
            let error = format!("{:#}", ResultSet::open(dir.path()).expect_err(words));
            assert!(error.contains(words) && error.contains("run.json"), "{error}");
            std::fs::remove_file(&run).or_else(|_| std::fs::remove_dir(&run)).expect("removed");
        };
        rustix::fs::mknodat(rustix::fs::CWD, &run, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
        refused("not a regular file");
        std::fs::create_dir(&run).expect("a folder");
        refused("not a regular file");
        fs::File::create(&run).and_then(|file| file.set_len(MOST_RECORD + 1)).expect("a file with a hole");
        refused("at most");
        std::os::unix::fs::symlink("/dev/zero", &run).expect("a link");
        refused("not a regular file");
        let result_set = ResultSet::at(dir.path());
        fs::create_dir(dir.path().join(FOLDER)).expect("a folder");
        let loose = dir.path().join(FOLDER).join("case.0.json");
        fs::File::create(&loose).and_then(|file| file.set_len(1 << 30)).expect("a file with a hole");
        let error = format!("{:#}", result_set.raw("case", 0).expect_err("too large"));
        assert!(error.contains("case.0.json") && error.contains("1073741824 bytes"), "{error}");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join(ARCHIVE),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .expect("a pipe");
        let error = format!("{:#}", result_set.raw("other", 0).expect_err("a pipe"));
        assert!(error.contains(ARCHIVE) && error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn nothing_is_written_outside_of_the_folder() {
        let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
        std::os::unix::fs::symlink(other.path(), dir.path().join("plots")).expect("a link");
        let result_set = ResultSet::at(dir.path());
        for name in ["plots/x.svg", "../x.svg", "raw/../../x", "/tmp/x.svg"] {
            assert!(result_set.write(name, "x").is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(other.path()).expect("the folder").count(), 0);
        result_set.write("raw/x.json", "x").expect("a file inside");
    }

    #[test]
    fn fuzz_run_json() {
        let seed = include_bytes!("../../../fuzz/seeds/run.json");
        fuzz::Target::new("run_json").seed(seed).run(|input| {
            let (text, path) = (String::from_utf8_lossy(input), Path::new("run.json"));
            let Ok(run) = super::read(&text, path) else { return false };
            assert_eq!(super::read(&pretty(&run).expect("JSON"), path).expect("a run"), run);
            true
        });
    }

    #[test]
    fn fuzz_recordings() {
        let raw = Raw {
            response: "HISTFAAA".to_owned(),
            series: vec![super::super::Interval { received: 1, max_ns: 2, sum_ns: 3, offered: 4 }; 2],
            ..Raw::default()
        };
        fuzz::Target::new("recordings").seed(pretty(&raw).expect("JSON")).run(|input| {
            let Ok(raw) = serde_json::from_slice::<Raw>(input) else { return false };
            assert_eq!(serde_json::from_str::<Raw>(&pretty(&raw).expect("JSON")).expect("a recording"), raw);
            true
        });
    }
}
