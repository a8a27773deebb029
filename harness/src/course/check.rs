//! Checks a program: one run, and then the search for the smallest run that shows the same fault.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::exercise::Exercise;
use super::history::History;
use super::plan::{Finding, Plan, RUNS, SHRINKING, Verdict};
use super::session::{Ended, Session};
use super::trouble::Trouble;

/// One run of a program, judged.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) verdict: Verdict,
    pub(crate) findings: Vec<Finding>,
    pub(crate) history: History,
    /// Why nothing can be said, when the verdict is `Unknown`.
    pub(crate) why: Option<String>,
    /// What the program did wrong before its messages could be judged.
    pub(crate) trouble: Option<Trouble>,
    /// Limits that could not be set on this machine.
    pub(crate) off: Vec<&'static str>,
    pub(crate) time: Duration,
}

impl Run {
    /// The first check that does not hold.
    pub(crate) fn broken(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| !finding.holds)
    }
}

/// Runs a program once.
///
/// # Errors
/// When the checker itself cannot go on: no broker, no folder.
pub(crate) async fn once(exercise: &Exercise, plan: &Plan, words: &[String]) -> Result<Run> {
    let began = Instant::now();
    let mut session = Session::new(exercise.transport, plan.clone(), words).await?;
    let played = (exercise.play)(&mut session).await;
    let off = session.limits.off.clone();
    let Ended { history, mut findings, unknown: mut why, trouble, elsewhere } = session.end().await?;
    let trouble = match played {
        Ok(()) => trouble.or(elsewhere),
        // What came first is the cause of what came later.
        Err(error) => Some(trouble.map_or_else(|| error.downcast::<Trouble>(), Ok)?),
    };
    if let Some(trouble) = &trouble {
        findings.insert(
            0,
            Finding {
                check: RUNS,
                holds: false,
                expected: "the program runs until it is told to stop, and keeps to the protocol".to_owned(),
                got: trouble.cause.clone(),
            },
        );
    }
    let whole = plan.faults.len() == exercise.faults.len();
    let silent = |(name, _): &&(&str, &str)| !findings.iter().any(|finding| finding.check == *name);
    if let Some((name, _)) = exercise.checks.iter().find(silent).filter(|_| whole && trouble.is_none()) {
        why.get_or_insert_with(|| format!("the run said nothing about {name}"));
    }
    let verdict = match (findings.iter().all(|finding| finding.holds), &why) {
        (false, _) => Verdict::Invalid,
        (true, Some(_)) => Verdict::Unknown,
        (true, None) => Verdict::Valid,
    };
    Ok(Run { plan: plan.clone(), verdict, findings, history, why, trouble, off, time: began.elapsed() })
}

/// The numbers of messages that are tried for a smaller witness, smallest first.
const SMALL: [usize; 7] = [1, 2, 3, 4, 6, 8, 10];
/// How often a smaller run is tried before it counts as one that shows nothing: some faults show only
/// in some orders of events.
const TRIES: u64 = 2;

/// Searches the smallest run that breaks the same check: with fewer messages, then with fewer faults.
/// Returns it, and how many runs were made. `tell` hears of each step.
///
/// # Errors
/// As [`once`].
pub(crate) async fn shrink(
    exercise: &Exercise,
    first: Run,
    words: &[String],
    mut tell: impl FnMut(&str),
) -> Result<(Run, usize)> {
    let Some(check) = first.broken().map(|finding| finding.check) else { return Ok((first, 0)) };
    let deadline = Instant::now() + SHRINKING;
    let mut smallest = first;
    let mut runs = 0;
    // The same fault shows in few messages or not at all: so the number is reduced first, and each of
    // the many runs after that is short.
    for messages in SMALL {
        if messages >= smallest.plan.messages {
            break;
        }
        let plan = Plan { messages, ..smallest.plan.clone() };
        if let Some(smaller) = shows(exercise, &plan, words, check, deadline, &mut runs).await? {
            tell(&if messages == 1 {
                "one message shows it".to_owned()
            } else {
                format!("{messages} messages show it")
            });
            smallest = smaller;
            break;
        }
    }
    for fault in exercise.faults {
        let mut plan = smallest.plan.clone();
        if !plan.faults.remove(fault) {
            continue;
        }
        if let Some(smaller) = shows(exercise, &plan, words, check, deadline, &mut runs).await? {
            tell(&format!("it shows without the fault {fault}"));
            smallest = smaller;
        }
    }
    Ok((smallest, runs))
}

/// A run of this plan that breaks the check.
async fn shows(
    exercise: &Exercise,
    plan: &Plan,
    words: &[String],
    check: &str,
    deadline: Instant,
    runs: &mut usize,
) -> Result<Option<Run>> {
    for again in 0..TRIES {
        if Instant::now() > deadline {
            return Ok(None);
        }
        *runs += 1;
        let plan = Plan { seed: plan.seed.wrapping_add(again), ..plan.clone() };
        let run = once(exercise, &plan, words).await?;
        if run.broken().is_some_and(|finding| finding.check == check) {
            return Ok(Some(run));
        }
    }
    Ok(None)
}
