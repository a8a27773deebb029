//! The pages: one for each student, and one for the class. Everything in them that comes from a
//! student is escaped by the templates.

use serde::Serialize;

use anyhow::Result;

use super::format::Graded;
use super::mark::{Mark, Outcome, points};
use crate::report::render::{policy, render};

const STYLE: &str = include_str!("templates/style.css");
const CLASS: &str = include_str!("templates/class.html");
const STUDENT: &str = include_str!("templates/student.html");

/// What is said about a whole class.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct About {
    pub(crate) exercises: Vec<String>,
    pub(crate) seeds: Vec<u64>,
    /// Lines of the roster, and entries of the folder, that could not be used.
    pub(crate) problems: Vec<String>,
    /// What could not be limited or kept apart on this machine.
    pub(crate) limits: Vec<String>,
    pub(crate) command: String,
}

#[derive(Serialize)]
struct Row {
    name: String,
    claim: String,
    holds: bool,
    points: String,
    of: String,
    expected: String,
    got: String,
}

#[derive(Serialize)]
struct Section {
    exercise: String,
    outcome: &'static str,
    points: String,
    of: String,
    why: Option<String>,
    rows: Vec<Row>,
    hidden: usize,
    again: Option<String>,
    /// A sentence above the picture, and the picture.
    witness: Option<(String, String)>,
}

#[derive(Serialize)]
struct StudentPage<'a> {
    style: &'a str,
    policy: String,
    id: &'a str,
    name: &'a str,
    points: String,
    of: String,
    sections: Vec<Section>,
    seeds: String,
    limits: &'a [String],
}

fn section(mark: &Mark) -> Section {
    let shown = mark.shown();
    let rows = shown.checks.iter().map(|check| Row {
        name: check.name.clone(),
        claim: check.claim.clone(),
        holds: check.holds,
        points: points(check.points),
        of: points(check.of),
        expected: check.expected.clone(),
        got: check.got.clone(),
    });
    let witness = shown.witness.as_ref().map(|witness| {
        let faults =
            if witness.faults.is_empty() { "no fault".to_owned() } else { witness.faults.join(", ") };
        let messages = if witness.messages == 1 {
            "1 message".to_owned()
        } else {
            format!("{} messages", witness.messages)
        };
        let check = witness.check.as_deref().unwrap_or("runs");
        let title = format!("{}: {check} fails ({messages}, {faults})", mark.exercise);
        (title.clone(), witness.diagram.svg(&title))
    });
    let judged = matches!(mark.outcome, Outcome::Passed | Outcome::Failed);
    Section {
        exercise: mark.exercise.clone(),
        outcome: mark.outcome.name(),
        points: points(mark.points),
        of: points(mark.of),
        why: mark.why.clone(),
        hidden: if judged { mark.checks.len() - shown.checks.len() } else { 0 },
        rows: if judged { rows.collect() } else { Vec::new() },
        again: shown.again,
        witness,
    }
}

fn sum(marks: &[&Mark], value: fn(&Mark) -> f64) -> String {
    points(marks.iter().map(|mark| value(mark)).sum())
}

fn listed(seeds: &[u64]) -> String {
    let all = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    format!("{} {all}", if seeds.len() == 1 { "seed" } else { "seeds" })
}

/// What a student gets.
pub(crate) fn student(student: &Graded<'_>, about: &About) -> Result<String> {
    let page = StudentPage {
        style: STYLE,
        policy: policy(STYLE, ""),
        id: student.id,
        name: student.name,
        points: sum(&student.marks, |mark| mark.points),
        of: sum(&student.marks, |mark| mark.of),
        sections: student.marks.iter().map(|mark| section(mark)).collect(),
        seeds: listed(&about.seeds),
        limits: &about.limits,
    };
    render("student.html", STUDENT, page)
}

