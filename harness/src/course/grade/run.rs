//! Checks one submission: `lab check` with each seed, as a process of its own that is bounded in time.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::mark::{Found, Mark, Outcome, Scheme, Witness};
use super::network;
use super::submission::{Program, Submission, take};
use crate::course::exercise::Exercise;
use crate::course::plan::RUNS;
use crate::course::witness::Diagram;
use crate::course::workspace::{Language, materials};
use crate::process::{self, guard};

/// How long one check may take, with the build of the program and the search for a smaller run.
const LONGEST: Duration = Duration::from_secs(240);
/// How often a check is tried that can say nothing, or whose broker fails.
const TRIES: usize = 3;
/// Exit code of a check that found the program wrong, and of one that cannot tell.
const WRONG: i32 = 1;
const CANNOT_TELL: i32 = 3;
/// Most of what a check says that is read, bytes.
const MOST_SAID: u64 = 4 << 20;

/// How submissions are run.
pub(crate) struct Runner {
    pub(crate) seeds: Vec<u64>,
    pub(crate) scheme: Scheme,
    /// In a network of its own; `false` where none can be made.
    pub(crate) apart: bool,
    /// Whether the libraries of programs in Rust were fetched: a network of its own reaches no registry.
    fetched: std::cell::OnceCell<()>,
    /// Folders for what programs in Rust are built into, one for each check that runs at once.
    targets: RefCell<Vec<PathBuf>>,
}

/// What `lab check --json` says.
#[derive(Debug, Deserialize)]
struct Said {
    verdict: String,
    checks: Vec<Found>,
    why: Option<String>,
    trouble: Option<Trouble>,
    again: String,
    witness: Option<SaidWitness>,
    #[serde(default)]
    limits_off: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Trouble {
    cause: String,
    next: String,
}

#[derive(Debug, Deserialize)]
struct SaidWitness {
    messages: usize,
    faults: Vec<String>,
    check: Option<String>,
    diagram: Diagram,
}

impl Runner {
    pub(crate) fn new(seeds: Vec<u64>, scheme: Scheme, jobs: usize) -> Self {
        let targets = (0..jobs).map(|job| guard::session_dir().join(format!("target-{job}"))).collect();
        Self {
            seeds,
            scheme,
            apart: network::can(),
            fetched: std::cell::OnceCell::new(),
            targets: RefCell::new(targets),
        }
    }

    /// Takes what is at `from` into a folder of our own.
    pub(crate) fn take(&self, from: &Path) -> Result<(tempfile::TempDir, Submission)> {
        let folder = tempfile::Builder::new()
            .prefix("submission-")
            .tempdir_in(guard::session_dir())
            .context("cannot make a folder for the submission")?;
        let submission = take(from, folder.path())?;
        Ok((folder, submission))
    }

    /// Marks the program of one exercise in a submission.
    pub(crate) async fn mark(&self, student: &str, exercise: &Exercise, submission: &Submission) -> Mark {
        let target = self.targets.borrow_mut().pop();
        let mut mark = match self.checked(student, exercise, submission, target.as_deref()).await {
            Ok(mark) => mark,
            // The checker, and not the program: the others go on.
            Err(error) => Mark::none(student, exercise, &self.scheme, Outcome::Error, format!("{error:#}")),
        };
        self.targets.borrow_mut().extend(target);
        mark.digest = Some(submission.digest.clone());
        mark
    }

    async fn checked(
        &self,
        student: &str,
        exercise: &Exercise,
        submission: &Submission,
        target: Option<&Path>,
    ) -> Result<Mark> {
        let began = Instant::now();
        let home = tempfile::Builder::new()
            .prefix("graded-")
            .tempdir_in(guard::session_dir())
            .context("cannot make a folder for the program")?;
        let program = match submission.program(exercise, home.path()) {
            Ok(program) => program,
            Err(error) => {
                let why = format!("{error:#}");
                return Ok(Mark::none(student, exercise, &self.scheme, Outcome::Refused, why));
            }
        };
        if let (true, Program::In { language: Language::Rust, .. }) = (self.apart, &program) {
            self.fetched.get_or_init(fetch);
        }
        let mut all: Vec<Box<Said>> = Vec::new();
        let mut unknown = None;
        // All seeds, also for a program that has failed: otherwise points would depend on the time.
        for &seed in &self.seeds {
            let failed = all.iter().any(|said| said.verdict == "invalid");
            // One picture is enough.
            let tried = Check { exercise, program: &program, seed, shrink: !failed, target };
            match self.check(&tried).await? {
                Checked::Said(said) if said.verdict == "unknown" => unknown = said.why.or(unknown),
                Checked::Said(said) => all.push(said),
                Checked::Refused(why) => {
                    let outcome = Outcome::Refused;
                    let mark = Mark::none(student, exercise, &self.scheme, outcome, why);
                    return Ok(Mark { program: Some(program.shown()), ..mark });
                }
            }
        }
        let found: Vec<Vec<Found>> = all.iter().map(|said| said.checks.clone()).collect();
        let mut checks = self.scheme.checks(exercise, &found);
        let wrong = all.iter().position(|said| said.verdict == "invalid");
        let outcome = match (wrong, &unknown) {
            (Some(_), _) => Outcome::Failed,
            (None, Some(_)) => Outcome::Unknown,
            (None, None) => Outcome::Passed,
        };
        if outcome == Outcome::Unknown {
            // No mark yet.
            checks.iter_mut().for_each(|check| check.points = 0.0);
        }
        let limits_off = all.first().map(|said| said.limits_off.clone()).unwrap_or_default();
        let said = wrong.map(|at| all.swap_remove(at));
        let trouble = said.as_ref().and_then(|said| said.trouble.as_ref());
        let why = trouble.map(|trouble| format!("{}; {}", trouble.cause, trouble.next));
        let again = said.as_ref().map(|said| repeat(&said.again, exercise, &program));
        let witness = said.and_then(|said| said.witness).map(|witness| Witness {
            messages: witness.messages,
            faults: witness.faults,
            check: witness.check.filter(|check| check != RUNS),
            diagram: witness.diagram,
        });
        Ok(Mark {
            student: student.to_owned(),
            exercise: exercise.name.to_owned(),
            outcome,
            points: checks.iter().map(|check| check.points).sum(),
            of: self.scheme.points,
            checks,
            why: why.or(unknown),
            program: Some(program.shown()),
            digest: None,
            again,
            witness,
            seconds: began.elapsed().as_secs_f64(),
            limits_off,
        })
    }

