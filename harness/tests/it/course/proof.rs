//! The proof of the course. With one seed here; `./run prove` uses ten, and adds the other languages.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use labs::lab::Broker;
use libtest_mimic::Trial;
use serde::Deserialize;

use super::folder::{Folder, JAVASCRIPT, Language, PYTHON, RUST, check, exercises, materials};
use crate::needs::{Need, Needs, needs, proof};

/// How many checks run at once: they wait most of their time, and other tests run beside them.
const AT_ONCE: usize = 2;
/// Seeds of the long proof.
const SEEDS: u64 = 10;

pub(super) fn trials() -> Vec<Trial> {
    let redis = || Needs::from(Need::FullBroker(Broker::Redis)).and(Need::Program("python3", "python3"));
    vec![
        needs(redis(), "course::starters_fail_solutions_pass_mutants_are_caught", || python(0..1, true)),
        needs(redis(), "course::cheats_are_caught", cheats),
        proof(needs(redis(), "course::solutions_pass_with_ten_seeds", || python(0..SEEDS, false))),
        proof(needs(redis(), "course::programs_in_rust", || others(RUST))),
        proof(needs(redis().and(Need::Program("node", "nodejs")), "course::programs_in_javascript", || {
            others(JAVASCRIPT)
        })),
        proof(needs(redis(), "course::witnesses_are_small", witnesses)),
    ]
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
    let all: Vec<About> = exercises()?.into_iter().map(about).collect::<Result<_>>()?;
    ensure!(all.len() == 16, "{} exercises", all.len());
    Ok(all)
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
        let found = check(folder.path(), self.language, &self.exercise, &["--seed", &seed, "--no-shrink"])?;
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

/// Runs all of them, some at once, and names those that came out wrong.
fn run(jobs: Vec<Job>) -> Result<()> {
    ensure!(!jobs.is_empty(), "nothing to check");
    let jobs = Mutex::new(jobs);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
                    if let Err(error) = job.run() {
                        let line = format!("{} of {}, seed {}: {error:#}", job.what, job.exercise, job.seed);
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

fn python(seeds: std::ops::Range<u64>, with_mutants: bool) -> Result<()> {
    let mut jobs = Vec::new();
    for about in all()? {
        let job = |what: String, program: String, seed: u64, expected: Expected| Job {
            what,
            exercise: about.name.clone(),
            language: PYTHON,
            program,
            seed,
            expected,
        };
        let solution = source(&about.name, "solution", PYTHON)?;
        for seed in seeds.clone() {
            jobs.push(job("the solution".to_owned(), solution.clone(), seed, Expected::Valid));
        }
        if !with_mutants {
            continue;
        }
        let starter = source(&about.name, "starter", PYTHON)?;
        jobs.push(job("the starter".to_owned(), starter, 0, Expected::Fails(about.anomaly.clone())));
        let path = materials().join(&about.name).join("mutants.toml");
        let mutants: Mutants = toml::from_str(&fs::read_to_string(path)?)?;
        ensure!(mutants.mutant.len() >= 3, "{} has too few mutants", about.name);
        for mutant in mutants.mutant {
            let known = mutant.caught_by == "runs" || about.checks.contains(&mutant.caught_by);
            ensure!(known, "{}: {} names no check", about.name, mutant.name);
            let program = mutant.of(&solution)?;
            jobs.push(job(
                format!("the mutant {}", mutant.name),
                program,
                0,
                Expected::Fails(mutant.caught_by),
            ));
        }
    }
    run(jobs)
}

/// Starters and solutions in a language that not every exercise has.
fn others(language: Language) -> Result<()> {
    let mut jobs = Vec::new();
    for about in all()? {
        for (what, expected) in
            [("starter", Expected::Fails(about.anomaly.clone())), ("solution", Expected::Valid)]
        {
            let there = materials().join(&about.name).join(format!("{what}.{}", language.ending)).is_file();
            ensure!(there || language.name != "rust", "{} has no {what} in {}", about.name, language.name);
            if there {
                jobs.push(Job {
                    what: format!("the {what} in {}", language.name),
                    exercise: about.name.clone(),
                    language,
                    program: source(&about.name, what, language)?,
                    seed: 0,
                    expected,
                });
            }
        }
    }
    ensure!(jobs.len() >= 10, "only {} programs in {}", jobs.len(), language.name);
    run(jobs)
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
