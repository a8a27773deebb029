//! The student's folder: programs by language, the helpers, and a plain text file of what was done.
//!
//! ```text
//! exercises/
//!   progress.txt           one line for each pass, hint and start
//!   python/                first-message.py, course.py, resp.py
//!   rust/                  src/bin/first-message.rs, src/lib.rs, Cargo.toml
//!   javascript/            first-message.mjs, course.mjs, resp.mjs
//!   witness/               the picture of the last failed check of each exercise
//! ```

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::exercise::Exercise;

/// A language with starters and a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    Python,
    Rust,
    Javascript,
}

impl Language {
    /// All of them, the usual one first.
    pub(crate) const ALL: [Self; 3] = [Self::Python, Self::Rust, Self::Javascript];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Rust => "rust",
            Self::Javascript => "javascript",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Python => "py",
            Self::Rust => "rs",
            Self::Javascript => "mjs",
        }
    }

    /// The language of a source file.
    pub(crate) fn of(file: &Path) -> Option<Self> {
        let extension = file.extension()?;
        Self::ALL.into_iter().find(|language| extension == language.extension())
    }

    /// Files that every program of the language needs, below its folder.
    const fn helpers(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["course.py", "resp.py"],
            Self::Rust => &["Cargo.toml", "Cargo.lock", "src/lib.rs", "src/control.rs", "src/json.rs"],
            Self::Javascript => &["course.mjs", "resp.mjs"],
        }
    }
}

/// Where the exercises' own files are: the statements, starters and solutions.
pub(crate) fn materials() -> Result<PathBuf> {
    let folder = std::env::var_os("LAB_EXERCISES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../labs/exercises"), PathBuf::from);
    let folder = folder.canonicalize().unwrap_or(folder);
    if !folder.join("python/course.py").is_file() {
        bail!(
            "the exercises are not in {}; run `lab` from a clone of the project, or set LAB_EXERCISES to its \
             folder labs/exercises",
            folder.display()
        );
    }
    Ok(folder)
}

/// A text that belongs to an exercise, as `README.md` or `solution.py`.
pub(crate) fn material(exercise: &Exercise, file: &str) -> Result<String> {
    let path = materials()?.join(exercise.name).join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Where the page of the book about its subject is.
pub(crate) fn page(exercise: &Exercise) -> String {
    let root = materials().ok().and_then(|folder| Some(folder.parent()?.parent()?.to_owned()));
    root.unwrap_or_default().join("docs").join(exercise.page).display().to_string()
}

/// The hints of an exercise: what stands below each `## N` of its `hints.md`.
pub(crate) fn hints(exercise: &Exercise) -> Result<Vec<String>> {
    let text = material(exercise, "hints.md")?;
    let parts = text.split("\n## ").skip(usize::from(!text.starts_with("## ")));
    Ok(parts.map(|part| part.split_once('\n').map_or("", |(_, rest)| rest).trim().to_owned()).collect())
}

/// The languages that an exercise has a starter or a solution for.
pub(crate) fn languages(exercise: &Exercise, what: &str) -> Result<Vec<Language>> {
    let folder = materials()?.join(exercise.name);
    let has = |language: &Language| folder.join(format!("{what}.{}", language.extension())).is_file();
    Ok(Language::ALL.into_iter().filter(has).collect())
}

/// The source of a starter or a solution.
pub(crate) fn source(exercise: &Exercise, what: &str, language: Language) -> Result<String> {
    material(exercise, &format!("{what}.{}", language.extension()))
}

/// What was done, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) what: String,
    pub(crate) exercise: String,
    pub(crate) detail: String,
}

/// The student's folder.
pub(crate) struct Workspace {
    pub(crate) folder: PathBuf,
}

/// The file with what was done.
pub(crate) const PROGRESS: &str = "progress.txt";

impl Workspace {
    pub(crate) fn at(folder: &Path) -> Self {
        let here = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        if here.exists() || folder.is_absolute() {
            return Self { folder: here };
        }
        // As git does: from a folder below, it is found, too.
        let above = here.parent().into_iter().flat_map(Path::ancestors).map(|above| above.join(folder));
        let folder = above.into_iter().find(|folder| folder.join(PROGRESS).is_file()).unwrap_or(here);
        Self { folder }
    }

    /// Where the program of an exercise is.
    pub(crate) fn file(&self, exercise: &Exercise, language: Language) -> PathBuf {
        let folder = self.folder.join(language.name());
        let folder = if language == Language::Rust { folder.join("src/bin") } else { folder };
        folder.join(format!("{}.{}", exercise.name, language.extension()))
    }

    /// The languages in which there is a program for an exercise; the one that was written last first.
    pub(crate) fn written(&self, exercise: &Exercise) -> Vec<Language> {
        let changed = |language: &Language| {
            fs::metadata(self.file(exercise, *language)).and_then(|about| about.modified())
        };
        let mut written: Vec<Language> =
            Language::ALL.into_iter().filter(|language| changed(language).is_ok()).collect();
        written.sort_by_key(|language| std::cmp::Reverse(changed(language).ok()));
        written
    }