    /// One check, tried again when it can say nothing.
    async fn check(&self, check: &Check<'_>) -> Result<Checked> {
        let mut last = None;
        for _ in 0..TRIES {
            let tried = self.try_check(check).await;
            let certain = matches!(&tried, Ok(Checked::Said(said)) if said.verdict != "unknown")
                || matches!(tried, Ok(Checked::Refused(_)));
            last = Some(tried);
            if certain {
                break;
            }
        }
        last.context("no try")?
    }

    async fn try_check(&self, check: &Check<'_>) -> Result<Checked> {
        let Check { exercise, program, seed, shrink, target } = *check;
        let mut command = std::process::Command::new(process::this_program());
        command.args(["check", exercise.name, "--json", "--seed", &seed.to_string()]);
        match program {
            Program::In { folder, language } => {
                command.arg("--dir").arg(folder).args(["--lang", language.name()]);
            }
            Program::File(file) => {
                let file = file.display().to_string();
                command.arg("--program").arg(shlex::try_quote(&file)?.as_ref());
                // Where the pass is noted.
                command.arg("--dir").arg(guard::session_dir().join("progress"));
            }
        }
        if !shrink {
            command.arg("--no-shrink");
        }
        if let Some(target) = target {
            command.env("LAB_EXERCISES_TARGET", target);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.apart {
            network::apart(&mut command);
        }
        process::die_with_parent(&mut command);
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start `lab check`")?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let all = async { tokio::join!(read(out), read(err), child.wait()) };
        let Ok((out, err, status)) = tokio::time::timeout(LONGEST, all).await else {
            // Dropped here: its guard ends all that it has started.
            bail!("the check took longer than {} s", LONGEST.as_secs());
        };
        let code = status.context("`lab check` has no end")?.code();
        let said = out.lines().last().and_then(|line| serde_json::from_str::<Box<Said>>(line).ok());
        match (code, said) {
            (Some(0 | WRONG | CANNOT_TELL), Some(said)) => Ok(Checked::Said(said)),
            (Some(WRONG), None) if err.contains(DOES_NOT_BUILD) => {
                let at = err.find(DOES_NOT_BUILD).unwrap_or(0);
                Ok(Checked::Refused(err[at..].trim().chars().take(4000).collect()))
            }
            (code, _) => {
                let last =
                    err.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
                let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
                bail!("`lab check` ended with {code}: {}", labs::printable::printable(last))
            }
        }
    }
}

/// Fetches the libraries that the course's programs in Rust need. Where that fails, they may be there
/// already; otherwise the build says what it lacks.
fn fetch() {
    let Ok(materials) = materials() else { return };
    let mut command = std::process::Command::new("cargo");
    command.args(["fetch", "--quiet", "--locked", "--manifest-path"]).arg(materials.join("rust/Cargo.toml"));
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// One run of `lab check`.
struct Check<'a> {
    exercise: &'a Exercise,
    program: &'a Program,
    seed: u64,
    /// Search for a smaller run that shows the same.
    shrink: bool,
    target: Option<&'a Path>,
}

/// How `lab check` begins to say that a program does not build.
const DOES_NOT_BUILD: &str = "the program does not build";

enum Checked {
    Said(Box<Said>),
    /// The program cannot be started at all: the reason, for the student.
    Refused(String),
}

/// The command as a student would type it, who has another folder than we.
fn repeat(again: &str, exercise: &Exercise, program: &Program) -> String {
    let mut words = shlex::split(again).unwrap_or_default();
    if let Some(at) = words.iter().position(|word| word == "--dir") {
        words.drain(at..(at + 2).min(words.len()));
    }
    if let (Program::File(_), Some(at)) = (program, words.iter().position(|word| word == "--program"))
        && let Some(file) = words.get_mut(at + 1)
    {
        *file = format!("./{}", exercise.name);
    }
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
}

async fn read(from: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    use tokio::io::AsyncReadExt as _;
    let mut text = Vec::new();
    if let Some(from) = from {
        let _ = from.take(MOST_SAID).read_to_end(&mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}
