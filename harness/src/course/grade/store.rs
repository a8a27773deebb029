//! Where marks are kept: a file with one line of JSON for each, written as soon as there is one. A
//! class that was interrupted goes on where it was.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::mark::{Mark, Scheme};

/// The file's name.
pub(crate) const MARKS: &str = "marks.jsonl";
/// The version of what is in it.
const VERSION: u32 = 1;

/// What a class is graded by. Marks compare only where it is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) version: u32,
    pub(crate) exercises: Vec<String>,
    pub(crate) seeds: Vec<u64>,
    pub(crate) scheme: Scheme,
}

impl Settings {
    pub(crate) const fn new(exercises: Vec<String>, seeds: Vec<u64>, scheme: Scheme) -> Self {
        Self { version: VERSION, exercises, seeds, scheme }
    }
}

/// The marks of a class.
pub(crate) struct Store {
    file: File,
    path: PathBuf,
    pub(crate) settings: Settings,
    marks: Vec<Mark>,
}

impl Store {
    /// Opens the marks in a folder, or begins new ones. Without `seeds`, those that were used before
    /// are used again.
    ///
    /// # Errors
    /// When the folder has marks that were given by other settings.
    pub(crate) fn open(folder: &Path, mut settings: Settings, seeds_given: bool) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(MARKS);
        let open = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let mut file = open.with_context(|| format!("cannot open {}", path.display()))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("{} is in use by another `lab grade`", path.display()))?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
        let mut lines = text.lines();
        let mut marks = Vec::new();
        match lines.next() {
            None => append(&mut file, &path, &settings)?,
            Some(first) => {
                let before: Settings = serde_json::from_str(first).with_context(|| {
                    format!("{} is no file of marks; give another folder with --out", path.display())
                })?;
                if !seeds_given && before.seeds.len() == settings.seeds.len() {
                    settings.seeds.clone_from(&before.seeds);
                }
                if before != settings {
                    bail!(
                        "{} has marks that were given by other settings ({}); give another folder with --out, or \
                         the same settings",
                        path.display(),
                        difference(&before, &settings)
                    );
                }
                // The last line may be half of one.
                marks.extend(lines.filter_map(|line| serde_json::from_str(line).ok()));
                if !text.ends_with('\n') {
                    file.write_all(b"\n").with_context(|| format!("cannot write {}", path.display()))?;
                }
            }
        }
        Ok(Self { file, path, settings, marks })
    }

    /// All marks, oldest first.
    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Keeps a mark.
    pub(crate) fn add(&mut self, mark: Mark) -> Result<()> {
        append(&mut self.file, &self.path, &mark)?;
        self.marks.push(mark);
        Ok(())
    }
}

/// The last of these marks for this student and exercise, where what was handed in is the same.
pub(crate) fn kept<'a>(marks: &'a [Mark], student: &str, exercise: &str, digest: &str) -> Option<&'a Mark> {
    let theirs = |mark: &&Mark| mark.student == student && mark.exercise == exercise;
    let last = marks.iter().rev().find(theirs)?;
    (last.outcome.is_final() && last.digest.as_deref() == Some(digest)).then_some(last)
}

/// Writes a line as a whole.
fn append(file: &mut File, path: &Path, line: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}; is the disk full?", path.display()))
}

fn difference(before: &Settings, now: &Settings) -> &'static str {
    if before.version != now.version {
        "another version of `lab`"
    } else if before.exercises != now.exercises {
        "other exercises"
    } else if before.seeds != now.seeds {
        "other seeds"
    } else {
        "other points, weights or hidden checks"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::course::exercises::ALL;
    use crate::course::grade::mark::Outcome;

    fn settings(seed: u64) -> Settings {
        let scheme = Scheme { points: 100.0, weights: BTreeMap::new(), hidden: BTreeSet::new() };
        Settings::new(vec![ALL[0].name.to_owned()], vec![seed], scheme)
    }

    fn mark(outcome: Outcome, digest: &str) -> Mark {
        let scheme = settings(1).scheme;
        let mark = Mark::none("ann", ALL[0], &scheme, outcome, "why".to_owned());
        Mark { digest: Some(digest.to_owned()), ..mark }
    }

    #[test]
    fn marks_are_kept_also_behind_half_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |seed| Store::open(folder.path(), settings(seed), false);
        let name = ALL[0].name;
        {
            let mut store = open(1).expect("a new one");
            store.add(mark(Outcome::Failed, "one")).expect("written");
            assert!(open(1).is_err(), "two at once");
        }
        let path = folder.path().join(MARKS);
        let mut file = OpenOptions::new().append(true).open(&path).expect("there");
        file.write_all(b"{\"student\":\"bo").expect("written");
        // Without a seed, the old one is used again.
        let mut store = open(2).expect("the same settings but for the seed");
        assert_eq!(store.settings.seeds, [1]);
        assert!(kept(store.marks(), "ann", name, "one").is_some());
        assert!(kept(store.marks(), "ann", name, "two").is_none(), "another submission");
        assert!(kept(store.marks(), "bob", name, "one").is_none());
        store.add(mark(Outcome::Unknown, "one")).expect("written");
        drop(store);
        let store = open(1).expect("once more");
        assert!(kept(store.marks(), "ann", name, "one").is_none(), "no mark, only a try");
    }

    #[test]
    fn other_settings_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Store::open(folder.path(), settings(1), true).expect("a new one"));
        let error = Store::open(folder.path(), settings(2), true).err().expect("another seed").to_string();
        assert!(error.contains("other seeds") && error.contains("--out"), "{error}");
        let mut other = settings(1);
        other.scheme.points = 10.0;
        assert!(Store::open(folder.path(), other, true).is_err());
    }
}