#[derive(Serialize)]
struct Line {
    id: String,
    name: String,
    points: String,
    of: String,
    outcomes: Vec<(String, &'static str)>,
    failed: String,
    why: String,
}

/// How often a check was failed.
#[derive(Serialize)]
struct Often {
    exercise: String,
    check: String,
    claim: String,
    failed: usize,
    judged: usize,
    /// Of the widest bar, percent.
    share: usize,
    hidden: bool,
}

#[derive(Serialize)]
struct ClassPage<'a> {
    style: &'a str,
    policy: String,
    about: &'a About,
    seeds: String,
    lines: Vec<Line>,
    often: Vec<Often>,
    mean: String,
    median: String,
    of: String,
    counts: Vec<(&'static str, usize)>,
    same: Vec<String>,
}

/// What the instructor gets.
pub(crate) fn class(class: &[Graded<'_>], about: &About) -> Result<String> {
    let totals: Vec<f64> =
        class.iter().map(|student| student.marks.iter().map(|mark| mark.points).sum()).collect();
    let (mean, median) = middle(&totals);
    let lines = class.iter().map(|student| {
        let judged = student.marks.iter().filter(|mark| mark.outcome == Outcome::Failed);
        let failed = judged.flat_map(|mark| &mark.checks).filter(|check| !check.holds);
        Line {
            id: student.id.to_owned(),
            name: student.name.to_owned(),
            points: sum(&student.marks, |mark| mark.points),
            of: sum(&student.marks, |mark| mark.of),
            outcomes: student.marks.iter().map(|mark| (mark.exercise.clone(), mark.outcome.name())).collect(),
            failed: failed.map(|check| check.name.as_str()).collect::<Vec<_>>().join(", "),
            why: short(
                &student.marks.iter().filter_map(|mark| mark.why.clone()).collect::<Vec<_>>().join("; "),
            ),
        }
    });
    let outcomes = [
        Outcome::Passed,
        Outcome::Failed,
        Outcome::Missing,
        Outcome::Refused,
        Outcome::Unknown,
        Outcome::Error,
    ];
    let marks = || class.iter().flat_map(|student| student.marks.iter().copied());
    let counts = outcomes
        .into_iter()
        .map(|outcome| (outcome.name(), marks().filter(|mark| mark.outcome == outcome).count()));
    let page = ClassPage {
        style: STYLE,
        policy: policy(STYLE, ""),
        about,
        seeds: listed(&about.seeds),
        lines: lines.collect(),
        often: often(&marks().collect::<Vec<_>>()),
        mean: points(mean),
        median: points(median),
        of: class.first().map_or_else(String::new, |student| sum(&student.marks, |mark| mark.of)),
        counts: counts.filter(|(_, count)| *count > 0).collect(),
        same: same(class),
    };
    render("class.html", CLASS, page)
}

/// The longest text in a table of the class, characters. The whole text is on the student's page.
const LONGEST: usize = 160;

fn short(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Mean and median.
fn middle(totals: &[f64]) -> (f64, f64) {
    if totals.is_empty() {
        return (0.0, 0.0);
    }
    let mut sorted = totals.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let median =
        if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
    (totals.iter().sum::<f64>() / totals.len() as f64, median)
}

/// The checks, those that were failed most first.
fn often(marks: &[&Mark]) -> Vec<Often> {
    let mut all: Vec<Often> = Vec::new();
    let judged = |mark: &&&Mark| matches!(mark.outcome, Outcome::Passed | Outcome::Failed);
    for mark in marks.iter().filter(judged) {
        for check in &mark.checks {
            let known = all.iter().position(|one| one.exercise == mark.exercise && one.check == check.name);
            let at = known.unwrap_or_else(|| {
                all.push(Often {
                    exercise: mark.exercise.clone(),
                    check: check.name.clone(),
                    claim: check.claim.clone(),
                    failed: 0,
                    judged: 0,
                    share: 0,
                    hidden: check.hidden,
                });
                all.len() - 1
            });
            all[at].judged += 1;
            all[at].failed += usize::from(!check.holds);
        }
    }
    for one in &mut all {
        one.share = 100 * one.failed / one.judged.max(1);
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.share));
    all
}

/// Students who have handed in the very same files.
fn same(class: &[Graded<'_>]) -> Vec<String> {
    let mut by_digest: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for student in class {
        if let Some(digest) = student.marks.iter().find_map(|mark| mark.digest.as_deref()) {
            by_digest.entry(digest).or_default().push(student.id);
        }
    }
    by_digest.into_values().filter(|ids| ids.len() > 1).map(|ids| ids.join(", ")).collect()
}
