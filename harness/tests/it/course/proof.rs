//! The proof of the course. With one seed here; `./run prove` uses ten, and adds the other languages.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;
use libtest_mimic::Trial;
use serde::Deserialize;

use super::folder::{Folder, JAVASCRIPT, Language, PYTHON, RUST, check, exercises, materials};
use crate::needs::{Need, Needs, needs, proof};

/// How many checks run at once: they wait most of their time, and other tests run beside them.
const AT_ONCE: usize = 3;
/// How often a check may be tried that can say nothing.
const TRIES: usize = 4;
/// Seeds of the long proof.
const SEEDS: u64 = 10;

pub(super) fn trials() -> Vec<Trial> {
    let redis = || Needs::from(Need::FullBroker(Broker::Redis)).and(Need::Program("python3", "python3"));
    let mut trials = vec![
        needs(redis(), "course::every_exercise_is_proven", every_exercise),
        // One test, which keeps one place among those that run at once: most of its time it waits.
        needs(redis(), "course::starters_fail_solutions_pass_mutants_are_caught", everything),
        needs(redis(), "course::cheats_are_caught", cheats),
        proof(needs(redis(), "course::witnesses_are_small", witnesses)),
    ];
    for name in folders() {
        let trial = |what: &str, needed: Needs, test: fn(&str) -> Result<()>| {
            let called = format!("course::{what}::{name}");
            let name = name.clone();
            needs(needed, &called, move || test(&name))
        };
        let node = redis().and(Need::Program("node", "nodejs"));
        trials.extend([
            proof(trial("ten_seeds", redis(), |name| run(python(name, 0..SEEDS, false)?))),
            proof(trial("rust", redis(), |name| other(name, RUST))),
        ]);
        if has(&name, "solution", JAVASCRIPT) {
            trials.push(proof(trial("javascript", node, |name| other(name, JAVASCRIPT))));
        }
    }
    trials
}

