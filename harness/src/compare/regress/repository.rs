//! The user's git repository, which is only read, and a scratch repository that borrows
//! its objects.
//!
//! Git tells its hooks in variables which repository, index and working tree they belong
//! to (`GIT_DIR`, `GIT_INDEX_FILE` …). A git command in another repository obeys them, too,
//! and then writes into the user's. So these variables are read once, to find the repository
//! that the user means; every other command is started without them. Nothing is written into
//! the user's repository, not even an object: the working tree is recorded in the scratch
//! repository.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

/// The variables that tie git to one repository, where git does not list them itself.
const LOCAL: [&str; 15] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// A program that hears nothing of the repository whose hook started us.
pub(super) fn apart(program: &str) -> Command {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let listed = said(Command::new("git").args(["rev-parse", "--local-env-vars"])).unwrap_or_default();
        let known = LOCAL.iter().copied().chain(["GIT_NAMESPACE"]);
        listed.lines().chain(known).map(str::to_owned).collect()
    });
    let mut command = Command::new(program);
    for name in names {
        command.env_remove(name);
    }
    command
}

/// The repository around the working folder, or the one that the environment names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The top of the working tree.
    root: PathBuf,
    /// What belongs to this working tree: HEAD, the index.
    git_dir: PathBuf,
    /// What belongs to all working trees: objects, branches.
    common: PathBuf,
    /// The list of files that git knows. In a hook of `git commit` it can be another one than usual.
    index: PathBuf,
    /// `sha1` or `sha256`.
    format: String,
}

impl Repository {
    /// Finds the repository.
    ///
    /// # Errors
    /// Outside a repository.
    pub(super) fn find() -> Result<Self> {
        let ask = |mut command: Command| {
            said(command.args(["rev-parse", "--path-format=absolute", "--show-toplevel"]).args([
                "--git-dir",
                "--git-common-dir",
                "--git-path",
                "index",
                "--show-object-format",
            ]))
        };
        // A hook that has changed its folder has variables that lead nowhere.
        let answers = ask(Command::new("git")).or_else(|_| ask(apart("git"))).context(
            "there is no git repository with a working tree here to look up commits; give the paths of two \
             programs",
        )?;
        let mut lines = answers.lines().map(str::to_owned);
        let mut next =
            || lines.next().context("git does not say where its files are; 2.31 or newer is needed");
        let (root, git_dir, common) = (next()?.into(), PathBuf::from(next()?), next()?.into());
        let (index, format) = (PathBuf::from(next()?), next()?);
        let index = if index.is_file() { index } else { git_dir.join("index") };
        Ok(Self { root, git_dir, common, index, format })
    }

    /// The top of the working tree.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Asks git about this repository, and lets it write nothing.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = apart("git");
        command.arg("-C").arg(&self.root).arg("--git-dir").arg(&self.git_dir);
        command.arg("--work-tree").arg(&self.root).args(args);
        command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_INDEX_FILE", &self.index);
        command
    }

    pub(super) fn ask(&self, args: &[&str]) -> Result<String> {
        said(&mut self.command(args))
    }

    /// Whether old commits are left out, as continuous integration does.
    pub(super) fn is_shallow(&self) -> bool {
        self.common.join("shallow").is_file()
    }
}

/// A repository of our own with the objects of the user's.
pub(super) struct Scratch<'a> {
    path: PathBuf,
    of: &'a Repository,
}

impl<'a> Scratch<'a> {
    /// Makes it in a folder, which is emptied first.
    pub(super) fn new(path: PathBuf, of: &'a Repository) -> Result<Self> {
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let mut init = apart("git");
        init.args(["init", "--quiet", "--template=", "--object-format", &of.format]).arg(&path);
        said(&mut init)?;
        let git_dir = path.join(".git");
        let borrow = || -> std::io::Result<()> {
            fs::create_dir_all(git_dir.join("objects/info"))?;
            let objects = of.common.join("objects");
            fs::write(git_dir.join("objects/info/alternates"), format!("{}\n", objects.display()))?;
            if of.is_shallow() {
                fs::copy(of.common.join("shallow"), git_dir.join("shallow"))?;
            }
            Ok(())
        };
        borrow().with_context(|| format!("cannot write into {}", git_dir.display()))?;
        Ok(Self { path, of })
    }

    /// A git command on this repository, and on another folder as its working tree.
    fn command(&self, tree: &Path, args: &[&str]) -> Command {
        let mut command = apart("git");
        // Hooks that the user has for all repositories are for the user's own work.
        command.arg("-C").arg(tree).args(["-c", "core.hooksPath=/dev/null"]);
        command.arg("--git-dir").arg(self.path.join(".git")).arg("--work-tree").arg(tree).args(args);
        command
    }

    /// Makes a commit of the user's working tree as it is: every file that git knows, with
    /// changes that are not committed. The same files give the same commit. It is HEAD
    /// itself where nothing has changed.
    pub(super) fn record_working_tree(&self) -> Result<String> {
        let listed = output(&mut self.of.command(&["ls-files", "-s", "-t", "-z"]), b"")?;
        ensure!(
            !listed.is_empty(),
            "git knows no file in {}; `git add` the files that belong to the program",
            self.of.root.display()
        );
        let (mut entries, mut absent) = (Vec::new(), Vec::new());
        for line in listed.split_inclusive(|&byte| byte == 0) {
            // `H 100644 OBJECT 0<tab>PATH`; a tag of `S` is a file that a sparse checkout leaves out.
            let entry = line.get(2..).context("git lists its files in a way that is not known here")?;
            entries.extend_from_slice(entry);
            if line[0] == b'S'
                && let Some(tab) = entry.iter().position(|&byte| byte == b'\t')
            {
                absent.extend_from_slice(&entry[tab + 1..]);
            }
        }
        let root = &self.of.root;
        output(&mut self.command(root, &["update-index", "-z", "--index-info"]), &entries)?;
        if !absent.is_empty() {
            output(&mut self.command(root, &["update-index", "--skip-worktree", "-z", "--stdin"]), &absent)?;
        }
        said(&mut self.command(root, &["add", "--update", "."]))
            .with_context(|| format!("cannot read the working tree {}", root.display()))?;
        let tree = said(&mut self.command(root, &["write-tree"]))?;
        let head = self.of.ask(&["rev-parse", "--verify", "HEAD^{commit}"])?;
        if tree == self.of.ask(&["rev-parse", "--verify", "HEAD^{tree}"])? {
            return Ok(head);
        }
        let mut commit = self.command(root, &["commit-tree", &tree, "-p", &head, "-m", "The working tree"]);
        for who in ["AUTHOR", "COMMITTER"] {
            commit
                .env(format!("GIT_{who}_NAME"), "messaging-lab")
                .env(format!("GIT_{who}_EMAIL"), "lab@localhost");
            commit.env(format!("GIT_{who}_DATE"), "2000-01-01T00:00:00+0000");
        }
        said(&mut commit)
    }

    /// Puts the files of a commit into the folder.
    pub(super) fn check_out(&self, sha: &str) -> Result<()> {
        said(&mut self.command(&self.path, &["reset", "--quiet", "--hard", sha])).map(drop)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

/// The standard output of a program; its standard error becomes the error.
pub(super) fn said(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command, b"")?).trim().to_owned())
}

/// The same in bytes, with this on its standard input.
fn output(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}; is it installed and on PATH?"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends early says why itself.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().with_context(|| format!("cannot run {name}"))?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", complaints.trim());
    Ok(output.stdout)
}
