//! `lab grade`: runs a class, and writes marks in the formats of other systems.

mod points;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use futures_util::StreamExt as _;
use labs::lab::Broker;
use labs::printable::printable;

use super::named;
use crate::broker::{self, Choices};
use crate::command::random;
use crate::command::{Usage, interruptible};
use crate::course::exercise::Exercise;
use crate::course::grade::format::{self, Format, Graded, Visibility};
use crate::course::grade::mark::{Mark, Outcome, points};
use crate::course::grade::pages::{self, About};
use crate::course::grade::roster::{self, Roster, Student};
use crate::course::grade::run::Runner;
use crate::course::grade::store::{self, MARKS, Settings, Store};
use crate::course::grade::submission;
use crate::course::plan::Transport;
use crate::course::workspace;
use crate::process::guard;
use crate::{hint, roles, units};

#[derive(Debug, Args)]
pub(crate) struct GradeArgs {
    /// Folder with one entry for each student: a folder, an archive (zip, tar, tar.gz) or a program,
    /// named after the id in the roster. Without --roster: one submission
    submissions: PathBuf,
    /// The exercises, with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    exercise: Vec<String>,
    /// File with the class: a line `id,name`, and below it one line for each student
    #[arg(long, value_name = "FILE")]
    roster: Option<PathBuf>,
    /// What to write, with commas
    #[arg(long, value_name = "FORMAT", value_enum, value_delimiter = ',', default_value = "csv")]
    format: Vec<Format>,
    /// Folder for marks and pages; a class that was interrupted goes on there
    #[arg(long, value_name = "DIR", default_value = "grades")]
    out: PathBuf,
    /// First seed, the same for the whole class; default: another one for each class
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many seeds each program is checked with
    #[arg(long, value_name = "N", default_value = "3", value_parser = units::count)]
    seeds: usize,
    /// Most points of an exercise
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    points: f64,
    /// Weight of a check; those that are not named have the weight 1
    #[arg(long, value_name = "CHECK=N", value_delimiter = ',')]
    weight: Vec<String>,
    /// Checks that count and that students do not see
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    hidden: Vec<String>,
    /// When Gradescope shows the hidden checks
    #[arg(long, value_name = "WHEN", value_enum, default_value = "after_published")]
    visibility: Visibility,
    /// How many submissions run at once; default: one for each processor, at most 4
    #[arg(long, value_name = "N", value_parser = units::count)]
    jobs: Option<usize>,
}

/// The id of a submission without a class.
const ONE: &str = "submission";
/// Most submissions that are checked at once.
const MOST_JOBS: usize = 16;
/// Most seeds.
const MOST_SEEDS: usize = 20;

/// What is to be done for one student.
struct Task {
    student: Student,
    /// Where the submission is; or why there is none that can be taken.
    from: Result<Option<PathBuf>, String>,
}

pub(crate) fn main(args: &GradeArgs) -> Result<ExitCode> {
    let exercises: Vec<&'static Exercise> = distinct(&args.exercise)?;
    let scheme = points::scheme(args.points, &args.weight, &args.hidden, &exercises)?;
    if args.seeds == 0 || args.seeds > MOST_SEEDS {
        bail!(Usage(format!("`--seeds {}`: give 1 to {MOST_SEEDS}", args.seeds)));
    }
    let (tasks, mut problems) = match &args.roster {
        Some(file) => {
            class(&args.submissions, roster::read(file).map_err(|error| Usage(format!("{error:#}")))?)?
        }
        None => (vec![one(&args.submissions)?], Vec::new()),
    };
    if let Some(jobs) = args.jobs.filter(|jobs| !(1..=MOST_JOBS).contains(jobs)) {
        bail!(Usage(format!("`--jobs {jobs}`: give 1 to {MOST_JOBS}")));
    }
    let jobs = args
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4));
    let first = args.seed.unwrap_or_else(|| u64::from(random() % 100_000));
    let seeds = (0..args.seeds as u64).map(|number| first.wrapping_add(number)).collect();
    let names = exercises.iter().map(|exercise| exercise.name.to_owned()).collect();
    workspace::materials()?;
    guard::enter()?;
    if exercises.iter().any(|exercise| exercise.transport == Transport::Redis) {
        broker::find(Broker::Redis, &Choices::new())?;
    }
    let settings = Settings::new(names, seeds, scheme);
    let mut store =
        Store::open(&args.out, settings, args.seed.is_some()).map_err(|error| Usage(format!("{error:#}")))?;
    let runner = Runner::new(store.settings.seeds.clone(), store.settings.scheme.clone(), jobs);
    let mut limits = BTreeSet::new();
    if !runner.apart {
        limits.insert(
            "no network namespace can be made, so all submissions run on the same loopback interface"
                .to_owned(),
        );
    }
    for limit in &limits {
        errln!("note: {limit}");
    }
    if args.roster.is_none() && args.submissions.is_dir() {
        errln!("note: without --roster, {} is one submission", args.submissions.display());
    }
    let runtime = roles::runtime(0)?;
    let local = tokio::task::LocalSet::new();
    let done = local.block_on(&runtime, interruptible(grade(&runner, &exercises, &tasks, &mut store, jobs)));
    drop(local);
    runtime.shutdown_background();
    let marks = match done {
        Some(marks) => marks?,
        None => {
            errln!(
                "interrupted; the marks until here are in {}, and the same command goes on",
                args.out.join(MARKS).display()
            );
            return Ok(ExitCode::from(130));
        }
    };
    for mark in &marks {
        limits.extend(mark.limits_off.iter().cloned());
        if mark.outcome == Outcome::Error || mark.outcome == Outcome::Unknown {
            let why = mark.why.as_deref().unwrap_or_default();
            problems.push(format!("{}, {}: no mark: {why}", mark.student, mark.exercise));
        }
    }
    let about = About {
        exercises: store.settings.exercises.clone(),
        seeds: store.settings.seeds.clone(),
        problems,
        limits: limits.into_iter().collect(),
        command: command(args, &store.settings.seeds),
    };
    write(args, &tasks, &marks, &about)?;
    Ok(end(args, &marks, &about))
}

