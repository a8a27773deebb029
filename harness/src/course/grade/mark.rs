//! What came of a submission.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::course::exercise::Exercise;
use crate::course::plan::RUNS;
use crate::course::witness::Diagram;

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Every check held with every seed.
    Passed,
    Failed,
    /// Nothing was handed in.
    Missing,
    /// What was handed in cannot be taken.
    Refused,
    /// The checker could not tell; it is tried again when the class is graded again.
    Unknown,
    /// The checker itself could not go on; it is tried again.
    Error,
}

impl Outcome {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Error => "error",
        }
    }

    /// Whether this is a mark, and not only a try.
    pub(crate) const fn is_final(self) -> bool {
        !matches!(self, Self::Unknown | Self::Error)
    }
}

/// One check of one submission, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    /// What a program must do.
    pub(crate) claim: String,
    pub(crate) holds: bool,
    pub(crate) points: f64,
    pub(crate) of: f64,
    /// With the first seed with which it does not hold.
    pub(crate) expected: String,
    pub(crate) got: String,
    /// The student does not see it.
    pub(crate) hidden: bool,
}

/// The smallest run that was found to show what is wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Witness {
    pub(crate) messages: usize,
    pub(crate) faults: Vec<String>,
    pub(crate) check: Option<String>,
    pub(crate) diagram: Diagram,
}

/// A mark.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) student: String,
    pub(crate) exercise: String,
    pub(crate) outcome: Outcome,
    pub(crate) points: f64,
    pub(crate) of: f64,
    pub(crate) checks: Vec<Check>,
    /// Why it is not a plain pass or fail: what the program did wrong before it could be judged, why
    /// the submission was refused, or what the checker lacks.
    pub(crate) why: Option<String>,
    /// The language, or the file that was run.
    pub(crate) program: Option<String>,
    /// A digest of what was handed in (SHA-256, hexadecimal).
    pub(crate) digest: Option<String>,
    /// The command that repeats the check that failed.
    pub(crate) again: Option<String>,
    pub(crate) witness: Option<Witness>,
    pub(crate) seconds: f64,
    /// Limits that were not held by the kernel.
    pub(crate) limits_off: Vec<String>,
}

/// How points are given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scheme {
    /// Most points of an exercise.
    pub(crate) points: f64,
    /// The weight of checks that do not have the weight 1.
    pub(crate) weights: BTreeMap<String, f64>,
    /// Checks that students do not see.
    pub(crate) hidden: BTreeSet<String>,
}

/// What a check said with one seed.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) holds: bool,
    pub(super) expected: String,
    pub(super) got: String,
}

impl Scheme {
    /// The checks of an exercise, from what was found with each seed. A check holds when it holds with
    /// all of them. A program that does not run gets nothing for checks that hold because nothing
    /// happened.
    pub(super) fn checks(&self, exercise: &Exercise, seeds: &[Vec<Found>]) -> Vec<Check> {
        let runs = seeds.iter().flatten().find(|found| found.name == RUNS && !found.holds);
        let weight = |name: &str| self.weights.get(name).copied().unwrap_or(1.0);
        let all: f64 = exercise.checks.iter().map(|(name, _)| weight(name)).sum();
        exercise
            .checks
            .iter()
            .map(|(name, claim)| {
                let of_this = || seeds.iter().flatten().filter(|found| found.name == *name);
                let wrong = of_this().find(|found| !found.holds);
                let judged = !seeds.is_empty() && of_this().count() == seeds.len();
                let holds = runs.is_none() && judged && wrong.is_none();
                let of = if all > 0.0 { self.points * weight(name) / all } else { 0.0 };
                let (expected, got) = match (wrong, runs) {
                    (Some(found), _) => (found.expected.clone(), found.got.clone()),
                    (None, Some(found)) => (found.expected.clone(), found.got.clone()),
                    (None, None) if !judged => (String::new(), "it was not judged".to_owned()),
                    (None, None) => (String::new(), String::new()),
                };
                Check {
                    name: (*name).to_owned(),
                    claim: (*claim).to_owned(),
                    holds,
                    points: if holds { of } else { 0.0 },
                    of,
                    expected,
                    got,
                    hidden: self.hidden.contains(*name),
                }
            })
            .collect()
    }
}

