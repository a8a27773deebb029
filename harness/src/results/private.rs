//! New results stay out of git until they are published. Every folder of results
//! that a command makes below `results/` has a `.gitignore` of its own that
//! ignores everything in it, as cargo's `target` has. Publishing removes it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder that runs are written to, and that git looks at.
pub const RESULTS: &str = "results";
/// The file whose presence says that a result set is not published.
const IGNORE: &str = ".gitignore";
const IGNORED: &str = "# Your own run. Once it is published (report --publish), git sees it.\n*\n";

/// What a folder of results must have one of: the record that the rest is drawn from.
const RECORDS: [&str; 5] = ["run.json", "regress.json", "views.json", "history.json", "faults.json"];

/// Makes a folder for results, and the folders above it. A new one below `results/`
/// is ignored by git; one that is there already stays as it is.
///
/// # Errors
/// When the folder or its `.gitignore` cannot be written.
pub fn create(dir: &Path) -> Result<()> {
    let new = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    let attempt = || -> std::io::Result<()> {
        fs::create_dir_all(dir)?;
        if new && results(dir)?.is_some() {
            fs::write(dir.join(IGNORE), IGNORED)?;
        }
        Ok(())
    };
    attempt().with_context(|| {
        format!("cannot create the result folder {}; choose a writable one with --out", dir.display())
    })
}

/// Whether a folder of results is the user's own, and not published.
pub fn is_private(dir: &Path) -> bool {
    dir.join(IGNORE).exists()
}

/// Fails unless this folder holds results that can be published.
///
/// # Errors
/// It is no folder, or no record of a run is in it.
pub fn check(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        bail!(
            "there is no folder {}; give a result folder, as in `results/2026-01-31-myhost-quick`",
            dir.display()
        );
    }
    if !RECORDS.iter().any(|record| dir.join(record).is_file()) {
        bail!(
            "{} holds no results: none of {} is in it; give a result folder, as in `results/2026-01-31-myhost-quick`",
            dir.display(),
            RECORDS.join(", ")
        );
    }
    Ok(())
}

/// Lets git see a folder of results. One that it sees already stays as it is.
///
/// # Errors
/// When its `.gitignore` cannot be removed.
pub fn publish(dir: &Path) -> Result<()> {
    let ignore = dir.join(IGNORE);
    match fs::remove_file(&ignore) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| {
            format!(
                "cannot remove {}; check the permissions of its folder, then publish again",
                ignore.display()
            )
        }),
        _ => Ok(()),
    }
}

/// The nearest folder called `results` above this one, where there is one.
///
/// # Errors
/// When the working directory cannot be read.
pub fn results(dir: &Path) -> std::io::Result<Option<PathBuf>> {
    let called = |above: &&Path| above.file_name().is_some_and(|name| name == RESULTS);
    // As it was written, where that is enough: it is what the user reads again.
    if let Some(above) = dir.ancestors().skip(1).find(called) {
        return Ok(Some(above.to_owned()));
    }
    let whole = std::path::absolute(dir)?;
    Ok(whole.ancestors().skip(1).find(called).map(Path::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_folder_is_the_nearest_above() {
        let above = |dir: &str| results(Path::new(dir)).expect("a working directory");
        for (dir, expected) in [
            ("results/one", Some("results")),
            ("a/results/b/results/regress/one", Some("a/results/b/results")),
            ("/tmp/results/one", Some("/tmp/results")),
            ("results", None),
            ("/tmp/one", None),
        ] {
            assert_eq!(above(dir), expected.map(PathBuf::from), "{dir}");
        }
    }

    #[test]
    fn only_what_is_new_below_results_is_private() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("results/old")).expect("a folder");
        fs::write(at("results/old/run.json"), "{}").expect("a file");
        for (dir, private) in [("results/new", true), ("results/old", false), ("elsewhere", false)] {
            create(&at(dir)).expect("a folder");
            assert_eq!(is_private(&at(dir)), private, "{dir}");
        }
        publish(&at("results/new")).expect("published");
        publish(&at("results/new")).expect("published already");
        assert!(!is_private(&at("results/new")));
    }
}
