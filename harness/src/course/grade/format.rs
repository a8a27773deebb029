//! Marks in the formats of other systems. Each is described by its maker; the tests compare with a
//! fixture that was written from that description.

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use serde_json::{Value, json};

use crate::report::cases::inert;

use super::mark::{Mark, Outcome, points};

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Format {
    /// One table, `marks.csv`, for a spreadsheet
    Csv,
    /// `marks.xml`, for continuous integration
    Junit,
    /// `marks.json`, everything that is known
    Json,
    /// `results.json` of a Gradescope autograder, one for each student
    Gradescope,
    /// Lines for Autolab; the last one is the JSON that it reads
    Autolab,
    /// `results.json` of an Exercism test runner, version 3
    Exercism,
    /// The output `result` of GitHub Classroom's graders, as JSON and in base64
    Github,
}

/// When students see hidden checks, where the other system decides that (Gradescope).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Visibility {
    /// Never
    Hidden,
    /// After the due date
    AfterDueDate,
    /// When the marks are published
    AfterPublished,
}

impl Visibility {
    const fn name(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::AfterDueDate => "after_due_date",
            Self::AfterPublished => "after_published",
        }
    }
}

/// What a format makes of the marks of a class: names of files and their text.
pub(crate) type Files = Vec<(String, String)>;

/// A student with all marks.
pub(crate) struct Graded<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) marks: Vec<&'a Mark>,
}

/// The files of a format. `one`: there is one submission, and no class.
pub(crate) fn files(
    format: Format,
    class: &[Graded<'_>],
    visibility: Visibility,
    one: bool,
) -> Result<Files> {
    let each = |folder: &str, name: &str, text: &dyn Fn(&Graded<'_>) -> Result<String>| {
        let file = |student: &Graded<'_>| {
            let path = if one { name.to_owned() } else { format!("{folder}/{}/{name}", student.id) };
            anyhow::Ok((path, text(student)?))
        };
        class.iter().map(file).collect::<Result<Files>>()
    };
    let pretty = |value: &Value| Ok(serde_json::to_string_pretty(value)? + "\n");
    match format {
        Format::Csv => Ok(vec![("marks.csv".to_owned(), csv(class)?)]),
        Format::Junit => Ok(vec![("marks.xml".to_owned(), junit(class))]),
        Format::Json => {
            let all: Vec<Value> = class
                .iter()
                .map(|student| json!({ "id": student.id, "name": student.name, "marks": student.marks }))
                .collect();
            Ok(vec![("marks.json".to_owned(), pretty(&json!(all))?)])
        }
        Format::Gradescope => {
            each("gradescope", "results.json", &|student| pretty(&gradescope(student, visibility)))
        }
        Format::Autolab => each("autolab", "feedback.txt", &|student| Ok(autolab(student))),
        Format::Exercism => each("exercism", "results.json", &|student| pretty(&exercism(student))),
        Format::Github => {
            let mut files = each("github", "result.json", &|student| pretty(&github(student)))?;
            files.extend(each("github", "result.base64", &|student| {
                let text = github(student).to_string();
                Ok(base64::engine::general_purpose::STANDARD.encode(text) + "\n")
            })?);
            Ok(files)
        }
    }
}

/// Writes the files of a format below a folder, each as a whole.
pub(crate) fn write(folder: &Path, files: &Files) -> Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        crate::course::workspace::write(&path, text.as_bytes())?;
    }
    Ok(())
}

/// What a check says to a student that did not hold.
fn message(expected: &str, got: &str) -> String {
    match (expected.is_empty(), got.is_empty()) {
        (true, true) => String::new(),
        (true, false) => got.to_owned(),
        _ => format!("expected: {expected}\ngot: {got}"),
    }
}

fn total(student: &Graded<'_>) -> (f64, f64) {
    let sum = |value: fn(&Mark) -> f64| student.marks.iter().map(|mark| value(mark)).sum::<f64>();
    (rounded(sum(|mark| mark.points)), rounded(sum(|mark| mark.of)))
}

/// Points with two decimals: thirds add up to a whole again.
fn rounded(points: f64) -> f64 {
    (points * 100.0).round() / 100.0
}

