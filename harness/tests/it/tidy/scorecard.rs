//! What labs promise, held against what the committed runs under faults have found.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use harness::results::{FAULTS, FaultSet, Verdict};
use labs::catalog::{self, Entry};

use super::root;

/// The folders in `results/` that have runs under faults.
fn committed() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("results"))? {
        let folder = entry?.path();
        if folder.join(FAULTS).exists() {
            found.push(folder);
        }
    }
    found.sort();
    Ok(found)
}

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
    let Some(newest) = committed()?.pop() else { return Ok(()) };
    let set = FaultSet::open(&newest)?;
    ensure!(!set.runs.is_empty(), "{} has no run", newest.display());
    let broken = more_than_shown(&set, &catalog::entries());
    ensure!(broken.is_empty(), "{}:\n{}", newest.display(), broken.join("\n"));
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
