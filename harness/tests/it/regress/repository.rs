//! `lab regress` in real repositories: git's own variables, a hook, a linked working tree
//! and a shallow clone. The user's repository stays as it is. A script stands in for cargo:
//! it notes which sources it was to build.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::LAB;
use crate::program::{Ran, code, text};
use crate::{lab, trial};

/// Every trial of this file.
pub(super) fn trials() -> Vec<Trial> {
    let names: [(&str, Way); 5] = [
        ("git_dir", Way::GitDir),
        ("relative_git_dir_in_a_folder_below", Way::Below),
        ("git_work_tree", Way::WorkTree),
        ("index_of_a_partial_commit", Way::Index),
        ("linked_working_tree", Way::Linked),
    ];
    let ways = names.into_iter().map(|(name, way)| {
        trial(&format!("regress::repository_stays_as_it_is_{name}"), move || stays_as_it_is(way))
    });
    let others = [
        trial("regress::hook_before_a_commit_changes_nothing", hook),
        trial("regress::working_tree_is_built_as_it_is", working_tree),
        trial("regress::shallow_clone_is_named", shallow),
    ];
    ways.chain(others).collect()
}

/// How git's hooks and users say which repository they mean.
#[derive(Clone, Copy)]
enum Way {
    GitDir,
    Below,
    WorkTree,
    Index,
    Linked,
}

/// A repository with two commits, and a place for what is built.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Result<Self> {
        let world = Self { dir: tempfile::tempdir()? };
        for dir in ["repo/below", "bin", "cache"] {
            fs::create_dir_all(world.path(dir))?;
        }
        let built = format!(
            "#!/bin/sh\nenv | grep -E '^GIT_(DIR|INDEX_FILE|WORK_TREE|PREFIX|COMMON_DIR|OBJECT_DIRECTORY)=' >>'{log}'\ncat source >>'{log}'\nmkdir -p \"$CARGO_TARGET_DIR/release\"\n\
             (echo '#!/bin/sh'; sed 's/^/# /' source; echo 'exec {LAB} \"$@\"') >\"$CARGO_TARGET_DIR/release/lab\"\n\
             chmod 755 \"$CARGO_TARGET_DIR/release/lab\"\n",
            log = text(&world.path("log"))?
        );
        fs::write(world.path("bin/cargo"), built)?;
        fs::set_permissions(world.path("bin/cargo"), fs::Permissions::from_mode(0o755))?;
        world.git(&["init", "--quiet", "--initial-branch=main"])?;
        fs::write(world.path("repo/below/kept"), "kept\n")?;
        world.write("one")?;
        world.git(&["add", "."])?;
        world.git(&["commit", "--quiet", "-m", "one"])?;
        world.write("two")?;
        fs::write(world.path("repo/below/other"), "came with two\n")?;
        world.git(&["add", "."])?;
        world.git(&["commit", "--quiet", "-m", "two"])?;
        Ok(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, source: &str) -> Result<()> {
        Ok(fs::write(self.path("repo/source"), format!("{source}\n"))?)
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        self.git_in("repo", args)
    }

    fn git_in(&self, dir: &str, args: &[&str]) -> Result<String> {
        let output = self.prepare(Command::new("git").args(args).current_dir(self.path(dir))).output()?;
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git {args:?}: {complaints}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Without the tester's own settings of git, and with cargo's stand-in.
    fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
            command.env_remove(name);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@localhost");
        }
        command.env("XDG_CACHE_HOME", self.path("cache")).env_remove("LAB_GUARD").env_remove("CI")
    }

    fn regress(&self, dir: &str, args: &[&str], set: &[(&str, &str)]) -> Result<Ran> {
        let mut command = lab(&[&["regress", "oneway-tcp", "--rounds", "1"], args].concat());
        command.args(["--seconds", "0.1", "--warmup", "0", "--load", "1000", "--out"]).arg(self.path("out"));
        self.prepare(command.current_dir(self.path(dir)));
        for (name, value) in set {
            command.env(name, value);
        }
        let output = command.output()?;
        let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        Ok(Ran { code: code(output.status), out, err })
    }

    /// What was built, in this order; variables of git that cargo got are among it.
    fn built(&self) -> Result<Vec<String>> {
        let log = fs::read_to_string(self.path("log")).context("nothing was built")?;
        Ok(log.lines().map(str::to_owned).collect())
    }

    /// Everything in the repository that git could have changed.
    fn state(&self) -> Result<(String, String, Vec<u8>, BTreeSet<String>)> {
        let mut files = BTreeSet::new();
        let mut next = vec![self.path("repo/.git")];
        while let Some(path) = next.pop() {
            if path.is_dir() {
                for entry in fs::read_dir(&path)? {
                    next.push(entry?.path());
                }
            } else {
                files.insert(path.display().to_string());
            }
        }
        let head = fs::read_to_string(self.path("repo/.git/HEAD"))?;
        let refs = self.git(&["for-each-ref"])?;
        Ok((head, refs, fs::read(self.path("repo/.git/index"))?, files))
    }
}

