//! The two programs of a comparison: an existing file, or a commit that is built.
//!
//! All commits are built in the same folder, one after the other, because the path of the
//! sources is part of the program and moves its code. The folder is a [`repository`] of its
//! own. A program built from the same commit by the same compiler is reused.
//!
//! [`repository`]: super::repository

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::record::Program;
use super::repository::{Repository, Scratch, apart, said};

/// A requested program, found but not yet built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A program that is used as it is.
    Binary(PathBuf),
    /// A commit of the user's repository.
    Commit {
        /// As the user called it.
        asked: String,
        /// Its whole name.
        sha: String,
        /// Where it is.
        repository: Repository,
    },
    /// The files that this repository knows, with changes that are not committed.
    WorkingTree(Repository),
}

/// A file that can be run, or else a commit of the repository around here.
///
/// # Errors
/// When it is neither; the error names it.
pub fn find(asked: &str) -> Result<Wanted> {
    let path = Path::new(asked);
    if path.is_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode =
            fs::metadata(path).with_context(|| format!("cannot look at {asked}"))?.permissions().mode();
        ensure!(mode & 0o111 != 0, "{asked} is not an executable file; give a `lab` program or a commit");
        let path = std::path::absolute(path).with_context(|| format!("cannot look at {asked}"))?;
        return Ok(Wanted::Binary(path));
    }
    let repository = Repository::find()?;
    let name = format!("{asked}^{{commit}}");
    let found = repository.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name]);
    let Ok(sha) = found else {
        let root = repository.root().display();
        ensure!(
            !repository.is_shallow(),
            "`{asked}` is neither a program nor a commit of {root}, which is a shallow clone: its older commits \
             were left out. Get them with `git fetch --unshallow`, and other branches with `git fetch origin \
             BRANCH`"
        );
        let refs = repository.ask(&["for-each-ref", "--format=%(refname:short)"]).unwrap_or_default();
        let hint = crate::plan::nearest(asked, refs.lines())
            .map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"));
        bail!(
            "`{asked}` is neither a program nor a commit of {root}{hint} Give a branch, a tag, a commit \
             (`main`, `HEAD~1`), or the path of a built `lab`"
        );
    };
    Ok(Wanted::Commit { asked: asked.to_owned(), sha, repository })
}

/// The working tree as it is, changes that are not committed included.
///
/// # Errors
/// Outside a repository.
pub fn working_tree() -> Result<Wanted> {
    Repository::find().map(Wanted::WorkingTree)
}

/// Builds the program if needed, and returns the file that will run.
///
/// # Errors
/// When the sources cannot be got or do not compile.
pub fn program(wanted: &Wanted) -> Result<Program> {
    let (asked, binary) = match wanted {
        Wanted::Binary(path) => (path.display().to_string(), path.clone()),
        Wanted::Commit { asked, sha, repository } => {
            let built = build(Some(sha), repository);
            (asked.clone(), built.with_context(|| format!("cannot build {asked} ({})", short(sha)))?)
        }
        Wanted::WorkingTree(repository) => {
            tell_new_files(repository)?;
            let asked = "the working tree".to_owned();
            (asked.clone(), build(None, repository).with_context(|| format!("cannot build {asked}"))?)
        }
    };
    let bytes = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Program { asked, binary: binary.display().to_string(), sha256, ..Program::default() })
}

/// Names the sources that git does not know, and that are not built therefore.
fn tell_new_files(repository: &Repository) -> Result<()> {
    let sources = ["ls-files", "--others", "--exclude-standard", "--", "*.rs", "*.toml"];
    let new = repository.ask(&sources)?;
    if !new.is_empty() {
        let count = new.lines().count();
        errln!(
            "{count} new files are unknown to git, so they are not measured; `git add` them: {}",
            new.replace('\n', ", ")
        );
    }
    Ok(())
}

fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}

/// Builds a commit, or the working tree.
fn build(commit: Option<&String>, repository: &Repository) -> Result<PathBuf> {
    let cache = dirs::cache_dir().context("this user has no folder for caches; set XDG_CACHE_HOME")?;
    let cache = cache.join("messaging-lab/regress");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // One build at a time: they share a folder.
    let lock = File::create(cache.join("lock")).context("cannot make a lock file")?;
    lock.lock().context("cannot lock the folder of builds")?;
    let compiler = said(apart("rustc").arg("--version"))?;
    let named: String = compiler.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let kept = |sha: &str| cache.join(format!("lab-{sha}-{named}"));
    if let Some(kept) = commit.map(|sha| kept(sha)).filter(|kept| kept.is_file()) {
        return Ok(kept);
    }
    let source = Scratch::new(cache.join("source"), repository)?;
    let sha = &match commit {
        Some(sha) => sha.clone(),
        None => source.record_working_tree()?,
    };
    let kept = kept(sha);
    if !kept.is_file() {
        errln!("building {} with {compiler}; this is kept in {}", short(sha), cache.display());
        source.check_out(sha)?;
        let mut cargo = apart("cargo");
        cargo.args(["build", "--release", "--locked", "-p", "harness", "--bin", "lab"]);
        cargo.current_dir(source.path()).env("CARGO_TARGET_DIR", cache.join("target"));
        cargo.stdin(Stdio::null()).stdout(Stdio::null());
        crate::process::die_with_parent(&mut cargo);
        let status = cargo.status().context("cannot run cargo; is Rust installed and on PATH?")?;
        ensure!(status.success(), "cargo failed; its output is above");
        let fresh = cache.join("lab.new");
        fs::copy(cache.join("target/release/lab"), &fresh).context("cargo built no `lab`")?;
        fs::rename(&fresh, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    }
    source.remove()?;
    Ok(kept)
}
