//! Each format against a fixture that was written from its description: which fields there are, of
//! which type, which are needed, and which words a field may have.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::*;
use crate::course::exercises::ALL;
use crate::course::grade::mark::{Check, Found, Scheme};

#[derive(Deserialize)]
struct Fixture {
    described: String,
    top: BTreeMap<String, String>,
    needed: Vec<String>,
    test: BTreeMap<String, String>,
    test_needed: Vec<String>,
    words: BTreeMap<String, Vec<String>>,
}

impl Fixture {
    fn check(&self, value: &Value) -> Result<()> {
        anyhow::ensure!(self.described.contains("2026-"), "a description has its day");
        self.object(value, &self.top, &self.needed)?;
        for test in value["tests"].as_array().context("tests are a list")? {
            self.object(test, &self.test, &self.test_needed)?;
        }
        Ok(())
    }

    fn object(&self, value: &Value, fields: &BTreeMap<String, String>, needed: &[String]) -> Result<()> {
        let object = value.as_object().context("no object")?;
        for name in needed {
            anyhow::ensure!(object.contains_key(name), "{name} is missing in {value}");
        }
        for (name, value) in object {
            let kinds = fields.get(name).with_context(|| format!("there is no field {name}"))?;
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            anyhow::ensure!(kinds.split(" or ").any(|one| one == kind), "{name} is {kind}, not {kinds}");
            if let (Some(words), Some(word)) = (self.words.get(name), value.as_str()) {
                anyhow::ensure!(words.iter().any(|one| one == word), "{name} may not be {word}");
            }
        }
        Ok(())
    }
}

fn fixture(text: &str) -> Fixture {
    serde_json::from_str(text).expect("a fixture")
}

fn scheme() -> Scheme {
    let hidden = BTreeSet::from([ALL[0].checks[1].0.to_owned()]);
    Scheme { points: 100.0, weights: BTreeMap::new(), hidden }
}

/// A mark of each outcome. The texts are what a hostile student would choose.
fn marks() -> Vec<Mark> {
    let exercise = ALL[0];
    let found = |holds: &dyn Fn(usize) -> bool| -> Vec<Found> {
        let one = |(at, (name, _)): (usize, &(&str, &str))| Found {
            name: (*name).to_owned(),
            holds: holds(at),
            expected: "<b>5</b> & more\n{\"scores\": {\"x\": 100}}".to_owned(),
            got: "=cmd()\u{1b}[31m \"quoted\"".to_owned(),
        };
        exercise.checks.iter().enumerate().map(one).collect()
    };
    let mark = |outcome: Outcome, checks: Vec<Check>| Mark {
        points: checks.iter().map(|check| check.points).sum(),
        checks,
        why: (!matches!(outcome, Outcome::Passed)).then(|| "=1+1 <script>\n{\"scores\": {}}".to_owned()),
        seconds: 2.5,
        again: Some("lab check first-message --seed 7".to_owned()),
        ..Mark::none("ann", exercise, &scheme(), outcome, String::new())
    };
    let none = || scheme().checks(exercise, &[]);
    vec![
        mark(Outcome::Passed, scheme().checks(exercise, &[found(&|_| true)])),
        mark(Outcome::Failed, scheme().checks(exercise, &[found(&|at| at != 1)])),
        mark(Outcome::Missing, none()),
        mark(Outcome::Refused, none()),
        mark(Outcome::Unknown, none()),
        mark(Outcome::Error, none()),
    ]
}

