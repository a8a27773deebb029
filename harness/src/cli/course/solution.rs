//! `lab solution`: ours, after a pass; and the student's program measured beside it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::{Place, named};
use crate::command::{Usage, interruptible};
use crate::course::check::once;
use crate::course::exercise::Exercise;
use crate::course::plan::{Plan, Verdict};
use crate::course::start;
use crate::course::workspace::{self, Language, Workspace};
use crate::process::guard;
use crate::roles;

/// How often each program is measured, in turn.
const ROUNDS: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct SolutionArgs {
    /// The exercise
    exercise: String,
    #[command(flatten)]
    place: Place,
    /// Show the solution only, without measuring
    #[arg(long)]
    no_measure: bool,
}

pub(crate) fn main(args: &SolutionArgs) -> Result<ExitCode> {
    let exercise = named(&args.exercise)?;
    let workspace = args.place.workspace();
    if !workspace.passed(exercise) {
        bail!(Usage(format!(
            "{} is not passed yet, and the solution is shown after a pass; `{}` gives a hint",
            exercise.name,
            args.place.command("hint", exercise)
        )));
    }
    guard::enter()?;
    let own = args.place.written(exercise).ok();
    let there = workspace::languages(exercise, "solution")?;
    let wanted = args.place.lang.or(own).filter(|language| there.contains(language));
    let language = wanted.unwrap_or(Language::Python);
    outln!("{}", workspace::source(exercise, "solution", language)?.trim_end())?;
    let Some(own) = own.filter(|_| !args.no_measure) else { return Ok(ExitCode::SUCCESS) };
    let runtime = roles::runtime(0)?;
    let local = tokio::task::LocalSet::new();
    let done = local.block_on(&runtime, interruptible(compare(&workspace, exercise, own, language)));
    drop(local);
    runtime.shutdown_background();
    match done {
        None => Ok(ExitCode::from(130)),
        Some(done) => done.map(|()| ExitCode::SUCCESS),
    }
}

/// Measures both, in turn, without faults.
async fn compare(
    workspace: &Workspace,
    exercise: &Exercise,
    own: Language,
    language: Language,
) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("solution-").tempdir_in(guard::session_dir())?;
    let ours = Workspace::at(folder.path());
    ours.put(exercise, language, &workspace::source(exercise, "solution", language)?)?;
    let programs = [start::words(workspace, exercise, own)?, start::words(&ours, exercise, language)?];
    let plan = Plan { faults: std::collections::BTreeSet::new(), ..exercise.whole(0) };
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        errln!("measuring, round {} of {ROUNDS} …", round + 1);
        for (words, times) in programs.iter().zip(&mut times) {
            let run = once(exercise, &plan, words).await?;
            let phases = run.history.phase("load").zip(run.history.last_act());
            match phases {
                Some((load, end)) if run.verdict != Verdict::Invalid => times.push(end.saturating_sub(load)),
                _ => bail!("a program that passed has failed now; check it again"),
            }
        }
    }
    outln!(
        "\nFrom the first message to the last, {} messages, no faults (median of {ROUNDS} runs):",
        plan.messages
    )?;
    for (who, times) in ["yours", "ours"].into_iter().zip(&mut times) {
        times.sort_unstable();
        let median = times[times.len() / 2];
        let (low, high) = (times[0], times[times.len() - 1]);
        outln!("  {who:<6} {:>7.1} ms   ({:.1} to {:.1} ms)", millis(median), millis(low), millis(high))?;
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
