//! `lab regress` as its users run it. What it makes of numbers is tested beside
//! the verdict; here nothing depends on how fast anything is.

mod repository;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;

use crate::needs::needs;
use crate::program::{Live, NOTHING, Ran, run, text};
use crate::trial;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("regress::program_against_itself", against_itself),
        trial("regress::interrupted_goes_on_where_it_was", resumes),
        trial("regress::program_that_is_no_lab", no_lab),
        trial("regress::lab_that_base_does_not_have", missing_lab),
        needs(Broker::Redis, "regress::one_broker_for_all_three", shares_a_broker),
    ];
    trials.extend(repository::trials());
    trials.extend(USAGE.iter().map(|(name, args, words)| {
        trial(&format!("regress::usage_{name}"), move || {
            run(&[&["regress"], *args].concat())?.expect(2)?.told(words)
        })
    }));
    trials
}

const LAB: &str = env!("CARGO_BIN_EXE_lab");
/// So short that a verdict is out of reach: what is tested is the way to it.
const SHORT: [&str; 8] = ["--rounds", "2", "--seconds", "0.1", "--warmup", "0", "--load", "1000"];
/// How often a comparison is made again whose samples the machine had no time for.
const AGAIN: usize = 8;

/// `regress.json` of a comparison that cannot tell, and what it said. On a busy
/// machine a tenth of a second can pass before the first message arrives. Such a
/// sample has failed, and says so; then all is made again.
fn compared(words: &[&str]) -> Result<(Ran, Value)> {
    let mut left = AGAIN;
    loop {
        let dir = tempfile::tempdir()?;
        let out = dir.path().join("out");
        let ran =
            run(&[&["regress"], words, &SHORT, &["--json", "--out", text(&out)?]].concat())?.expect(3)?;
        let told: Value = serde_json::from_str(&ran.out)?;
        let rounds = told["rounds"].as_array().context("no rounds")?;
        let mut samples = rounds.iter().filter_map(|round| round["samples"].as_array()).flatten();
        if left == 0 || !samples.any(|sample| sample["failed"] == NOTHING) {
            return Ok((ran, told));
        }
        left -= 1;
    }
}

