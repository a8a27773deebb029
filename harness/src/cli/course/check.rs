//! `lab check`: judges a program, and shows the smallest run that shows what is wrong.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{Place, named, named_or_next};
use crate::command::random;
use crate::command::{Usage, interruptible, live_terminal};
use crate::course::check::{Run, once, shrink};
use crate::course::exercise::Exercise;
use crate::course::plan::{Finding, RUNS, Verdict};
use crate::course::start;
use crate::course::witness::Diagram;
use crate::course::workspace::{self, Language};
use crate::process::guard;
use crate::replay;
use crate::{roles, units};

/// Exit code of a check that cannot tell.
const CANNOT_TELL: u8 = 3;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The exercise; default: the first that you have not passed
    exercise: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Check this command instead of your program in --dir: any executable, as in `"perl worker.pl"`
    #[arg(long, value_name = "COMMAND", conflicts_with = "lang")]
    program: Option<String>,
    /// Seed of the order and the moments of faults; default: another one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Checks it so often, with one seed after the other; the first that fails ends it
    #[arg(long, value_name = "N", default_value = "1", value_parser = units::count)]
    times: usize,
    /// Show the failed run as it was, without searching for a smaller one
    #[arg(long)]
    no_shrink: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is checked, and how it is shown.
pub(super) struct Subject<'a> {
    pub(super) exercise: &'static Exercise,
    pub(super) place: &'a Place,
    /// The words that start the program.
    pub(super) words: Vec<String>,
    /// Its language; `None` for a command of the student's own.
    pub(super) language: Option<Language>,
    /// The command as it was typed.
    pub(super) program: Option<&'a str>,
    pub(super) json: bool,
    pub(super) no_shrink: bool,
}

impl Subject<'_> {
    /// What the student calls the program.
    fn shown(&self) -> String {
        match (self.language, self.program) {
            (Some(language), _) => {
                let file = self.place.workspace().file(self.exercise, language);
                let here = std::env::current_dir().unwrap_or_default();
                file.strip_prefix(&here).unwrap_or(&file).display().to_string()
            }
            (None, Some(program)) => program.to_owned(),
            (None, None) => self.words.join(" "),
        }
    }

    /// The command that repeats a check with this seed.
    fn again(&self, seed: u64) -> String {
        let seed = seed.to_string();
        let mut words = vec!["check", self.exercise.name, "--seed", &seed];
        if let Some(program) = self.program {
            words.extend(["--program", program]);
        } else if let Some(language) = self.language {
            words.extend(["--lang", language.name()]);
        }
        self.place.line(&words)
    }
}

pub(crate) fn main(args: &CheckArgs) -> Result<ExitCode> {
    if args.times == 0 {
        bail!(Usage("`--times 0` checks nothing; give 1 or more".to_owned()));
    }
    let workspace = args.place.workspace();
    let exercise = match &args.program {
        Some(_) => named(
            args.exercise.as_deref().context(Usage("--program needs the name of an exercise".to_owned()))?,
        )?,
        None => named_or_next(args.exercise.as_deref(), &workspace)?,
    };
    let language = match &args.program {
        Some(_) => None,
        None => Some(args.place.written(exercise)?),
    };
    // What is printed before this is printed by each of the processes that it starts.
    guard::enter()?;
    let words = match (&args.program, language) {
        (Some(program), _) => start::split(program).map_err(|error| Usage(format!("{error:#}")))?,
        (None, Some(language)) => {
            if language == Language::Rust && !args.json && live_terminal() {
                errln!("building {} …", exercise.name);
            }
            start::words(&workspace, exercise, language)?
        }
        (None, None) => bail!("there is no program"),
    };
    let subject = Subject {
        exercise,
        place: &args.place,
        words,
        language,
        program: args.program.as_deref(),
        json: args.json,
        no_shrink: args.no_shrink,
    };
    let first = args.seed.unwrap_or_else(|| u64::from(random() % 100_000));
    let runtime = roles::runtime(0)?;
    let local = tokio::task::LocalSet::new();
    let done = local.block_on(
        &runtime,
        interruptible(async {
            let mut verdict = Verdict::Valid;
            for time in 0..args.times as u64 {
                verdict = judge(&subject, first.wrapping_add(time)).await?;
                if verdict != Verdict::Valid {
                    break;
                }
            }
            anyhow::Ok(verdict)
        }),
    );
    // Whatever a program does after its run was ended, ends here.
    drop(local);
    runtime.shutdown_background();
    let Some(verdict) = done else { return Ok(ExitCode::from(130)) };
    Ok(exit(verdict?))
}