fn stays_as_it_is(way: Way) -> Result<()> {
    let world = World::new()?;
    world.git(&["worktree", "add", "--quiet", "../linked", "-b", "side"])?;
    world.write("three")?;
    fs::write(world.path("linked/source"), "linked\n")?;
    // Git looks at files more closely whose times are new; a second look changes nothing then.
    world.git(&["status"])?;
    let index = world.path("index");
    fs::copy(world.path("repo/.git/index"), &index)?;
    let before = world.state()?;
    let (git_dir, top) = (world.path("repo/.git"), world.path("repo"));
    let linked = world.path("repo/.git/worktrees/linked");
    let (git_dir, top, linked) = (text(&git_dir)?, text(&top)?, text(&linked)?);
    let (dir, set): (&str, Vec<(&str, &str)>) = match way {
        Way::GitDir => ("repo", vec![("GIT_DIR", git_dir)]),
        Way::Below => ("repo/below", vec![("GIT_DIR", ".git"), ("GIT_INDEX_FILE", ".git/index")]),
        Way::WorkTree => ("bin", vec![("GIT_DIR", git_dir), ("GIT_WORK_TREE", top)]),
        Way::Index => ("repo", vec![("GIT_DIR", git_dir), ("GIT_INDEX_FILE", text(&index)?)]),
        Way::Linked => ("linked", vec![("GIT_DIR", linked)]),
    };
    world.regress(dir, &["--base", "HEAD~1"], &set)?.expect(3)?;
    ensure!(world.state()? == before, "the repository has changed: {:?}", world.state()?);
    let head = if matches!(way, Way::Linked) { "linked" } else { "three" };
    ensure!(world.built()? == ["one", head], "{:?} were built", world.built()?);
    Ok(())
}

fn hook() -> Result<()> {
    let world = World::new()?;
    let hook = world.path("repo/.git/hooks/pre-commit");
    let (dir, hooks) = (world.path("code"), world.path("repo/.git/hooks"));
    fs::create_dir_all(hooks)?;
    fs::write(
        &hook,
        format!(
            "#!/bin/sh\n{LAB} regress oneway-tcp --rounds 1 --seconds 0.1 --warmup 0 --load 1000 --base HEAD~1 \
             --out '{}' >'{}' 2>&1\necho $? >'{}'\n",
            text(&world.path("out"))?,
            text(&world.path("said"))?,
            text(&dir)?
        ),
    )?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
    world.write("three")?;
    let before = world.git(&["rev-parse", "HEAD"])?;
    world.git(&["commit", "--quiet", "-am", "three"])?;
    let said = fs::read_to_string(world.path("said"))?;
    ensure!(fs::read_to_string(&dir)?.trim() == "3", "the comparison said:\n{said}");
    ensure!(world.built()? == ["one", "three"], "{:?} were built", world.built()?);
    ensure!(world.git(&["rev-parse", "HEAD~1"])? == before, "the commit has another parent");
    ensure!(world.git(&["symbolic-ref", "HEAD"])? == "refs/heads/main");
    ensure!(world.git(&["diff", "--name-only", "HEAD~1", "HEAD"])? == "source");
    ensure!(world.git(&["status", "--porcelain"])?.is_empty(), "the working tree has changed");
    Ok(())
}

/// Files that are new, removed, staged, not staged, and unknown to git.
fn working_tree() -> Result<()> {
    let world = World::new()?;
    world.write("staged")?;
    world.git(&["add", "source"])?;
    world.write("not staged")?;
    fs::remove_file(world.path("repo/below/other"))?;
    fs::write(world.path("repo/unknown.rs"), "")?;
    let cargo = fs::read_to_string(world.path("bin/cargo"))?;
    let log = world.path("log");
    fs::write(
        world.path("bin/cargo"),
        cargo + &format!("find . -name .git -prune -o -type f -print | sort >>'{}'\n", text(&log)?),
    )?;
    let before = world.state()?;
    let ran = world.regress("repo", &["--base", LAB], &[])?.expect(3)?;
    ran.told(&["1 new files are unknown to git", "unknown.rs"])?;
    ensure!(ran.err.matches("unknown to git").count() == 1, "it was said more than once:\n{}", ran.err);
    ensure!(world.state()? == before, "the repository has changed");
    ensure!(world.built()? == ["not staged", "./below/kept", "./source"], "{:?}", world.built()?);
    // The same files are built once.
    fs::remove_dir_all(world.path("out"))?;
    world.regress("repo", &["--base", LAB], &[])?.expect(3)?;
    ensure!(world.built()?.len() == 3, "it was built again: {:?}", world.built()?);
    Ok(())
}

fn shallow() -> Result<()> {
    let world = World::new()?;
    let from = format!("file://{}", Path::new(text(&world.path("repo"))?).display());
    world.git_in("bin", &["clone", "--quiet", "--depth", "1", &from, "../shallow"])?;
    let refused = world.regress("shallow", &["--base", "HEAD~1"], &[])?.expect(2)?;
    refused.told(&["`HEAD~1`", "shallow clone", "git fetch --unshallow"])?;
    fs::write(world.path("shallow/source"), "three\n")?;
    world.regress("shallow", &["--base", "HEAD"], &[])?.expect(3)?;
    ensure!(world.built()? == ["two", "three"], "{:?} were built", world.built()?);
    Ok(())
}
