//! The course on the command line: `lab exercises`, `check`, `watch`, `hint`, `reset`, `solution`.

mod check;
mod grade;
mod list;
mod solution;
mod watch;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::command::Usage;
use crate::course::exercise::Exercise;
use crate::course::exercises::ALL;
use crate::course::workspace::{self, Language, Workspace};
use crate::{hint, plan};

pub(super) use check::{CheckArgs, main as check};
pub(super) use grade::{GradeArgs, main as grade};
pub(super) use list::{ExercisesArgs, HintArgs, ResetArgs, hint_main, main as exercises, reset};
pub(super) use solution::{SolutionArgs, main as solution};
pub(super) use watch::{WatchArgs, main as watch};

/// Where the student's programs are.
#[derive(Debug, Clone, Args)]
struct Place {
    /// Folder with your programs and your progress
    #[arg(long, value_name = "DIR", default_value = "exercises")]
    dir: PathBuf,
    /// Language of the program: python, rust or javascript; default: the one that you wrote last
    #[arg(long, value_name = "LANGUAGE", value_enum, ignore_case = true)]
    lang: Option<Language>,
}

impl Place {
    fn workspace(&self) -> Workspace {
        Workspace::at(&self.dir)
    }

    /// The words of a command about an exercise, with the options that this one was given.
    fn command(&self, command: &str, exercise: &Exercise) -> String {
        self.line(&[command, exercise.name])
    }

    fn line(&self, words: &[&str]) -> String {
        let dir = self.dir.display().to_string();
        let mut words = words.to_vec();
        if dir != "exercises" {
            words.extend(["--dir", &dir]);
        }
        hint::command(&words)
    }

    /// The language of a program that is there.
    fn written(&self, exercise: &Exercise) -> Result<Language> {
        let written = self.workspace().written(exercise);
        match self.lang {
            Some(language) if written.contains(&language) => Ok(language),
            Some(language) => bail!(Usage(format!(
                "there is no program {}; `{}` writes the starter",
                self.workspace().file(exercise, language).display(),
                self.line(&["exercises", exercise.name, "--lang", language.name()])
            ))),
            None => written.first().copied().ok_or_else(|| {
                Usage(format!(
                    "there is no program for {} in {}; `{}` writes the starter",
                    exercise.name,
                    self.dir.display(),
                    self.command("exercises", exercise)
                ))
                .into()
            }),
        }
    }
}

/// The exercise of this name, or of this number in the list.
fn named(name: &str) -> Result<&'static Exercise> {
    if let Some(exercise) = ALL.iter().find(|exercise| exercise.name == name) {
        return Ok(exercise);
    }
    // As the list counts them.
    let number = name.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    if let Some(exercise) = number.and_then(|at| ALL.get(at)) {
        return Ok(exercise);
    }
    let names: Vec<&str> = ALL.iter().map(|exercise| exercise.name).collect();
    let near = plan::nearest(name, names.iter().copied());
    let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    bail!(Usage(format!("there is no exercise `{name}`; {hint}The exercises are {}", names.join(", "))))
}

/// The next hint of an exercise, which is noted: its number, how many there are, and its text. After
/// the last one it is the last one again.
fn take_hint(workspace: &Workspace, exercise: &Exercise) -> Result<(usize, usize, String)> {
    let hints = workspace::hints(exercise)?;
    let taken = workspace.count(exercise, "hint");
    let at = taken.min(hints.len().saturating_sub(1));
    if taken < hints.len() {
        workspace.note("hint", exercise, &(at + 1).to_string())?;
    }
    Ok((at + 1, hints.len(), hints.get(at).cloned().unwrap_or_default()))
}

/// The first exercise that was not passed.
fn next(workspace: &Workspace) -> Option<&'static Exercise> {
    ALL.iter().find(|exercise| !workspace.passed(exercise)).copied()
}

/// The exercise of this name, or the next one where none is named.
fn named_or_next(name: Option<&str>, workspace: &Workspace) -> Result<&'static Exercise> {
    match name {
        Some(name) => named(name),
        None => next(workspace).ok_or_else(|| Usage("all exercises are passed; name one".to_owned()).into()),
    }
}