fn each(test: impl Fn(&Graded<'_>, &Mark)) {
    for mark in &marks() {
        test(&Graded { id: "ann", name: "@Ann", marks: vec![mark] }, mark);
    }
}

#[test]
fn gradescope_is_as_described() {
    let fixture = fixture(include_str!("fixtures/gradescope.json"));
    each(|student, mark| {
        let value = gradescope(student, Visibility::AfterPublished);
        fixture.check(&value).expect("as described");
        let tests = value["tests"].as_array().expect("a list");
        let sum: f64 = tests.iter().filter_map(|test| test["score"].as_f64()).sum();
        assert!((sum - value["score"].as_f64().expect("a number")).abs() < 0.02, "{value}");
        assert_eq!(tests[1]["visibility"], "after_published");
        assert_eq!(tests[0]["visibility"], "visible");
        assert!((value["score"].as_f64().expect("a number") - mark.points).abs() < 0.01);
    });
}

#[test]
fn exercism_is_as_described() {
    let fixture = fixture(include_str!("fixtures/exercism.json"));
    each(|student, mark| {
        let value = exercism(student);
        fixture.check(&value).expect("as described");
        let status = value["status"].as_str().expect("a text");
        match mark.outcome {
            Outcome::Passed => assert_eq!(status, "pass"),
            Outcome::Failed => assert_eq!(status, "fail"),
            _ => assert!(status == "error" && value["message"].is_string(), "{value}"),
        }
        // "pass" only with tests that pass, "fail" with one that does not: but for hidden ones.
        let tests = value["tests"].as_array().expect("a list");
        assert!(tests.iter().all(|test| status != "pass" || test["status"] == "pass"));
    });
}

#[test]
fn github_is_as_described() {
    let fixture = fixture(include_str!("fixtures/github.json"));
    each(|student, mark| {
        let value = github(student);
        fixture.check(&value).expect("as described");
        let tests = value["tests"].as_array().expect("a list");
        let sum: f64 = tests.iter().filter_map(|test| test["score"].as_f64()).sum();
        assert!((sum - mark.points).abs() < 0.02, "{value}");
        assert!((value["max_score"].as_f64().expect("a number") - 100.0).abs() < 1e-9);
        let files =
            files(Format::Github, std::slice::from_ref(student), Visibility::Hidden, true).expect("files");
        let (_, packed) = files.iter().find(|(name, _)| name == "result.base64").expect("the packed one");
        let text = base64::engine::general_purpose::STANDARD.decode(packed.trim()).expect("base64");
        assert_eq!(serde_json::from_slice::<Value>(&text).expect("JSON"), value);
    });
}

/// "The last text line on stdout must be a JSON string, called an autoresult": `scores`, a number for
/// each problem (docs.autolabproject.com/lab, and /features/formatted-feedback for the line before it;
/// read on 2026-11-27).
#[test]
fn autolab_is_as_described() {
    each(|student, mark| {
        let text = autolab(student);
        let lines: Vec<&str> = text.lines().collect();
        let [.., semantic, last] = lines[..] else { panic!("{text}") };
        let last: Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(last.as_object().expect("an object").len(), 1);
        let score = last["scores"][&mark.exercise].as_f64().expect("a number for each problem");
        assert!((score - mark.points).abs() < 0.01);
        let semantic: Value = serde_json::from_str(semantic).expect("JSON");
        assert_eq!(semantic["_presentation"], "semantic");
        for stage in semantic["stages"].as_array().expect("a list") {
            let checks = semantic[stage.as_str().expect("a text")].as_object().expect("an object");
            assert!(checks.values().all(|check| check["passed"].is_boolean()));
        }
        let json = lines.iter().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
        assert_eq!(json, 2, "what a student wrote is no line of ours: {text}");
    });
}

#[test]
fn tables_are_inert_and_whole() {
    let marks = marks();
    let class = [Graded { id: "ann", name: "=HYPERLINK(\"x\")", marks: marks.iter().collect() }];
    let text = csv(&class).expect("a table");
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let mut lines = 0;
    for record in reader.records() {
        let record = record.expect("a line");
        assert!(record.iter().all(|field| !field.starts_with(['=', '+', '-', '@'])), "{record:?}");
        lines += 1;
    }
    assert_eq!(lines, marks.len());
}

#[test]
fn junit_is_well_formed() {
    let marks = marks();
    let class = [Graded { id: "ann", name: "Ann", marks: marks.iter().collect() }];
    let text = junit(&class);
    assert!(!text.contains("<script>") && !text.contains('\u{1b}') && !text.contains("<b>"), "{text}");
    let count = |what: &str| text.matches(what).count();
    assert_eq!(count("<testsuite "), marks.len());
    assert_eq!(count("<testsuite "), count("</testsuite>"));
    let checks = ALL[0].checks.len();
    assert_eq!(count("<testcase "), marks.len() * checks);
    // One check fails, and all of what was missing and refused; unknown and error are errors.
    assert_eq!([count("<failure "), count("<error ")], [1 + 2 * checks, 2 * checks]);
}

#[test]
fn students_do_not_see_hidden_checks() {
    let hidden = ALL[0].checks[1].0;
    each(|student, _| {
        assert!(!exercism(student).to_string().contains(&format!(": {hidden}")));
        assert!(!autolab(student).contains(&format!("\"{hidden}\"")));
        let claim = ALL[0].checks[1].1;
        assert!(!github(student).to_string().contains(claim));
    });
}
