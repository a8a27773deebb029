//! The two programs of a comparison: an existing file, or a commit that is built.
//!
//! All commits are built in the same folder, one after the other, because the path of the
//! sources is part of the program and moves its code. The folder is a clone that borrows
//! the objects of the user's repository: nothing is registered there, and the working
//! tree stays as it is. A program built from the same commit by the same compiler is
//! reused.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::record::Program;

/// A requested program, found but not yet built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A program that is used as it is.
    Binary(PathBuf),
    /// A commit of the repository in the working folder.
    Commit {
        /// As the user called it.
        asked: String,
        /// Its whole name.
        sha: String,
        /// The top of the repository.
        root: PathBuf,
    },
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
    let root = root()?;
    let name = format!("{asked}^{{commit}}");
    let Ok(sha) = git(&root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &name]) else {
        let refs = git(&root, &["for-each-ref", "--format=%(refname:short)"]).unwrap_or_default();
        let hint = crate::plan::nearest(asked, refs.lines())
            .map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"));
        bail!(
            "`{asked}` is neither a program nor a commit of {}{hint} Give a branch, a tag, a commit (`main`, \
             `HEAD~1`), or the path of a built `lab`",
            root.display()
        );
    };
    Ok(Wanted::Commit { asked: asked.to_owned(), sha, root })
}

/// The working tree as it is, changes that are not committed included.
///
/// # Errors
/// Outside a repository.
pub fn working_tree() -> Result<Wanted> {
    let root = root()?;
    // Makes a commit without a branch, and changes nothing else; `None` if there are no
    // changes.
    let stash = git(&root, &["stash", "create"])?;
    let new = git(&root, &["ls-files", "--others", "--exclude-standard", "--", "*.rs", "*.toml"])?;
    if !new.is_empty() {
        let count = new.lines().count();
        eprintln!(
            "{count} new files are unknown to git, so they are not measured; `git add` them: {}",
            new.replace('\n', ", ")
        );
    }
    let sha = if stash.is_empty() { git(&root, &["rev-parse", "HEAD"])? } else { stash };
    Ok(Wanted::Commit { asked: "the working tree".to_owned(), sha, root })
}

/// Builds the program if needed, and returns the file that will run.
///
/// # Errors
/// When the sources cannot be got or do not compile.
pub fn program(wanted: &Wanted) -> Result<Program> {
    let (asked, binary) = match wanted {
        Wanted::Binary(path) => (path.display().to_string(), path.clone()),
        Wanted::Commit { asked, sha, root } => (
            asked.clone(),
            build(sha, root).with_context(|| format!("cannot build {asked} ({})", &sha[..12]))?,
        ),
    };
    let bytes = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Program { asked, binary: binary.display().to_string(), sha256, ..Program::default() })
}

fn build(sha: &str, root: &Path) -> Result<PathBuf> {
    let cache = dirs::cache_dir().context("this user has no folder for caches; set XDG_CACHE_HOME")?;
    let cache = cache.join("messaging-lab/regress");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // One build at a time: they share a folder.
    let lock = File::create(cache.join("lock")).context("cannot make a lock file")?;
    lock.lock().context("cannot lock the folder of builds")?;
    let compiler = said(Command::new("rustc").arg("--version"))?;
    let named: String = compiler.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let kept = cache.join(format!("lab-{sha}-{named}"));
    if kept.is_file() {
        return Ok(kept);
    }
    eprintln!("building {} with {compiler}; this is kept in {}", &sha[..12], cache.display());
    let source = cache.join("source");
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| format!("cannot remove {}", source.display()))?;
    }
    let text = |path: &Path| path.display().to_string();
    // Objects cannot be borrowed from the top of a worktree, but from its common folder.
    let common = git(root, &["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
    git(root, &["clone", "--quiet", "--shared", "--no-checkout", &common, &text(&source)])?;
    git(&source, &["checkout", "--quiet", "--detach", sha])?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "-p", "harness", "--bin", "lab"]).current_dir(&source);
    cargo.env("CARGO_TARGET_DIR", cache.join("target")).stdin(Stdio::null()).stdout(Stdio::null());
    crate::process::die_with_parent(&mut cargo);
    let status = cargo.status().context("cannot run cargo; is Rust installed and on PATH?")?;
    ensure!(status.success(), "cargo failed; its output is above");
    let fresh = cache.join("lab.new");
    fs::copy(cache.join("target/release/lab"), &fresh).context("cargo built no `lab`")?;
    fs::rename(&fresh, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    fs::remove_dir_all(&source).with_context(|| format!("cannot remove {}", source.display()))?;
    Ok(kept)
}

fn root() -> Result<PathBuf> {
    let top = said(Command::new("git").args(["rev-parse", "--show-toplevel"]));
    top.map(PathBuf::from)
        .context("there is no git repository here to look up commits; give the paths of two programs")
}

fn git(dir: &Path, args: &[&str]) -> Result<String> {
    said(Command::new("git").arg("-C").arg(dir).args(args))
}

/// The standard output of a program; its standard error becomes the error.
fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", complaints.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