    /// Writes a starter, with the helpers of its language. What is there already is kept beside it;
    /// returns the program's path and that of the copy.
    pub(crate) fn put(
        &self,
        exercise: &Exercise,
        language: Language,
        text: &str,
    ) -> Result<(PathBuf, Option<PathBuf>)> {
        let materials = materials()?;
        for helper in language.helpers() {
            let to = self.folder.join(language.name()).join(helper);
            if !to.exists() {
                let from = materials.join(language.name()).join(helper);
                let text = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
                write(&to, &text)?;
            }
        }
        let path = self.file(exercise, language);
        let copy = match fs::read(&path) {
            Ok(there) if there != text.as_bytes() => Some(keep(&path, &there)?),
            _ => None,
        };
        write(&path, text.as_bytes())?;
        Ok((path, copy))
    }

    /// Everything that was done, oldest first. Lines of another form are left alone.
    pub(crate) fn progress(&self) -> Vec<Done> {
        let text = fs::read_to_string(self.folder.join(PROGRESS)).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            let done = Done {
                what: words.next()?.to_owned(),
                exercise: words.next()?.to_owned(),
                detail: words.collect::<Vec<_>>().join(" "),
            };
            Some(done)
        };
        text.lines().filter_map(line).collect()
    }

    pub(crate) fn passed(&self, exercise: &Exercise) -> bool {
        self.count(exercise, "passed") > 0
    }

    /// How often something was done.
    pub(crate) fn count(&self, exercise: &Exercise, what: &str) -> usize {
        self.progress().iter().filter(|done| done.what == what && done.exercise == exercise.name).count()
    }

    /// Adds a line to the file.
    pub(crate) fn note(&self, what: &str, exercise: &Exercise, detail: &str) -> Result<()> {
        let path = self.folder.join(PROGRESS);
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        let day = jiff::Zoned::now().date();
        let line = format!("{day} {what} {} {detail}\n", exercise.name);
        // One write: two commands at once give two whole lines.
        let mut file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file
            .as_mut()
            .map_err(|error| std::io::Error::from(error.kind()))
            .and_then(|file| file.write_all(line.as_bytes()));
        written.with_context(|| format!("cannot write {}; is the disk full?", path.display()))
    }
}

/// Keeps a text under the first free name beside its path: `first-message.py.1`.
fn keep(path: &Path, text: &[u8]) -> Result<PathBuf> {
    for number in 1..10_000 {
        let copy = PathBuf::from(format!("{}.{number}", path.display()));
        match OpenOptions::new().write(true).create_new(true).open(&copy) {
            Ok(mut file) => {
                file.write_all(text)
                    .with_context(|| format!("cannot write {}; is the disk full?", copy.display()))?;
                return Ok(copy);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", copy.display())),
        }
    }
    bail!("there are too many copies of {}; remove some", path.display())
}

/// Writes a file as a whole: a reader sees the old one or the new one.
pub(crate) fn write(path: &Path, text: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    let written = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text)?;
        fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write {}; is the disk full?", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::exercises::ALL;

    #[test]
    fn every_exercise_has_its_files() {
        for exercise in ALL {
            for file in ["README.md", "hints.md", "mutants.toml"] {
                assert!(!material(exercise, file).expect(exercise.name).is_empty());
            }
            let lines = material(exercise, "README.md").expect("read above").lines().count();
            assert!(lines <= 60, "the task of {} has {lines} lines: more than a page", exercise.name);
            let task = material(exercise, "README.md").expect("read above");
            for (check, _) in exercise.checks {
                assert!(
                    task.contains(&format!("**{check}**")),
                    "the task of {} does not name {check}",
                    exercise.name
                );
            }
            assert!(exercise.checks.iter().any(|(name, _)| *name == exercise.anomaly));
            assert!(hints(exercise).expect("read above").len() >= 3, "{} has few hints", exercise.name);
            for what in ["starter", "solution"] {
                let there = languages(exercise, what).expect("a folder");
                assert!(
                    there.contains(&Language::Python) && there.contains(&Language::Rust),
                    "{}",
                    exercise.name
                );
            }
        }
        let javascript = |exercise: &&&Exercise| {
            languages(exercise, "starter").expect("a folder").contains(&Language::Javascript)
        };
        assert!(ALL.iter().filter(javascript).count() >= 5);
    }

    #[test]
    fn progress_is_plain_text_that_survives_strange_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let workspace = Workspace::at(folder.path());
        let exercise = ALL[0];
        assert!(!workspace.passed(exercise));
        workspace.note("hint", exercise, "1").expect("written");
        let path = folder.path().join(PROGRESS);
        let text = fs::read_to_string(&path).expect("written");
        fs::write(&path, format!("{text}# a note of mine\n\n\u{fc}\n")).expect("written");
        workspace.note("passed", exercise, "python").expect("written");
        assert!(workspace.passed(exercise) && !workspace.passed(ALL[1]));
        assert_eq!(workspace.count(exercise, "hint"), 1);
    }

    #[test]
    fn what_is_replaced_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let workspace = Workspace::at(folder.path());
        let put = |text: &str| workspace.put(ALL[0], Language::Python, text).expect("written");
        let (path, copy) = put("one");
        assert!(copy.is_none() && folder.path().join("python/course.py").is_file());
        assert!(put("one").1.is_none());
        let first = put("two").1.expect("a copy");
        let second = put("three").1.expect("a copy");
        assert_ne!(first, second);
        for (path, text) in [(&path, "three"), (&first, "one"), (&second, "two")] {
            assert_eq!(fs::read_to_string(path).expect("there"), text);
        }
    }
}
