//! The harness finds every truth that is known, and notices each that it would miss.

use anyhow::{Context as _, Error, Result, ensure};
use harness::validate::selftest::{self, Check, Figure};
use harness::{results, roles};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::needs::proof;
use crate::program::run;
use crate::trial;

/// Times a check is tried while only the machine's own noise spoils it: all other
/// tests run beside it.
const ATTEMPTS: usize = 8;
/// The same messages are harmed every time.
const SEED: u64 = 20_261_124;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("selftest::program_tells_what_was_found", program),
        trial("selftest::falsified_figures_are_noticed", falsified),
        trial("selftest::a_harness_that_forgives_late_sends_is_noticed", forgiving),
    ];
    trials.extend(selftest::all().into_iter().map(|check| {
        // Each pattern's loops, and all faults at once; `lab selftest` of an optimised build, which
        // continuous integration runs, has all of them.
        let always = check.name.starts_with("perfect") || check.name == "everything";
        let trial = trial(&format!("selftest::{}", check.name), move || found(&check));
        if always { trial } else { proof(trial) }
    }));
    trials
}

fn found(check: &Check) -> Result<()> {
    let verdict = roles::runtime(0)?.block_on(selftest::run(check, SEED, ATTEMPTS))?;
    let missed: Vec<&Figure> = verdict.figures.iter().filter(|figure| !figure.good).collect();
    ensure!(
        verdict.found,
        "attempt {}, held up for {} ns: {:?}: {missed:#?}",
        verdict.attempts,
        verdict.held_up_ns,
        verdict.error
    );
    // Nothing that was to be harmed has been spared.
    ensure!(verdict.harmed.values().all(|count| *count > 0), "{:?}", verdict.harmed);
    Ok(())
}

fn program() -> Result<()> {
    let ran = run(&["selftest", "loss", "perfect-queue", "--seed", "7", "--json"])?.expect(0)?;
    let told: Value = serde_json::from_str(&ran.out)?;
    ensure!(told["found"] == true && told["seed"] == 7, "{told}");
    let checks = told["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&Value> = checks.iter().map(|check| &check["name"]).collect();
    ensure!(names == ["perfect-queue", "loss"], "{names:?}");
    let lost =
        |check: &Value| check["figures"].as_array()?.iter().find(|figure| figure["name"] == "lost").cloned();
    let lost = lost(&checks[1]).unwrap_or_default();
    ensure!(lost["truth"] == lost["found"] && lost["truth"] == checks[1]["harmed"]["dropped"], "{lost}");
    let ran = run(&["selftest", "--list"])?.expect(0)?;
    ensure!(selftest::all().iter().all(|check| ran.out.contains(check.name)), "{}", ran.out);
    Ok(())
}

/// A check by name, carried out once.
fn check_run(name: &str) -> Result<selftest::CheckRun> {
    let check = selftest::all().into_iter().find(|check| check.name == name).context("no such check")?;
    roles::runtime(0)?.block_on(selftest::run_trial(&check, SEED))
}

fn missed(check_run: &selftest::CheckRun, trial: &results::Trial) -> Result<Vec<String>> {
    let figures = check_run.figures(trial).map_err(Error::msg)?;
    Ok(figures.into_iter().filter(|figure| !figure.good).map(|figure| figure.name).collect())
}

/// Whatever a harness with a mistake would have found instead, the check says no.
fn falsified() -> Result<()> {
    for name in ["everything", "delay-2ms", "confirm-3ms", "redeliveries"] {
        // What a busy machine has spoiled cannot be spoiled again: only what was found is falsified.
        let whole = (0..ATTEMPTS).find_map(|_| {
            let check_run = check_run(name).ok()?;
            missed(&check_run, check_run.trial()).ok()?.is_empty().then_some(check_run)
        });
        let check_run = whole.with_context(|| format!("{name} was never found"))?;
        let honest = serde_json::to_value(check_run.trial())?;
        let mut lies = 0;
        for path in paths(&honest) {
            let mut lie = honest.clone();
            let Some(value) = lie.pointer_mut(&path) else { continue };
            let Some(told) = falsify(&path, value) else { continue };
            *value = told;
            let noticed = !missed(&check_run, &serde_json::from_value(lie)?)?.is_empty();
            ensure!(noticed, "{name}: {path} was falsified, and nobody noticed");
            lies += 1;
        }
        ensure!(lies > 20, "{name}: only {lies} figures were falsified");
    }
    Ok(())
}

/// The numbers of a trial: counts, percentiles, throughput.
fn paths(trial: &Value) -> Vec<String> {
    let below = |part: &str| -> Vec<String> {
        let numbers = trial[part].as_object().into_iter().flatten();
        numbers.filter(|(_, value)| value.is_number()).map(|(name, _)| format!("/{part}/{name}")).collect()
    };
    let parts = ["counts", "response_ns", "service_ns", "lag_ns", "confirm_ns"];
    parts.into_iter().flat_map(below).chain(["/throughput_per_s", "/due"].map(str::to_owned)).collect()
}

/// Another value; `None` for what is not judged.
fn falsify(path: &str, value: &Value) -> Option<Value> {
    let number = value.as_f64()?;
    let (_, name) = path.rsplit_once('/')?;
    let another = match name {
        "throughput_per_s" => return Some(json!(number * 1.05)),
        // Neither the longest time nor the samples of confirmations are judged everywhere.
        "max" => return None,
        "count" if path.starts_with("/confirm_ns") => return None,
        // How close is close enough, unit tests say; no machine is as slow as this.
        "p50" | "p90" | "p99" | "p999" | "mean" => number * 2.0 + 1e9,
        _ => number + 1.0,
    };
    Some(json!(another as u64))
}

/// The mistake that most tools make: latency counts from the send, not from when
/// the message was due, and so a sender that is held up hides the delay.
fn forgiving() -> Result<()> {
    let check_run = check_run("blocked-sender")?;
    let mut trial = check_run.trial().clone();
    trial.response_ns = trial.service_ns;
    let missed = missed(&check_run, &trial)?;
    for name in ["response p90", "response p99", "response max"] {
        ensure!(missed.iter().any(|missed| missed == name), "{name} is not among {missed:?}");
    }
    Ok(())
}