pub(super) fn exit(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Valid => ExitCode::SUCCESS,
        Verdict::Invalid => ExitCode::FAILURE,
        Verdict::Unknown => ExitCode::from(CANNOT_TELL),
    }
}

/// Checks a program once, shows what was found, and notes a pass.
pub(super) async fn judge(subject: &Subject<'_>, seed: u64) -> Result<Verdict> {
    let exercise = subject.exercise;
    let plan = exercise.whole(seed);
    if !subject.json {
        let faults: Vec<&str> = plan.faults.iter().copied().collect();
        outln!(
            "{}: {}   ({} messages; faults: {}; seed {seed})",
            exercise.name,
            subject.shown(),
            plan.messages,
            faults.join(", ")
        )?;
    }
    let run = once(exercise, &plan, &subject.words).await?;
    let verdict = run.verdict;
    if !subject.json {
        print(subject, &run)?;
    }
    let kept: Vec<Value> = findings(exercise, &run);
    let (why, trouble, off, time) = (run.why.clone(), run.trouble.clone(), run.off.clone(), run.time);
    let mut witness = None;
    if verdict == Verdict::Invalid {
        // Without a `ready` there is nothing smaller to find.
        let began = run.history.said("ready").next().is_some();
        let (smallest, runs) = if subject.no_shrink || !began {
            (run, 0)
        } else {
            if !subject.json {
                outln!("\n  searching for the smallest run that shows it …")?;
            }
            shrink(exercise, run, &subject.words, |text| {
                if !subject.json {
                    let _ = outln!("    {text}");
                }
            })
            .await?
        };
        witness = Some((smallest, runs));
    }
    if verdict == Verdict::Valid {
        let workspace = subject.place.workspace();
        let language = subject.language.map_or("program", Language::name);
        if !workspace.passed(exercise) {
            workspace.note("passed", exercise, language)?;
        }
    }
    if subject.json {
        let witness = witness.as_ref().map(|(run, runs)| {
            let broken = run.broken();
            json!({
                "messages": run.plan.messages,
                "faults": run.plan.faults,
                "seed": run.plan.seed,
                "runs": runs,
                "check": broken.map(|finding| finding.check),
                "expected": broken.map(|finding| finding.expected.clone()),
                "got": broken.map(|finding| finding.got.clone()),
                "diagram": Diagram::of(&run.history),
            })
        });
        outln!(
            "{}",
            json!({
                "exercise": exercise.name,
                "verdict": verdict,
                "checks": kept,
                "why": why,
                "trouble": trouble.map(|trouble| json!({"cause": trouble.cause, "next": trouble.next})),
                "messages": plan.messages,
                "faults": plan.faults,
                "seed": seed,
                "seconds": time.as_secs_f64(),
                "limits_off": off,
                "witness": witness,
                "again": subject.again(seed),
            })
        )?;
        return Ok(verdict);
    }
    // A program that never began has no story.
    if let Some((run, runs)) = witness.as_ref().filter(|(run, _)| run.history.said("ready").next().is_some())
    {
        show(subject, run, *runs)?;
    }
    for off in off {
        outln!("  limit: {off}")?;
    }
    closing(subject, verdict, seed)?;
    Ok(verdict)
}

