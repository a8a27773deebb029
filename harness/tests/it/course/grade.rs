//! Grading a class: marks, what is named and does not stop the rest, and what goes on later.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;
use libtest_mimic::Trial;
use serde_json::Value;

use super::folder::materials;
use crate::lab;
use crate::needs::{Need, Needs, needs, proof};
use crate::program::code;

pub(super) fn trials() -> Vec<Trial> {
    let python = || Needs::from(Need::Program("python3", "python3"));
    let redis = || python().and(Need::FullBroker(Broker::Redis));
    vec![
        needs(python(), "course::a_class_is_graded", a_class),
        needs(redis(), "course::a_broken_broker_stops_nobody_else", broken_broker),
        proof(needs(redis(), "course::thirty_solutions_have_equal_marks_twice", thirty)),
    ]
}

/// A folder with submissions, a roster, and what is written.
struct Class {
    home: tempfile::TempDir,
    exercise: &'static str,
    roster: String,
}

impl Class {
    fn new(exercise: &'static str) -> Result<Self> {
        let class = Self { home: tempfile::tempdir()?, exercise, roster: "id,name\n".to_owned() };
        fs::create_dir(class.submissions())?;
        Ok(class)
    }

    fn submissions(&self) -> PathBuf {
        self.home.path().join("submissions")
    }

    fn student(&mut self, id: &str, program: &str) -> Result<()> {
        self.roster += &format!("{id},Student {id}\n");
        let folder = self.submissions().join(id);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{}.py", self.exercise)), program)?;
        Ok(())
    }

    fn source(&self, what: &str) -> Result<String> {
        Ok(fs::read_to_string(materials().join(self.exercise).join(format!("{what}.py")))?)
    }

    fn grade(&self, out: &str, more: &[&str], path: Option<&str>) -> Result<Output> {
        let roster = self.home.path().join("roster.csv");
        fs::write(&roster, &self.roster)?;
        let mut command = lab(&["grade", "--exercise", self.exercise, "--seed", "1"]);
        command
            .arg(self.submissions())
            .arg("--roster")
            .arg(roster)
            .arg("--out")
            .arg(self.out(out))
            .args(more);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        Ok(command.output()?)
    }

    fn out(&self, out: &str) -> PathBuf {
        self.home.path().join(out)
    }

