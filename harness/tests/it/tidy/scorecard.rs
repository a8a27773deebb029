//! What labs promise, held against what the committed runs under faults have found.

use anyhow::{Context as _, Result, ensure};
use harness::book::fault_sets;
use harness::results::{FaultSet, Verdict};
use labs::catalog::{self, Entry};

use super::root;

/// The runs in which a lab broke what its constant promises today.
fn more_than_shown(set: &FaultSet, labs: &[Entry]) -> Vec<String> {
    let broken = set.runs.iter().filter(|run| run.verdict == Verdict::Broke);
    broken
        .filter(|run| {
            let lab = labs.iter().find(|lab| lab.name == run.lab);
            lab.is_some_and(|lab| lab.guarantee.as_str() == run.guarantee)
        })
        .map(|run| {
            format!("{} promises {}, and broke it under {}: {}", run.lab, run.guarantee, run.fault(), run.why)
        })
        .collect()
}

/// The newest set counts: older ones may be of a lab that has been mended since.
pub(super) fn constants_promise_no_more() -> Result<()> {
    let Some(newest) = fault_sets(&root())?.pop() else { return Ok(()) };
    let set = FaultSet::open(&root().join("results").join(&newest))?;
    ensure!(!set.runs.is_empty(), "{newest} has no run");
    let broken = more_than_shown(&set, &catalog::entries());
    ensure!(broken.is_empty(), "{newest}:\n{}", broken.join("\n"));
    Ok(())
}

/// A lab that promises more than its cells show is found.
pub(super) fn broken_promise_is_found() -> Result<()> {
    let labs = catalog::entries();
    let lab = labs.first().context("no lab")?;
    let mut set = FaultSet::default();
    set.runs.push(harness::results::FaultRun {
        lab: lab.name.clone(),
        guarantee: lab.guarantee.to_string(),
        verdict: Verdict::Broke,
        ..Default::default()
    });
    ensure!(more_than_shown(&set, &labs).len() == 1, "it was not found");
    set.runs[0].verdict = Verdict::Kept;
    ensure!(more_than_shown(&set, &labs).is_empty(), "it was found without a reason");
    Ok(())
}