fn csv(class: &[Graded<'_>]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["id", "name", "exercise", "points", "of", "outcome", "failed", "why"])?;
    for student in class {
        for mark in &student.marks {
            let failed: Vec<&str> =
                mark.checks.iter().filter(|check| !check.holds).map(|check| check.name.as_str()).collect();
            let failed = if mark.outcome == Outcome::Failed { failed.join(" ") } else { String::new() };
            writer.write_record([
                &inert(student.id),
                &inert(student.name),
                &mark.exercise,
                &points(mark.points),
                &points(mark.of),
                mark.outcome.name(),
                &failed,
                &inert(mark.why.as_deref().unwrap_or_default()),
            ])?;
        }
    }
    String::from_utf8(writer.into_inner().context("a table in memory")?).context("a table of text")
}

/// Text for XML 1.0, which has no place for most control characters.
fn xml(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn junit(class: &[Graded<'_>]) -> String {
    let mut suites = String::new();
    let mut all = [0; 3];
    for student in class {
        for mark in &student.marks {
            let (mut failures, mut errors) = (0, 0);
            let mut cases = String::new();
            for check in &mark.checks {
                let inside = match (check.holds, mark.outcome.is_final()) {
                    (true, _) => String::new(),
                    (false, true) => {
                        failures += 1;
                        let text = match mark.outcome {
                            Outcome::Failed => message(&check.expected, &check.got),
                            _ => mark.why.clone().unwrap_or_default(),
                        };
                        format!("<failure message=\"{}\"/>", xml(&text))
                    }
                    (false, false) => {
                        errors += 1;
                        format!("<error message=\"{}\"/>", xml(mark.why.as_deref().unwrap_or_default()))
                    }
                };
                cases += &format!(
                    "    <testcase classname=\"{}.{}\" name=\"{}\">{inside}</testcase>\n",
                    xml(student.id),
                    xml(&mark.exercise),
                    xml(&check.name)
                );
            }
            suites += &format!(
                "  <testsuite name=\"{} {}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{:.1}\">\n{cases}  </testsuite>\n",
                xml(student.id),
                xml(&mark.exercise),
                mark.checks.len(),
                mark.seconds
            );
            all = [all[0] + mark.checks.len(), all[1] + failures, all[2] + errors];
        }
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{}\" failures=\"{}\" errors=\"{}\">\n{suites}</testsuites>\n",
        all[0], all[1], all[2]
    )
}

fn gradescope(student: &Graded<'_>, visibility: Visibility) -> Value {
    let mut tests = Vec::new();
    let mut output = Vec::new();
    for mark in &student.marks {
        if let Some(why) = &mark.why {
            output.push(format!("{}: {why}", mark.exercise));
        }
        if let Some(again) = mark.shown().again {
            output.push(format!("{}: to repeat it: {again}", mark.exercise));
        }
        for check in &mark.checks {
            tests.push(json!({
                "name": format!("{}: {}", mark.exercise, check.claim),
                "score": rounded(check.points),
                "max_score": rounded(check.of),
                "status": if check.holds { "passed" } else { "failed" },
                "output": if check.holds { String::new() } else { message(&check.expected, &check.got) },
                "output_format": "text",
                "visibility": if check.hidden { visibility.name() } else { "visible" },
                "extra_data": { "check": check.name },
            }));
        }
    }
    let seconds: f64 = student.marks.iter().map(|mark| mark.seconds).sum();
    json!({
        "score": total(student).0,
        "execution_time": seconds.round(),
        "output": output.join("\n"),
        "output_format": "text",
        "stdout_visibility": "hidden",
        "tests": tests,
    })
}

/// First what a student reads, then the form with stages, and last the scores.
fn autolab(student: &Graded<'_>) -> String {
    let mut lines = Vec::new();
    let mut stages = serde_json::Map::new();
    let mut scores = serde_json::Map::new();
    let mut names = Vec::new();
    for mark in &student.marks {
        let shown = mark.shown();
        lines.push(format!(
            "{}: {} of {} points ({})",
            mark.exercise,
            points(mark.points),
            points(mark.of),
            mark.outcome.name()
        ));
        lines.extend(mark.why.clone());
        let mut checks = serde_json::Map::new();
        for check in &shown.checks {
            let hint = if check.holds { String::new() } else { message(&check.expected, &check.got) };
            let mut about = json!({ "passed": check.holds });
            if !hint.is_empty() {
                about["hint"] = json!(hint);
            }
            checks.insert(check.name.clone(), about);
        }
        lines.extend(shown.again.map(|again| format!("to repeat it: {again}")));
        names.push(mark.exercise.clone());
        stages.insert(mark.exercise.clone(), Value::Object(checks));
        scores.insert(mark.exercise.clone(), json!(rounded(mark.points)));
    }
    let mut semantic = json!({ "_presentation": "semantic", "stages": names });
    if let Value::Object(object) = &mut semantic {
        object.extend(stages);
    }
    // A line of a program could look like one of these two.
    let plain: Vec<String> = lines.iter().map(|line| line.replace('\n', " ").replace('{', "(")).collect();
    format!("{}\n{semantic}\n{}\n", plain.join("\n"), json!({ "scores": scores }))
}

/// The longest `message` that Exercism takes, characters.
const LONGEST_MESSAGE: usize = 65_535;

fn exercism(student: &Graded<'_>) -> Value {
    let broken = student.marks.iter().find(|mark| !matches!(mark.outcome, Outcome::Passed | Outcome::Failed));
    if let Some(mark) = broken {
        let why = mark.why.as_deref().unwrap_or("the program could not be checked");
        let message: String = why.chars().take(LONGEST_MESSAGE).collect();
        return json!({ "version": 3, "status": "error", "message": message, "tests": [] });
    }
    let mut tests = Vec::new();
    for mark in &student.marks {
        for check in mark.shown().checks {
            let message = (!check.holds).then(|| message(&check.expected, &check.got));
            tests.push(json!({
                "name": format!("{}: {}", mark.exercise, check.name),
                "status": if check.holds { "pass" } else { "fail" },
                "message": message,
                "test_code": check.claim,
            }));
        }
    }
    let passed = student.marks.iter().all(|mark| mark.outcome == Outcome::Passed);
    json!({ "version": 3, "status": if passed { "pass" } else { "fail" }, "message": null, "tests": tests })
}

fn github(student: &Graded<'_>) -> Value {
    let mut tests = Vec::new();
    for mark in &student.marks {
        for check in mark.shown().checks {
            let status = match (check.holds, mark.outcome.is_final()) {
                (true, _) => "pass",
                (false, true) => "fail",
                (false, false) => "error",
            };
            let message = if check.holds {
                String::new()
            } else if mark.outcome == Outcome::Failed {
                message(&check.expected, &check.got)
            } else {
                mark.why.clone().unwrap_or_default()
            };
            tests.push(json!({
                "name": format!("{}: {}", mark.exercise, check.claim),
                "status": status,
                "message": message,
                "score": rounded(check.points),
                "test_code": format!("lab check {}", mark.exercise),
                "filename": mark.program.clone().unwrap_or_default(),
                "line_no": 0,
                "duration": (mark.seconds * 1e3).round(),
            }));
        }
        let (sum, of) = mark
            .checks
            .iter()
            .filter(|check| check.hidden)
            .fold((0.0, 0.0), |(sum, of), check| (sum + check.points, of + check.of));
        // What is hidden counts, as one test without a word about it.
        if of > 0.0 {
            let held = sum >= of - 1e-9;
            tests.push(json!({
                "name": format!("{}: checks that are not shown", mark.exercise),
                "status": if held { "pass" } else { "fail" },
                "message": "",
                "score": rounded(sum),
                "test_code": "",
                "filename": "",
                "line_no": 0,
                "duration": 0.0,
            }));
        }
    }
    let outcomes = || student.marks.iter().map(|mark| mark.outcome);
    let status = if outcomes().all(|outcome| outcome == Outcome::Passed) {
        "pass"
    } else if outcomes().all(Outcome::is_final) {
        "fail"
    } else {
        "error"
    };
    json!({ "version": 1, "status": status, "max_score": total(student).1, "tests": tests })
}

#[cfg(test)]
mod tests;