fn distinct(names: &[String]) -> Result<Vec<&'static Exercise>> {
    let mut exercises: Vec<&'static Exercise> = Vec::new();
    for name in names {
        let exercise = named(name)?;
        if exercises.iter().any(|known| known.name == exercise.name) {
            bail!(Usage(format!("the exercise {name} is named twice")));
        }
        exercises.push(exercise);
    }
    Ok(exercises)
}

/// One submission, without a class.
fn one(path: &Path) -> Result<Task> {
    if !path.exists() {
        bail!(Usage(format!("there is no submission {}", path.display())));
    }
    let student = Student { id: ONE.to_owned(), name: String::new(), submission: None };
    Ok(Task { student, from: Ok(Some(path.to_owned())) })
}

/// A task for each student, and what is left over.
fn class(folder: &Path, roster: Roster) -> Result<(Vec<Task>, Vec<String>)> {
    if !folder.is_dir() {
        bail!(Usage(format!("there is no folder {}", folder.display())));
    }
    if roster.students.is_empty() {
        bail!(Usage("no line of the roster names a student".to_owned()));
    }
    let mut entries: Vec<String> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    entries.sort();
    let mut problems = roster.problems;
    let mut used = BTreeSet::new();
    let mut tasks = Vec::new();
    for student in roster.students {
        let from = match (submission::entry(&student, &entries), &student.submission) {
            (Ok(None), Some(named)) => {
                let why =
                    format!("the roster names the submission `{}`, and there is none", printable(named));
                problems.push(format!("{}: {why}", student.id));
                Err(why)
            }
            (Ok(entry), _) => {
                used.extend(entry.cloned());
                Ok(entry.map(|entry| folder.join(entry)))
            }
            (Err(error), _) => {
                // Both of two count as theirs.
                used.extend(entries.iter().filter(|entry| submission::stem(entry) == student.id).cloned());
                Err(format!("{error:#}"))
            }
        };
        tasks.push(Task { student, from });
    }
    if used.is_empty() {
        bail!(Usage(format!(
            "no entry of {} belongs to a student of the roster; entries have the ids of students as their names",
            folder.display()
        )));
    }
    for entry in entries.iter().filter(|entry| !used.contains(*entry)) {
        let stem = submission::stem(entry);
        let near = tasks.iter().find(|task| task.student.id.eq_ignore_ascii_case(stem));
        let near = near.map(|task| format!("; did you mean `{}`? Capital letters count", task.student.id));
        let near = near.unwrap_or_default();
        problems.push(format!("the submission `{}` belongs to nobody in the roster{near}", printable(entry)));
    }
    Ok((tasks, problems))
}

