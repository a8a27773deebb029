//! A student's folder, and checks of the program in it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::lab;

/// Where the exercises are.
pub(super) fn materials() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../labs/exercises")
}

/// A language: its name, the ending of its files, and the helpers of its programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Language {
    pub(super) name: &'static str,
    pub(super) ending: &'static str,
    helpers: &'static [&'static str],
}

pub(super) const PYTHON: Language =
    Language { name: "python", ending: "py", helpers: &["course.py", "resp.py"] };
pub(super) const JAVASCRIPT: Language =
    Language { name: "javascript", ending: "mjs", helpers: &["course.mjs", "resp.mjs"] };
pub(super) const RUST: Language = Language {
    name: "rust",
    ending: "rs",
    helpers: &["Cargo.toml", "Cargo.lock", "src/lib.rs", "src/control.rs", "src/json.rs"],
};

/// A folder with one program in it.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn with(language: Language, exercise: &str, program: &str) -> Result<Self> {
        let folder = Self(tempfile::tempdir()?);
        let home = folder.path().join(language.name);
        for helper in language.helpers {
            let to = home.join(helper);
            fs::create_dir_all(to.parent().context("no folder")?)?;
            fs::copy(materials().join(language.name).join(helper), to)?;
        }
        let bin = if language.name == "rust" { home.join("src/bin") } else { home };
        fs::create_dir_all(&bin)?;
        fs::write(bin.join(format!("{exercise}.{}", language.ending)), program)?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// What `lab check … --json` says of a program.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) code: i32,
    pub(super) said: Value,
    pub(super) err: String,
}

impl Checked {
    pub(super) fn verdict(&self) -> &str {
        self.said["verdict"].as_str().unwrap_or("none")
    }

    /// The checks that do not hold.
    pub(super) fn broken(&self) -> Vec<&str> {
        let checks = self.said["checks"].as_array().map_or(&[][..], Vec::as_slice);
        let broken = checks.iter().filter(|check| check["holds"] == false);
        broken.filter_map(|check| check["name"].as_str()).collect()
    }

    /// For a message about a check that came out wrong.
    pub(super) fn about(&self) -> String {
        let checks = self.said["checks"].as_array().map_or(&[][..], Vec::as_slice);
        let broken = checks.iter().filter(|check| check["holds"] == false);
        let got: Vec<String> =
            broken.map(|check| format!("{}: got {}", check["name"], check["got"])).collect();
        format!("{} ({}); why {}; {}", self.verdict(), got.join("; "), self.said["why"], self.err)
    }
}

/// Checks the program of an exercise in this folder.
pub(super) fn check(folder: &Path, language: Language, exercise: &str, more: &[&str]) -> Result<Checked> {
    let dir = folder.display().to_string();
    let words = [&["check", exercise, "--dir", &dir, "--lang", language.name, "--json"], more].concat();
    checked(&words)
}

/// Runs `lab` with these words, which ask for JSON.
pub(super) fn checked(words: &[&str]) -> Result<Checked> {
    // All Rust programs share their libraries.
    let output = lab(words).env("LAB_EXERCISES_TARGET", target()).output()?;
    let out = String::from_utf8(output.stdout)?;
    Ok(Checked {
        code: crate::program::code(output.status),
        said: out.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("exercises")
}

/// The exercises, as `lab exercises --json` lists them.
pub(super) fn exercises() -> Result<Vec<Value>> {
    let output = lab(&["exercises", "--json"]).output()?;
    let all: Value = serde_json::from_slice(&output.stdout)?;
    all.as_array().cloned().context("no list")
}
