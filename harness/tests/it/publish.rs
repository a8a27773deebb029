//! A user's own results stay out of git until they are published.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::program::{Ran, code};
use crate::{lab, trial};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("publish::own_runs_leave_a_clone_clean_until_they_are_published", published),
        trial("publish::what_holds_no_results_is_refused", refused),
        trial("publish::what_cannot_be_changed_is_named", unwritable),
    ]
}

const LAB: &str = env!("CARGO_BIN_EXE_lab");
const BENCH: [&str; 9] =
    ["bench", "oneway-inproc", "--load", "max", "--trials", "1", "--seconds", "0.1", "--no-floor"];

/// A repository with the project's own rules of what git ignores, and an index.
struct Clone(tempfile::TempDir);

impl Clone {
    fn new() -> Result<Self> {
        let clone = Self(tempfile::tempdir()?);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no root")?;
        fs::create_dir(clone.0.path().join("results"))?;
        for file in [".gitignore", "results/README.md"] {
            fs::copy(root.join(file), clone.0.path().join(file)).with_context(|| file.to_owned())?;
        }
        clone.git(&["init", "--quiet"])?;
        clone.git(&["add", "."])?;
        clone.git(&[
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@localhost",
            "commit",
            "--quiet",
            "-m",
            "x",
        ])?;
        Ok(clone)
    }

    /// Runs a command in it. What a hook of another repository says of itself is not for it.
    fn run(&self, mut command: Command) -> Result<Ran> {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        let output = command.current_dir(self.0.path()).output()?;
        Ok(Ran {
            code: code(output.status),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command.args(args);
        Ok(self.run(command)?.expect(0)?.out)
    }

    fn lab(&self, args: &[&str]) -> Result<Ran> {
        self.run(lab(args))
    }

    /// The new folder that a command has made below `results/`, as it is typed there.
    fn made(&self, below: &str) -> Result<String> {
        let mut found = fs::read_dir(self.0.path().join(below))?.flatten().map(|entry| entry.path());
        let dir = found.find(|path| path.join(".gitignore").is_file()).context("no own results")?;
        Ok(dir.strip_prefix(self.0.path())?.display().to_string())
    }

    /// Fails unless git sees these changes and no other.
    fn sees(&self, expected: &[&str]) -> Result<()> {
        let status = self.git(&["status", "--porcelain"])?;
        let seen: Vec<&str> = status.lines().collect();
        ensure!(seen == expected, "git sees {seen:?}, not {expected:?}");
        Ok(())
    }
}

fn published() -> Result<()> {
    let clone = Clone::new()?;
    clone.lab(&BENCH)?.expect(0)?.told(&["The report: results/", "lab report --publish results/"])?;
    let bench = clone.made("results")?;
    let compared = ["regress", "oneway-tcp", "--base", LAB, "--head", LAB, "--quick", "--rounds", "1"];
    clone.lab(&compared)?.expect(3)?;
    let compared = clone.made("results/regress")?;
    clone.lab(&["history"])?.expect(0)?;
    clone.lab(&["report", "--index", &bench])?.expect(0)?;
    let index = || fs::read_to_string(clone.0.path().join("results/README.md"));
    ensure!(!index()?.contains(&bench["results/".len()..]), "the index lists what is not published");
    // The index is of this clone, which has none of the project's own results.
    clone.git(&["checkout", "--quiet", "results/README.md"])?;
    clone.lab(&["report", &bench])?.expect(0)?;
    clone.sees(&[])?;

    let add = format!("git add {bench} results/README.md");
    // Twice is as good as once.
    for _ in 0..2 {
        clone.lab(&["report", "--publish", &bench])?.expect(0)?.told(&[&add])?;
        ensure!(index()?.contains(&format!("({}/README.md)", &bench["results/".len()..])), "{}", index()?);
    }
    clone.sees(&[" M results/README.md", &format!("?? {bench}/")])?;
    let mut typed = Command::new("sh");
    typed.args(["-c", &add]);
    clone.run(typed)?.expect(0)?;
    ensure!(clone.git(&["ls-files"])?.contains(&format!("{bench}/run.json")), "the command adds nothing");

    // A comparison has no line in the index.
    let ran = clone.lab(&["report", "--publish", &compared])?.expect(0)?;
    ran.told(&[&format!("git add {compared}\n")])?;
    ensure!(clone.git(&["status", "--porcelain"])?.contains("?? results/regress/"), "git does not see it");
    Ok(())
}

fn refused() -> Result<()> {
    let clone = Clone::new()?;
    for (dir, words) in [
        ("results/nothing", ["there is no folder results/nothing", "as in `results/"]),
        ("results", ["results holds no results", "run.json"]),
        ("results/README.md", ["there is no folder results/README.md", "as in `results/"]),
    ] {
        clone.lab(&["report", "--publish", dir])?.expect(2)?.told(&words)?;
    }
    clone.sees(&[])
}

fn unwritable() -> Result<()> {
    let clone = Clone::new()?;
    clone.lab(&BENCH)?.expect(0)?;
    let bench = clone.made("results")?;
    let ignore = clone.0.path().join(&bench).join(".gitignore");
    fs::remove_file(&ignore)?;
    fs::create_dir(&ignore)?;
    let publish = || clone.lab(&["report", "--publish", &bench])?.expect(1);
    publish()?.told(&["cannot remove", &format!("{bench}/.gitignore"), "permissions"])?;
    fs::remove_dir(&ignore)?;
    fs::write(clone.0.path().join("results/README.md"), "mine\n")?;
    publish()?.told(&["results/README.md is not an index"])?;
    // An administrator can write anywhere.
    if !rustix::process::geteuid().is_root() {
        let dir: PathBuf = clone.0.path().join(&bench);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o555))?;
        let said = publish();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        said?.told(&["cannot write", &bench])?;
    }
    Ok(())
}
