//! How a program is started: by its language, or as the student says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::exercise::Exercise;
use super::workspace::{Language, Workspace};

/// The end of a failed build that is shown, lines.
const BUILD_LINES: usize = 40;

/// The words that start the program of an exercise. A Rust program is built first.
///
/// # Errors
/// When its interpreter is missing, or it does not build.
pub(crate) fn words(workspace: &Workspace, exercise: &Exercise, language: Language) -> Result<Vec<String>> {
    let file = workspace.file(exercise, language).display().to_string();
    match language {
        Language::Python => Ok(vec![python()?, file]),
        Language::Javascript => Ok(vec![on_path("node", "Node.js 18 or later")?, file]),
        Language::Rust => {
            let folder = workspace.folder.join("rust");
            Ok(vec![build(&folder, exercise.name)?.display().to_string()])
        }
    }
}

/// The words of `--program`. No shell takes part. A word that is a file is made absolute, because the
/// program starts in another folder.
pub(crate) fn split(program: &str) -> Result<Vec<String>> {
    let words = shlex::split(program).filter(|words| !words.is_empty());
    let mut words = words
        .with_context(|| format!("`--program {program}` has no words, or a quote that is not closed"))?;
    for word in &mut words {
        let path = Path::new(word.as_str());
        if path.is_file() {
            *word =
                std::path::absolute(path).map_or_else(|_| word.clone(), |path| path.display().to_string());
        }
    }
    Ok(words)
}

/// The interpreter itself: a wrapper in front of it would take longer to start each time.
fn python() -> Result<String> {
    let python = on_path("python3", "Python 3.10 or later")?;
    let asked = Command::new(&python)
        .args(["-c", "import sys; print(sys.executable)"])
        .stderr(Stdio::null())
        .output();
    let said = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    Ok(if Path::new(said.trim()).is_file() { said.trim().to_owned() } else { python })
}

fn on_path(name: &str, what: &str) -> Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path.display().to_string()),
        None => bail!(
            "there is no `{name}` on PATH; install {what}, or write the program in another language (--lang)"
        ),
    }
}

fn build(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    // What cargo has set for `lab` itself, as in a test, is not meant for another project.
    for (variable, _) in
        std::env::vars_os().filter(|(variable, _)| variable.to_string_lossy().starts_with("CARGO_"))
    {
        if !["CARGO_HOME", "CARGO_NET_OFFLINE"].contains(&&*variable.to_string_lossy()) {
            command.env_remove(&variable);
        }
    }
    let target =
        std::env::var_os("LAB_EXERCISES_TARGET").map_or_else(|| folder.join("target"), PathBuf::from);
    let output = command
        .args(["build", "--quiet", "--bin", name, "--target-dir"])
        .arg(&target)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo; install Rust first: https://rustup.rs")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().take(BUILD_LINES).collect();
        bail!("the program does not build:\n{}", lines.join("\n"));
    }
    Ok(target.join("debug").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_without_a_shell() {
        assert_eq!(
            split("java -cp 'my classes' Main").expect("words"),
            ["java", "-cp", "my classes", "Main"]
        );
        assert_eq!(split("echo $HOME; rm x").expect("words"), ["echo", "$HOME;", "rm", "x"]);
        for bad in ["", "  ", "'open"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
