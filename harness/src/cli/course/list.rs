//! `lab exercises`, `lab hint`, `lab reset`: what there is, help, and a new start.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::{Place, named, named_or_next, next, take_hint};
use crate::command::Usage;
use crate::course::exercise::Exercise;
use crate::course::exercises::ALL;
use crate::course::plan::Transport;
use crate::course::workspace::{self, Language};

#[derive(Debug, Args)]
pub(crate) struct ExercisesArgs {
    /// An exercise: shows its statement, and writes the starter if you have no program yet
    exercise: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HintArgs {
    /// The exercise; default: the first that you have not passed
    exercise: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// The exercise
    exercise: String,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn main(args: &ExercisesArgs) -> Result<ExitCode> {
    let workspace = args.place.workspace();
    if let Some(name) = &args.exercise {
        return open(named(name)?, &args.place);
    }
    if args.json {
        let all: Vec<_> = ALL
            .iter()
            .map(|exercise| {
                json!({
                    "name": exercise.name,
                    "title": exercise.title,
                    "minutes": exercise.minutes,
                    "transport": exercise.transport,
                    "checks": exercise.checks.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                    "anomaly": exercise.anomaly,
                    "page": exercise.page,
                    "passed": workspace.passed(exercise),
                    "written": workspace.written(exercise).iter().map(|language| language.name()).collect::<Vec<_>>(),
                    "hints_taken": workspace.count(exercise, "hint"),
                })
            })
            .collect();
        outln!("{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let passed = ALL.iter().filter(|exercise| workspace.passed(exercise)).count();
    outln!(
        "{passed} of {} exercises passed; your programs are in {}\n",
        ALL.len(),
        workspace.folder.display()
    )?;
    let coming = next(&workspace);
    for (number, exercise) in ALL.iter().enumerate() {
        let state = match () {
            () if workspace.passed(exercise) => "passed",
            () if coming.is_some_and(|coming| coming.name == exercise.name) => "next",
            () if !workspace.written(exercise).is_empty() => "begun",
            () => "",
        };
        outln!(
            "{:>3}  {:<20} {:<44} {:>3} min  {:<5}  {state}",
            number + 1,
            exercise.name,
            exercise.title,
            exercise.minutes,
            over(exercise)
        )?;
    }
    if let Some(coming) = coming {
        outln!("\nbegin with:  {}", args.place.command("exercises", coming))?;
    }
    Ok(ExitCode::SUCCESS)
}

const fn over(exercise: &Exercise) -> &'static str {
    match exercise.transport {
        Transport::Tcp => "TCP",
        Transport::Redis => "Redis",
    }
}

/// Shows the statement, and writes the starter where there is no program yet.
fn open(exercise: &Exercise, place: &Place) -> Result<ExitCode> {
    let workspace = place.workspace();
    let task = workspace::material(exercise, "README.md")?;
    let check = place.command("check", exercise);
    outln!("{}", task.replace(&["./run check ", exercise.name].concat(), &check).trim_end())?;
    let written = workspace.written(exercise);
    let wanted = place.lang.or_else(|| written.first().copied());
    let language = wanted.or_else(|| used(&workspace)).unwrap_or(Language::Python);
    let file = if written.contains(&language) {
        workspace.file(exercise, language)
    } else {
        let text = starter(exercise, language)?;
        let (path, _) = workspace.put(exercise, language, &text)?;
        workspace.note("begun", exercise, language.name())?;
        path
    };
    outln!("\nyour program:  {}", file.display())?;
    outln!("check it:      {check}")?;
    outln!("a hint:        {}", place.command("hint", exercise))?;
    Ok(ExitCode::SUCCESS)
}

/// The language of the last exercise that was begun.
fn used(workspace: &workspace::Workspace) -> Option<Language> {
    let begun = workspace.progress().into_iter().rev().find(|done| done.what == "begun")?;
    Language::ALL.into_iter().find(|language| language.name() == begun.detail)
}

fn starter(exercise: &Exercise, language: Language) -> Result<String> {
    let there = workspace::languages(exercise, "starter")?;
    if there.contains(&language) {
        return workspace::source(exercise, "starter", language);
    }
    let names: Vec<&str> = there.iter().map(|language| language.name()).collect();
    bail!(Usage(format!(
        "{} has no starter in {}; it has one in {}. A program in any language can be checked with `--program`: see \
         docs/exercises-protocol.md",
        exercise.name,
        language.name(),
        names.join(", ")
    )))
}

pub(crate) fn hint_main(args: &HintArgs) -> Result<ExitCode> {
    let workspace = args.place.workspace();
    let exercise = named_or_next(args.exercise.as_deref(), &workspace)?;
    let (number, all, text) = take_hint(&workspace, exercise)?;
    outln!("{}, hint {number} of {all}\n\n{text}", exercise.name)?;
    if number < all {
        outln!("\nthe next one:  {}", args.place.command("hint", exercise))?;
    } else {
        outln!("\nThat was the last one. The solution is shown after a pass.")?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn reset(args: &ResetArgs) -> Result<ExitCode> {
    let workspace = args.place.workspace();
    let exercise = named(&args.exercise)?;
    let written = workspace.written(exercise).first().copied();
    let language = args.place.lang.or(written).or_else(|| used(&workspace)).unwrap_or(Language::Python);
    let text = starter(exercise, language)?;
    let (path, copy) = workspace.put(exercise, language, &text)?;
    workspace.note("begun", exercise, language.name())?;
    outln!("{} is the starter again", path.display())?;
    if let Some(copy) = copy {
        outln!("your program is kept in {}", copy.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