/// The exercises that have a folder.
fn folders() -> Vec<String> {
    let entries = fs::read_dir(materials()).into_iter().flatten().flatten();
    let exercises = entries.filter(|entry| entry.path().join("mutants.toml").is_file());
    let mut names: Vec<String> = exercises.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Each exercise that `lab` lists has a folder, and so a test here; each has what is asked of it.
fn every_exercise() -> Result<()> {
    let listed: BTreeSet<String> = all()?.into_iter().map(|about| about.name).collect();
    let there: BTreeSet<String> = folders().into_iter().collect();
    ensure!(listed == there && there.len() == 16, "listed {listed:?}, but there are {there:?}");
    for name in &there {
        for (what, language) in
            [("starter", PYTHON), ("solution", PYTHON), ("starter", RUST), ("solution", RUST)]
        {
            ensure!(has(name, what, language), "{name} has no {what} in {}", language.name);
        }
        let both = has(name, "starter", JAVASCRIPT) == has(name, "solution", JAVASCRIPT);
        ensure!(both, "{name} has only one program in JavaScript");
    }
    let scripts = there.iter().filter(|name| has(name, "starter", JAVASCRIPT)).count();
    ensure!(scripts >= 5, "only {scripts} exercises in JavaScript");
    Ok(())
}

fn has(exercise: &str, what: &str, language: Language) -> bool {
    materials().join(exercise).join(format!("{what}.{}", language.ending)).is_file()
}

/// What an exercise is, as `lab exercises --json` says.
struct About {
    name: String,
    anomaly: String,
    checks: BTreeSet<String>,
}

fn all() -> Result<Vec<About>> {
    let about = |exercise: serde_json::Value| {
        let text = |name: &str| exercise[name].as_str().map(str::to_owned).context("a text is missing");
        let checks = exercise["checks"].as_array().context("no checks")?.iter();
        let checks = checks.filter_map(|check| check.as_str().map(str::to_owned)).collect();
        anyhow::Ok(About { name: text("name")?, anomaly: text("anomaly")?, checks })
    };
    exercises()?.into_iter().map(about).collect()
}

fn about(exercise: &str) -> Result<About> {
    all()?
        .into_iter()
        .find(|about| about.name == exercise)
        .with_context(|| format!("no {exercise} in the list"))
}

fn source(exercise: &str, what: &str, language: Language) -> Result<String> {
    let path = materials().join(exercise).join(format!("{what}.{}", language.ending));
    fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
}

/// A typical wrong solution: edits of the right one.
#[derive(Deserialize)]
struct Mutant {
    name: String,
    caught_by: String,
    why: String,
    edit: Vec<Edit>,
}

#[derive(Deserialize)]
struct Edit {
    find: String,
    replace: String,
}

#[derive(Deserialize)]
struct Mutants {
    mutant: Vec<Mutant>,
}

impl Mutant {
    fn of(&self, solution: &str) -> Result<String> {
        let mut program = solution.to_owned();
        for edit in &self.edit {
            let times = program.matches(&edit.find).count();
            ensure!(times == 1, "the mutant {} finds its text {times} times", self.name);
            program = program.replace(&edit.find, &edit.replace);
        }
        ensure!(program != solution && !self.why.is_empty(), "the mutant {} changes nothing", self.name);
        Ok(program)
    }
}

/// What a program is expected to come to.
enum Expected {
    Valid,
    /// It fails this check, and perhaps others.
    Fails(String),
}

struct Job {
    what: String,
    exercise: String,
    language: Language,
    program: String,
    seed: u64,
    expected: Expected,
}

impl Job {
    fn run(&self) -> Result<()> {
        let folder = Folder::with(self.language, &self.exercise, &self.program)?;
        let seed = self.seed.to_string();
        // On a busy machine nothing may be said about times: that is no verdict, and tried again. So is a
        // mutant whose mistake had no occasion: what is on its way when a fault hits depends on time.
        let mut found = None;
        for _ in 0..TRIES {
            let run = check(folder.path(), self.language, &self.exercise, &["--seed", &seed, "--no-shrink"])?;
            let verdict = found.insert(run).verdict();
            let unnoticed = verdict == "valid" && matches!(self.expected, Expected::Fails(_));
            if verdict != "unknown" && !unnoticed {
                break;
            }
        }
        let found = found.context("no try")?;
        match &self.expected {
            Expected::Valid => ensure!(found.code == 0 && found.verdict() == "valid", "{}", found.about()),
            Expected::Fails(name) => {
                let caught = found.code == 1 && found.broken().contains(&name.as_str());
                ensure!(caught, "{name} was to fail: {}", found.about());
            }
        }
        Ok(())
    }
}

/// A place for a check that runs: tests run at once, and too many checks would wait for each other.
struct Place;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Place {
    fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut usize| *taken >= AT_ONCE;
        *FREED.wait_while(taken, full).unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}

/// Runs all of them, and names those that came out wrong.
fn run(jobs: Vec<Job>) -> Result<()> {
    ensure!(!jobs.is_empty(), "nothing to check");
    let (jobs, wrong) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
                    let _place = Place::take();
                    if let Err(error) = job.run() {
                        let line = format!("{} of {}, seed {}: {error:#}", job.what, job.exercise, job.seed);
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn everything() -> Result<()> {
    let jobs: Vec<Vec<Job>> = folders().iter().map(|name| python(name, 0..1, true)).collect::<Result<_>>()?;
    run(jobs.into_iter().flatten().collect())
}

fn python(exercise: &str, seeds: std::ops::Range<u64>, with_mutants: bool) -> Result<Vec<Job>> {
    let about = about(exercise)?;
    let job = |what: String, program: String, seed: u64, expected: Expected| Job {
        what,
        exercise: exercise.to_owned(),
        language: PYTHON,
        program,
        seed,
        expected,
    };
    let solution = source(exercise, "solution", PYTHON)?;
    let mut jobs: Vec<Job> =
        seeds.map(|seed| job("the solution".to_owned(), solution.clone(), seed, Expected::Valid)).collect();
    if with_mutants {
        let starter = source(exercise, "starter", PYTHON)?;
        jobs.push(job("the starter".to_owned(), starter, 0, Expected::Fails(about.anomaly)));
        let path = materials().join(exercise).join("mutants.toml");
        let mutants: Mutants = toml::from_str(&fs::read_to_string(path)?)?;
        ensure!(mutants.mutant.len() >= 3, "{exercise} has too few mutants");
        for mutant in mutants.mutant {
            let known = mutant.caught_by == "runs" || about.checks.contains(&mutant.caught_by);
            ensure!(known, "{} names no check", mutant.name);
            let program = mutant.of(&solution)?;
            let expected = Expected::Fails(mutant.caught_by);
            jobs.push(job(format!("the mutant {}", mutant.name), program, 0, expected));
        }
    }
    Ok(jobs)
}

/// Starter and solution in another language.
fn other(exercise: &str, language: Language) -> Result<()> {
    let anomaly = about(exercise)?.anomaly;
    let job = |what: &str, expected: Expected| {
        anyhow::Ok(Job {
            what: format!("the {what} in {}", language.name),
            exercise: exercise.to_owned(),
            language,
            program: source(exercise, what, language)?,
            seed: 0,
            expected,
        })
    };
    // One after the other: in Rust both are built to the same place.
    run(vec![job("starter", Expected::Fails(anomaly))?])?;
    run(vec![job("solution", Expected::Valid)?])
}

/// Programs that would rather look right than be right, all for the same exercise.
const CHEATS: [&str; 4] = ["acks-at-once", "prints-answers", "reads-seed", "skips-transport"];

fn cheats() -> Result<()> {
    let caught = |name: &str| if name == "acks-at-once" { "ack-after-work" } else { "nothing-lost" };
    let job = |name: &str| {
        anyhow::Ok(Job {
            what: format!("the cheat {name}"),
            exercise: "ack-after-work".to_owned(),
            language: PYTHON,
            program: fs::read_to_string(materials().join("cheats").join(format!("{name}.py")))?,
            seed: 0,
            expected: Expected::Fails(caught(name).to_owned()),
        })
    };
    run(CHEATS.into_iter().map(job).collect::<Result<_>>()?)
}

/// Each starter, with the search for a smaller run.
fn witnesses() -> Result<()> {
    let mut sizes = Vec::new();
    for about in all()? {
        let folder = Folder::with(PYTHON, &about.name, &source(&about.name, "starter", PYTHON)?)?;
        let found = check(folder.path(), PYTHON, &about.name, &["--seed", "0"])?;
        let witness = &found.said["witness"];
        let messages = witness["messages"].as_u64().with_context(|| found.about())?;
        let drawn = witness["diagram"]["rows"].as_array().is_some_and(|rows| !rows.is_empty());
        ensure!(drawn, "{}: the witness has no picture", about.name);
        sizes.push(messages);
    }
    sizes.sort_unstable();
    let median = sizes[sizes.len() / 2];
    ensure!(median <= 10, "the median witness has {median} messages: {sizes:?}");
    Ok(())
}