    /// Outcome and points of each student.
    fn marks(&self, out: &str) -> Result<BTreeMap<String, (String, f64)>> {
        let all: Value = serde_json::from_slice(&fs::read(self.out(out).join("marks.json"))?)?;
        let mark = |student: &Value| {
            let mark = &student["marks"][0];
            let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
            Ok((
                text(&student["id"])?,
                (text(&mark["outcome"])?, mark["points"].as_f64().context("no points")?),
            ))
        };
        all.as_array().context("no list")?.iter().map(mark).collect()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{}", path.display()))
}

fn a_class() -> Result<()> {
    let mut class = Class::new("first-message")?;
    let (solution, starter) = (class.source("solution")?, class.source("starter")?);
    class.student("ann", &solution)?;
    class.student("bob", &starter)?;
    class.student("eve", "print('</script><script>alert(1)</script>', flush=True)\n")?;
    class.roster += "dora,Dora\nfred,\"=Fred <b>\"\ngus,Gus\nann,Again\n,Nobody\n";
    std::os::unix::fs::symlink("/etc", class.submissions().join("fred"))?;
    for name in ["gus.py", "gus.mjs", "stranger.py"] {
        fs::write(class.submissions().join(name), &solution)?;
    }
    let formats = ["--format", "csv,junit,json,gradescope,autolab,exercism,github", "--seeds", "1"];
    let graded = class.grade("one", &formats, None)?;
    let told = said(&graded);
    // Problems are no success, and they stop nobody.
    ensure!(code(graded.status) == 1, "{told}");
    for problem in [
        "line 8 of the roster has the id `ann` again",
        "line 9 of the roster has no id",
        "the submission `stranger.py` belongs to nobody",
    ] {
        ensure!(told.contains(problem), "{problem} is missing in {told}");
    }
    let marks = class.marks("one")?;
    let outcomes: Vec<(&str, &str)> =
        marks.iter().map(|(id, (outcome, _))| (id.as_str(), outcome.as_str())).collect();
    let expected = [
        ("ann", "passed"),
        ("bob", "failed"),
        ("dora", "missing"),
        ("eve", "failed"),
        ("fred", "refused"),
        ("gus", "refused"),
    ];
    ensure!(outcomes == expected, "{outcomes:?}");
    ensure!(marks["ann"].1 > 99.9 && marks["bob"].1 > 0.0 && marks["bob"].1 < 99.0, "{marks:?}");
    ensure!(marks["eve"].1 == 0.0, "{marks:?}");
    let out = class.out("one");
    let student = read(&out.join("students/bob.html"))?;
    for part in ["<svg", "expected: ", "lab check first-message --seed 1"] {
        ensure!(student.contains(part), "{part} is missing in the page of bob");
    }
    // Nothing that a student wrote is markup, on any page.
    for page in ["class.html", "students/eve.html", "students/fred.html"] {
        let text = read(&out.join(page))?;
        ensure!(!text.contains("<script") && !text.contains("<b>"), "{page} has what a student wrote");
    }
    let results: Value = serde_json::from_str(&read(&out.join("gradescope/bob/results.json"))?)?;
    ensure!(
        results["score"].as_f64().is_some_and(|score| (score - marks["bob"].1).abs() < 0.01),
        "{results}"
    );
    // Again: nobody is run, and the marks stay. A submission that was changed is run.
    let lines = || anyhow::Ok(read(&out.join("marks.jsonl"))?.lines().count());
    let before = lines()?;
    class.grade("one", &formats, None)?;
    ensure!(lines()? == before && class.marks("one")? == marks, "marks were given again");
    fs::write(class.submissions().join("bob/first-message.py"), &solution)?;
    class.grade("one", &formats, None)?;
    ensure!(lines()? == before + 1 && class.marks("one")?["bob"].0 == "passed", "bob was not run again");
    // Hidden checks.
    fs::write(class.submissions().join("bob/first-message.py"), &starter)?;
    let hidden =
        class.grade("two", &["--format", "json,github", "--seeds", "1", "--hidden", "whole"], None)?;
    ensure!(code(hidden.status) == 1, "{}", said(&hidden));
    let page = read(&class.out("two").join("students/bob.html"))?;
    ensure!(
        !page.contains("<code>whole</code>") && page.contains("1 more checks count"),
        "a hidden check shows"
    );
    // What cannot be right is refused, with the value and the remedy.
    for (more, parts) in [
        (vec!["--hidden", "hole"], ["`hole`", "did you mean `whole`"]),
        (vec!["--weight", "whole=x"], ["whole=x", "in-order=2"]),
        (vec!["--seeds", "0"], ["--seeds 0", "give 1 to"]),
        (vec!["--points", "0"], ["--points 0", "above 0"]),
        (vec!["--jobs", "0"], ["--jobs 0", "give 1 to"]),
    ] {
        let refused = class.grade("three", &more, None)?;
        let told = said(&refused);
        ensure!(
            code(refused.status) == 2 && parts.iter().all(|part| told.contains(part)),
            "{more:?}: {told}"
        );
    }
    Ok(())
}

/// A Redis whose second to fourth start fails: the student in the middle gets no mark, and one later.
fn broken_broker() -> Result<()> {
    let mut class = Class::new("late-joiner")?;
    let solution = class.source("solution")?;
    for id in ["ann", "bob", "carl"] {
        class.student(id, &solution)?;
    }
    let bin = class.home.path().join("bin");
    fs::create_dir(&bin)?;
    let real = which("redis-server")?;
    // Also asked for its version, which is no start.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) exec {real} \"$@\" ;; esac\necho x >> {count}\n\
         starts=$(wc -l < {count})\nif [ \"$starts\" -ge 2 ] && [ \"$starts\" -le 4 ]; then\n\
         echo 'out of order' >&2; exit 1\nfi\nexec {real} \"$@\"\n",
        real = real.display(),
        count = class.home.path().join("starts").display(),
    );
    let fake = bin.join("redis-server");
    fs::write(&fake, script)?;
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let more = ["--format", "json", "--seeds", "1", "--jobs", "1"];
    let graded = class.grade("out", &more, Some(&path))?;
    let marks = class.marks("out")?;
    let outcome = |id: &str| marks.get(id).map_or("", |mark| mark.0.as_str());
    let told = said(&graded);
    ensure!(["ann", "bob", "carl"].map(outcome) == ["passed", "error", "passed"], "{marks:?} {told}");
    ensure!(code(graded.status) == 1 && told.contains("problem: bob, late-joiner: no mark"), "{told}");
    let again = class.grade("out", &more, None)?;
    ensure!(code(again.status) == 0, "{}", said(&again));
    ensure!(class.marks("out")?["bob"].0 == "passed", "bob has no mark yet");
    ensure!(
        read(&class.out("out").join("marks.jsonl"))?.lines().count() == 1 + 3 + 1,
        "others were run again"
    );
    Ok(())
}

fn which(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.with_context(|| format!("{program} is not on PATH"))
}

/// A class of thirty solutions, each written a little differently, graded twice.
fn thirty() -> Result<()> {
    let mut class = Class::new("reliable-pipeline")?;
    let solution = class.source("solution")?;
    for number in 0..30 {
        class.student(&format!("student-{number:02}"), &format!("{solution}\n# {number}\n"))?;
    }
    let began = std::time::Instant::now();
    let first = class.grade("first", &["--format", "json"], None)?;
    let took = began.elapsed();
    ensure!(code(first.status) == 0, "{}", said(&first));
    let second = class.grade("second", &["--format", "json"], None)?;
    ensure!(code(second.status) == 0, "{}", said(&second));
    ensure!(class.marks("first")? == class.marks("second")?, "the marks differ");
    ensure!(took.as_secs() < 30 * 60, "a class took {} min", took.as_secs() / 60);
    Ok(())
}