impl Mark {
    /// A mark without points.
    pub(crate) fn none(
        student: &str,
        exercise: &Exercise,
        scheme: &Scheme,
        outcome: Outcome,
        why: String,
    ) -> Self {
        Self {
            student: student.to_owned(),
            exercise: exercise.name.to_owned(),
            outcome,
            points: 0.0,
            of: scheme.points,
            checks: scheme.checks(exercise, &[]),
            why: Some(why),
            program: None,
            digest: None,
            again: None,
            witness: None,
            seconds: 0.0,
            limits_off: Vec::new(),
        }
    }

    /// What the student may see: hidden checks are left out, and with them the picture of a run that
    /// shows one.
    pub(crate) fn shown(&self) -> Self {
        let mut shown = self.clone();
        let hidden = |name: &str| self.checks.iter().any(|check| check.hidden && check.name == name);
        shown.checks.retain(|check| !check.hidden);
        let first = self.checks.iter().find(|check| !check.holds);
        if first.is_some_and(|check| check.hidden) {
            shown.again = None;
        }
        if self.witness.as_ref().is_some_and(|witness| witness.check.as_deref().is_some_and(hidden)) {
            shown.witness = None;
        }
        shown
    }
}

/// Points for readers: at most two decimals.
pub(crate) fn points(points: f64) -> String {
    let text = format!("{points:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::exercises::ALL;

    fn found(name: &str, holds: bool) -> Found {
        Found { name: name.to_owned(), holds, expected: "this".to_owned(), got: "that".to_owned() }
    }

    fn scheme() -> Scheme {
        Scheme { points: 100.0, weights: BTreeMap::new(), hidden: BTreeSet::new() }
    }

    #[test]
    fn a_check_holds_with_all_seeds_or_not_at_all() {
        let exercise = ALL[0];
        let names: Vec<&str> = exercise.checks.iter().map(|(name, _)| *name).collect();
        let all = |holds: &dyn Fn(usize) -> bool| -> Vec<Found> {
            names.iter().enumerate().map(|(at, name)| found(name, holds(at))).collect()
        };
        let sum = |checks: Vec<Check>| checks.iter().map(|check| check.points).sum::<f64>();
        let good = all(&|_| true);
        let one_fails = all(&|at| at != 0);
        assert!((sum(scheme().checks(exercise, &[good.clone(), good.clone()])) - 100.0).abs() < 1e-9);
        let share = 100.0 / names.len() as f64;
        let some = sum(scheme().checks(exercise, &[good.clone(), one_fails]));
        assert!((some - (100.0 - share)).abs() < 1e-9, "{some}");
        // Not judged with one of the seeds.
        let few = all(&|_| true)[1..].to_vec();
        assert!((sum(scheme().checks(exercise, &[good.clone(), few])) - (100.0 - share)).abs() < 1e-9);
        let mut ends = good.clone();
        ends.insert(0, found(RUNS, false));
        assert!(sum(scheme().checks(exercise, &[good, ends])).abs() < 1e-9);
        assert!(sum(scheme().checks(exercise, &[])).abs() < 1e-9);
    }

    #[test]
    fn weights_and_hidden_checks() {
        let exercise = ALL[0];
        let (first, _) = exercise.checks[0];
        let mut scheme = scheme();
        scheme.weights.insert(first.to_owned(), 3.0);
        scheme.hidden.insert(first.to_owned());
        let checks = scheme.checks(exercise, &[vec![found(first, false)]]);
        let others = (exercise.checks.len() - 1) as f64;
        assert!((checks[0].of - 300.0 / (3.0 + others)).abs() < 1e-9 && checks[0].hidden);
        let mut mark = Mark::none("ann", exercise, &scheme, Outcome::Failed, String::new());
        mark.again = Some("lab check".to_owned());
        assert_eq!(mark.shown().checks.len(), exercise.checks.len() - 1);
        assert_eq!(mark.shown().again, None);
    }

    #[test]
    fn points_are_short() {
        assert_eq!(
            [points(100.0), points(100.0 / 3.0), points(0.5), points(0.0)],
            ["100", "33.33", "0.5", "0"]
        );
    }
}