fn findings(exercise: &Exercise, run: &Run) -> Vec<Value> {
    let claim = |name: &str| {
        let known = exercise.checks.iter().find(|(check, _)| *check == name);
        known.map_or("the program runs and keeps to the protocol", |(_, claim)| claim)
    };
    let one = |finding: &Finding| {
        json!({
            "name": finding.check,
            "claim": claim(finding.check),
            "holds": finding.holds,
            "expected": finding.expected,
            "got": finding.got,
        })
    };
    run.findings.iter().map(one).collect()
}

fn print(subject: &Subject<'_>, run: &Run) -> Result<()> {
    if let Some(trouble) = &run.trouble {
        outln!("  FAILS  {RUNS:<20} {}", trouble.cause)?;
        outln!("         next: {}", trouble.next)?;
    }
    for (name, claim) in subject.exercise.checks {
        match run.findings.iter().find(|finding| finding.check == *name) {
            Some(finding) if finding.holds => outln!("  holds  {name:<20} {claim}")?,
            Some(finding) => {
                outln!("  FAILS  {name:<20} {claim}")?;
                outln!("         expected: {}", finding.expected)?;
                outln!("         got:      {}", finding.got)?;
            }
            None if run.trouble.is_some() => {}
            None => outln!("  ?      {name:<20} {claim}")?,
        }
    }
    if let (Verdict::Unknown, Some(why)) = (run.verdict, &run.why) {
        outln!("  cannot tell: {why}")?;
    }
    Ok(())
}

/// The smallest run, as a picture.
fn show(subject: &Subject<'_>, run: &Run, runs: usize) -> Result<()> {
    let diagram = Diagram::of(&run.history);
    let faults: Vec<&str> = run.plan.faults.iter().copied().collect();
    let faults = if faults.is_empty() { "no fault".to_owned() } else { faults.join(", ") };
    let messages = counted(run.plan.messages);
    match runs {
        0 => outln!("\n  the run: {messages}, {faults}")?,
        _ => outln!("\n  the smallest run that shows it: {messages}, {faults}, found in {runs} runs")?,
    }
    if let Some(finding) = run.broken() {
        outln!("  {}: expected {}; got {}", finding.check, finding.expected, finding.got)?;
    }
    outln!("\n{}", indented(&diagram.text()))?;
    let folder = subject.place.workspace().folder.join("witness");
    let path = folder.join(format!("{}.svg", subject.exercise.name));
    let title = run
        .broken()
        .map_or_else(String::new, |finding| format!("{}: {} fails", subject.exercise.name, finding.check));
    if subject.program.is_none() {
        write_picture(&folder, &path, &diagram.svg(&title))?;
        outln!("\n  the same as a picture: {}", path.display())?;
        let path = path.with_extension("html");
        let again = subject.again(run.plan.seed);
        replay::save(&[diagram.replay(&title, subject.exercise.name, &again)], &path)?;
        outln!("  as a replay for the browser: {}", path.display())?;
    }
    Ok(())
}

fn counted(messages: usize) -> String {
    format!("{messages} message{}", if messages == 1 { "" } else { "s" })
}

fn write_picture(folder: &Path, path: &Path, svg: &str) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::write(path, svg).with_context(|| format!("cannot write {}; is the disk full?", path.display()))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn closing(subject: &Subject<'_>, verdict: Verdict, seed: u64) -> Result<()> {
    let exercise = subject.exercise;
    match verdict {
        Verdict::Valid => {
            outln!("\n{}: passed", exercise.name)?;
            let solution = subject.place.command("solution", exercise);
            outln!("  our solution, and yours measured beside it: {solution}")?;
            if let Some(next) = super::next(&subject.place.workspace()) {
                outln!("  the next exercise: {}", subject.place.command("exercises", next))?;
            }
        }
        Verdict::Invalid | Verdict::Unknown => {
            let word = if verdict == Verdict::Invalid { "not passed" } else { "cannot tell" };
            outln!("\n{}: {word}", exercise.name)?;
            outln!("  again: {}", subject.again(seed))?;
            outln!("  hint:  {}", subject.place.command("hint", exercise))?;
            outln!("  read:  {}", workspace::page(exercise))?;
        }
    }
    Ok(())
}