/// Marks everybody; marks that were given before stay.
async fn grade(
    runner: &Runner,
    exercises: &[&'static Exercise],
    tasks: &[Task],
    store: &mut Store,
    jobs: usize,
) -> Result<Vec<Mark>> {
    let began = std::time::Instant::now();
    let before = store.marks().to_vec();
    let each = |task| exercises.iter().map(move |exercise| (task, *exercise));
    let work: Vec<(&Task, &Exercise)> = tasks.iter().flat_map(each).collect();
    let all = work.len();
    let mut running = futures_util::stream::iter(work)
        .map(|(task, exercise)| graded(runner, &before, task, exercise))
        .buffer_unordered(jobs);
    let mut marks = Vec::new();
    let mut kept = 0;
    while let Some((mark, stays)) = running.next().await {
        marks.push(mark);
        let Some(mark) = marks.last() else { continue };
        if stays {
            kept += 1;
            continue;
        }
        // What was not handed in, or cannot be taken, costs nothing to look at again.
        if mark.digest.is_some() {
            store.add(mark.clone())?;
        }
        tell(marks.len(), all, mark);
    }
    if kept > 0 {
        errln!("{kept} of {all} have a mark from before, which stays");
    }
    errln!("graded in {:.0} s", began.elapsed().as_secs_f64());
    Ok(marks)
}

/// The mark of one student for one exercise, and whether it is one from before.
async fn graded(runner: &Runner, before: &[Mark], task: &Task, exercise: &Exercise) -> (Mark, bool) {
    let id = &task.student.id;
    let none = |outcome, why| (Mark::none(id, exercise, &runner.scheme, outcome, why), false);
    let from = match &task.from {
        Ok(None) => return none(Outcome::Missing, "nothing was handed in".to_owned()),
        Err(why) => return none(Outcome::Refused, why.clone()),
        Ok(Some(from)) => from,
    };
    match runner.take(from) {
        Err(error) => none(Outcome::Refused, format!("{error:#}")),
        Ok((_folder, submission)) => match store::kept(before, id, exercise.name, &submission.digest) {
            Some(mark) => (mark.clone(), true),
            None => (runner.mark(id, exercise, &submission).await, false),
        },
    }
}

fn tell(done: usize, all: usize, mark: &Mark) {
    let failed: Vec<&str> =
        mark.checks.iter().filter(|check| !check.holds).map(|check| check.name.as_str()).collect();
    let about = match mark.outcome {
        Outcome::Passed => String::new(),
        Outcome::Failed => format!("  ({})", failed.join(", ")),
        _ => format!("  ({})", printable(&mark.why.as_deref().unwrap_or_default().replace('\n', " "))),
    };
    errln!(
        "{done:>4} of {all}  {:<16} {:<18} {:<8} {:>6} of {}{about}",
        mark.student,
        mark.exercise,
        mark.outcome.name(),
        points(mark.points),
        points(mark.of)
    );
}

/// Writes all files. The marks of a student are in the order of the exercises.
fn write(args: &GradeArgs, tasks: &[Task], marks: &[Mark], about: &About) -> Result<()> {
    let order = |mark: &&Mark| about.exercises.iter().position(|name| *name == mark.exercise);
    let class: Vec<Graded<'_>> = tasks
        .iter()
        .map(|task| {
            let mut theirs: Vec<&Mark> =
                marks.iter().filter(|mark| mark.student == task.student.id).collect();
            theirs.sort_by_key(order);
            Graded { id: &task.student.id, name: &task.student.name, marks: theirs }
        })
        .collect();
    let one = args.roster.is_none();
    for &wanted in &args.format {
        let files = format::files(wanted, &class, args.visibility, one)?;
        format::write(&args.out, &files)?;
        // Autolab reads the last line of the output.
        if let (true, Format::Autolab, Some((_, text))) = (one, wanted, files.first()) {
            outln!("{}", text.trim_end())?;
        }
    }
    for student in &class {
        let page = pages::student(student, about)?;
        format::write(&args.out, &vec![(format!("students/{}.html", student.id), page)])?;
    }
    format::write(&args.out, &vec![("class.html".to_owned(), pages::class(&class, about)?)])
}

fn end(args: &GradeArgs, marks: &[Mark], about: &About) -> ExitCode {
    for problem in &about.problems {
        errln!("problem: {}", printable(problem));
    }
    let sum: f64 = marks.iter().map(|mark| mark.points).sum();
    let of: f64 = marks.iter().map(|mark| mark.of).sum();
    let passed = marks.iter().filter(|mark| mark.outcome == Outcome::Passed).count();
    errln!(
        "{passed} of {} passed, {} of {} points; seeds {}",
        marks.len(),
        points(sum),
        points(of),
        about.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
    );
    errln!("the class: {}", args.out.join("class.html").display());
    if marks.iter().any(|mark| mark.outcome == Outcome::Error) {
        return ExitCode::FAILURE;
    }
    if marks.iter().any(|mark| mark.outcome == Outcome::Unknown) {
        return ExitCode::from(3);
    }
    if about.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn formats(formats: &[Format]) -> String {
    let names = formats.iter().filter_map(clap::ValueEnum::to_possible_value);
    names.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(",")
}

/// The command that grades the class in the same way.
fn command(args: &GradeArgs, seeds: &[u64]) -> String {
    let (submissions, count) = (args.submissions.display().to_string(), seeds.len().to_string());
    let first = seeds.first().copied().unwrap_or_default().to_string();
    let (exercises, roster) =
        (args.exercise.join(","), args.roster.as_ref().map(|file| file.display().to_string()));
    let mut words =
        vec!["grade", &submissions, "--exercise", &exercises, "--seed", &first, "--seeds", &count];
    if let Some(roster) = &roster {
        words.extend(["--roster", roster]);
    }
    let (formats, out) = (formats(&args.format), args.out.display().to_string());
    words.extend(["--format", &formats, "--out", &out]);
    hint::command(&words)
}
