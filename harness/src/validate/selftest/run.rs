//! Runs checks of both kinds: one trial, or a search.

use anyhow::Result;

use super::check::Check;
use super::search;
use super::verdict::{Verdict, evaluate, run_trial};
use crate::results::LoadKind;

/// An idle thread that woke this much too late, ns, says that the machine was
/// held up for longer than times may be off.
const HELD_UP: u64 = 500_000;

/// Runs a check and evaluates it; again, up to `attempts` times, while its counts are right,
/// its times are not, and the machine was held up.
///
/// # Errors
/// When a trial could not be made at all. That the harness found something else
/// is not an error but a verdict.
pub async fn run(check: &Check, seed: u64, attempts: usize) -> Result<Verdict> {
    let mut attempt = 1;
    loop {
        let verdict = match check.load.kind {
            LoadKind::Capacity => search::evaluate(check, seed, attempt).await?,
            _ => evaluate(&run_trial(check, seed).await?, seed, attempt),
        };
        let only_time = verdict.figures.iter().all(|figure| figure.good || figure.is_timed());
        let spoiled = !verdict.found && only_time && verdict.held_up_ns > HELD_UP;
        if !spoiled || attempt >= attempts {
            return Ok(verdict);
        }
        attempt += 1;
    }
}