type Usage = (&'static str, &'static [&'static str], &'static [&'static str]);

const USAGE: [Usage; 8] = [
    ("no_base", &[], &["--base"]),
    ("unknown_ref", &["--base", "no-such-commit"], &["`no-such-commit`", "neither a program nor a commit"]),
    ("file_that_cannot_run", &["--base", "/etc/passwd"], &["/etc/passwd", "is not an executable file"]),
    ("unknown_lab", &["onway-tcp", "--base", LAB], &["did you mean `oneway-tcp`?"]),
    ("effect_of_nothing", &["--base", LAB, "--min-effect", "0%"], &["0 %", "0.1% to 100%"]),
    ("effect_that_is_no_number", &["--base", LAB, "--min-effect", "some"], &["`some`", "--min-effect 3%"]),
    ("no_rounds", &["--base", LAB, "--rounds", "0"], &["0 rounds", "1 to 200"]),
    ("too_few_messages", &["--base", LAB, "--load", "10"], &["are too few", "--load"]),
];

/// Two rounds can never tell, and must not be called fine.
fn against_itself() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let fixed = ["regress", "oneway-tcp", "--base", LAB, "--head", LAB, "--json", "--annotate"];
    let ran = run(&[&fixed[..], &SHORT, &["--out", text(&out)?]].concat())?.expect(3)?;
    ran.told(&["same program", "::warning title=Cannot tell::", "This is not a pass"])?;
    let told: Value = serde_json::from_str(&ran.out)?;
    let kept: Value = serde_json::from_str(&fs::read_to_string(out.join("regress.json"))?)?;
    ensure!(told == kept, "what is printed is not what is kept");
    ensure!(told["verdict"]["outcome"] == "cannot-tell", "{}", told["verdict"]);
    let gates = told["verdict"]["gates"].as_array().context("no gates")?;
    let measures: Vec<&str> = gates.iter().filter_map(|gate| gate["measure"].as_str()).collect();
    ensure!(measures == ["p50", "cpu", "bytes", "allocations"], "{measures:?}");
    let rounds = told["rounds"].as_array().context("no rounds")?;
    ensure!(rounds.len() == 2, "{} rounds", rounds.len());
    for round in rounds {
        let samples = round["samples"].as_array().context("no samples")?;
        let mut arms: Vec<&str> = samples.iter().filter_map(|sample| sample["arm"].as_str()).collect();
        arms.sort_unstable();
        ensure!(arms == ["again", "base", "head"], "{arms:?}");
        // On a busy machine a tenth of a second may pass without a message; then that is said.
        let measured = |sample: &Value| sample["measures"]["cpu"].as_f64() > Some(0.0);
        ensure!(samples.iter().all(|sample| measured(sample) || sample["failed"].is_string()), "{samples:?}");
    }
    // The peak is measured in every second round, and decides nothing.
    let peak = |round: &Value| {
        round["samples"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["measures"].get("peak").is_some()))
    };
    ensure!(peak(&rounds[0]) && !peak(&rounds[1]), "{rounds:?}");
    ensure!(told["base"]["sha256"] == told["head"]["sha256"] && told["base"]["git"].is_string());
    let junit = fs::read_to_string(out.join("junit.xml"))?;
    ensure!(junit.contains("errors=\"4\"") && junit.ends_with("</testsuites>\n"), "{junit}");
    let readme = fs::read_to_string(out.join("README.md"))?;
    ensure!(readme.starts_with("# Head against base: cannot tell\n"), "{readme}");
    Ok(())
}

/// What was finished is kept, nothing is left running, and the rest is made.
fn resumes() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let fixed = ["regress", "oneway-tcp", "--base", LAB, "--head", LAB, "--peak-every", "0"];
    let mut live = Live::start(&[&fixed[..], &SHORT, &["--out", text(&out)?]].concat())?;
    live.until_said("round 1 of 2 done")?;
    live.signal_group(Signal::INT)?;
    live.end()?.expect(130)?.told(&["finished rounds are kept", "--resume"])?;
    // Whole numbers: the last bit of others may be lost in decimals.
    let first = |text: &str| -> Result<Vec<(String, Option<f64>)>> {
        let record: Value = serde_json::from_str(text)?;
        let samples = record["rounds"][0]["samples"].as_array().context("no samples")?;
        let max = |sample: &Value| sample["measures"]["max"].as_f64();
        Ok(samples.iter().map(|sample| (sample["arm"].to_string(), max(sample))).collect())
    };
    let kept = first(&fs::read_to_string(out.join("regress.json"))?)?;
    let ran = run(&["regress", "--resume", "--out", text(&out)?])?.expect(3)?;
    ensure!(!ran.err.contains("round 1 of 2 done"), "the first round was made again:\n{}", ran.err);
    let whole = fs::read_to_string(out.join("regress.json"))?;
    ensure!(kept.len() == 3 && first(&whole)? == kept, "the first round is another one");
    let record: Value = serde_json::from_str(&whole)?;
    ensure!(record["rounds"].as_array().map(Vec::len) == Some(2), "{}", record["rounds"]);
    Ok(())
}

fn no_lab() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let args = ["regress", "--base", "/bin/true", "--head", LAB, "--out", text(dir.path())?];
    run(&args)?.expect(1)?.told(&["base (/bin/true)", "cannot be measured", "later commit"])
}

/// A program that knows one lab less: the lab is left out, and that is said.
fn missing_lab() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir()?;
    let old = dir.path().join("old-lab");
    let script = format!(
        "#!/bin/sh\ncase $1 in list) echo '[{{\"name\":\"oneway-tcp\"}}]';; *) exec {LAB} \"$@\";; esac\n"
    );
    fs::write(&old, script)?;
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755))?;
    let out = dir.path().join("out");
    let fixed = ["regress", "oneway-tcp", "reqrep-tcp", "--base", text(&old)?, "--head", LAB, "--json"];
    let ran = run(&[&fixed[..], &SHORT, &["--out", text(&out)?]].concat())?.expect(3)?;
    ran.told(&["skipped reqrep-tcp: base does not have it"])?;
    let told: Value = serde_json::from_str(&ran.out)?;
    ensure!(told["plan"]["labs"] == serde_json::json!(["oneway-tcp"]), "{}", told["plan"]);
    Ok(())
}

fn shares_a_broker() -> Result<()> {
    let (ran, told) =
        compared(&["pubsub-redis", "--base", LAB, "--head", LAB, "--head-set", "flush-every=8"])?;
    ensure!(!ran.err.contains("same program"), "a knob makes a difference:\n{}", ran.err);
    ensure!(told["brokers"]["redis"].is_string(), "{}", told["brokers"]);
    // In the round without a peak, what the broker used is known: it is ours.
    let samples = told["rounds"][1]["samples"].as_array().context("no samples")?;
    ensure!(samples.iter().all(|sample| sample["measures"]["broker-cpu"].is_number()), "{samples:?}");
    Ok(())
}
