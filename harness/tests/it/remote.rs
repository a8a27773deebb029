//! Roles that are started elsewhere: by a command that carries a stream. Here it is one on the same
//! host, or in a namespace of its own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::program::{bench, read, run};
use crate::trial;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("remote::the_account_is_the_same_as_on_one_host", same_account),
        trial("remote::what_cannot_be_started_is_named_with_the_reason", named),
        trial("remote::a_killed_launcher_fails_the_trial_and_leaves_nothing", killed),
        trial("remote::another_clock_is_found_out_and_corrected", another_clock),
        trial("remote::options_that_cannot_be_are_refused", refused),
    ]
}

/// The trials of the result set in a folder.
fn trials_of(out: &Path) -> Result<Vec<Value>> {
    let run = read(out)?;
    run.cells.iter().flat_map(|cell| &cell.trials).map(|trial| Ok(serde_json::to_value(trial)?)).collect()
}

/// Everything of a lab that can be elsewhere.
const ELSEWHERE: [&str; 16] = [
    "--launch",
    "sender=env",
    "--launch",
    "receiver=env",
    "--launch",
    "responder=env",
    "--launch",
    "publisher=env",
    "--launch",
    "subscriber=env",
    "--launch",
    "ventilator=env",
    "--launch",
    "sink=env",
    "--launch",
    "consumer=env",
];

/// Every pattern between peers, with its first and its last role elsewhere, and those of which several
/// share the messages: nothing is lost, in an open and in a closed loop.
fn same_account() -> Result<()> {
    let one = ["oneway-tcp", "reqrep-tcp", "pubsub-tcp", "pipeline-tcp", "queue-tcp"];
    same(&[&one[..], &ELSEWHERE].concat(), 10)?;
    let several = ["queue-tcp", "--senders", "2", "--receivers", "2", "--launch", "consumer=env"];
    same(&several, 2)
}

fn same(words: &[&str], expected: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let short = ["--load", "500,max", "--trials", "1", "--seconds", "0.5", "--warmup", "0.1", "--no-floor"];
    bench(&[words, &short].concat(), dir.path())?.expect(0)?;
    let trials = trials_of(dir.path())?;
    ensure!(trials.len() == expected, "{} trials", trials.len());
    for one in trials {
        ensure!(one["failed"].is_null(), "{}", one["failed"]);
        let count = |name: &str| one["counts"][name].as_u64().unwrap_or(u64::MAX);
        ensure!(count("sent") > 0 && count("received") >= count("sent"), "{}", one["counts"]);
        for nothing in ["lost", "duplicated", "corrupt", "misrouted", "negative", "unaccounted"] {
            ensure!(count(nothing) == 0, "{nothing}: {}", one["counts"]);
        }
        let hosts = one["hosts"].as_array().context("no hosts")?;
        ensure!(!hosts.is_empty(), "nobody was elsewhere");
        // Both sides have one clock here: what was found is within its bound of no difference.
        for host in hosts {
            let (offset, bound) = (host["clock_offset_ns"].as_i64(), host["clock_bound_ns"].as_u64());
            let (offset, bound) = (offset.context("no offset")?, bound.context("no bound")?);
            ensure!(offset.unsigned_abs() <= bound, "{host}");
        }
    }
    let report = std::fs::read_to_string(dir.path().join("report.html"))?;
    ensure!(report.contains("Roles on "), "the report does not name the hosts");
    Ok(())
}

fn named() -> Result<()> {
    let cases = [
        ("receiver=no-such-launcher-here", "cannot start `no-such-launcher-here`"),
        // Another program answers, and what it says is shown.
        ("receiver=echo welcome to host-b;", "not a control line: welcome to host-b;"),
        ("receiver=false", "the launcher"),
        // It ends before it says anything, and its last words are shown.
        ("receiver=ls /no/such/folder", "/no/such/folder"),
    ];
    for (launch, said) in cases {
        let dir = tempfile::tempdir()?;
        let began = Instant::now();
        let ran = bench(
            &[
                "oneway-tcp",
                "--load",
                "500",
                "--trials",
                "1",
                "--seconds",
                "0.5",
                "--no-floor",
                "--launch",
                launch,
            ],
            dir.path(),
        )?;
        ensure!(ran.code == 1, "{launch}: exit code {}\n{}{}", ran.code, ran.out, ran.err);
        let told = format!("{}{}", ran.out, ran.err);
        ensure!(told.contains(said), "{launch}: {said} is not said, but\n{told}");
        ensure!(began.elapsed() < Duration::from_secs(60), "{launch} took {:?}", began.elapsed());
    }
    Ok(())
}

/// `timeout` kills the agent in the middle of the trial.
fn killed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mark = format!("mark-{}", std::process::id());
    let launch = format!("receiver=timeout -s KILL 3 env LAB_TEST_MARK={mark}");
    let ran = bench(
        &[
            "oneway-tcp",
            "--load",
            "500",
            "--trials",
            "1",
            "--seconds",
            "20",
            "--no-floor",
            "--launch",
            &launch,
        ],
        dir.path(),
    )?;
    ensure!(ran.code == 1, "exit code {}\n{}{}", ran.code, ran.out, ran.err);
    let one = trials_of(dir.path())?.remove(0);
    let why = one["failed"].as_str().context("it has not failed")?;
    ensure!(why.contains("receiver-0"), "{why}");
    // Neither the agent nor its role is left; they have the mark in their environment.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut left = Vec::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.windows(mark.len()).any(|part| part == mark.as_bytes()) {
                left.push(entry.file_name());
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "still there: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A time namespace whose clock is five seconds off, where one may be made.
fn another_clock() -> Result<()> {
    for (shift, expected) in [("5", 5_000_000_000_i64), ("-5", -5_000_000_000)] {
        let words = ["--time", "--monotonic", shift, "--fork", "--kill-child"];
        let made = Command::new("unshare").args(words).arg("true").output();
        if !made.is_ok_and(|made| made.status.success()) {
            // Without the right to do this, what the clocks' own tests show has to do.
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let launch = format!("receiver=unshare {}", words.join(" "));
        let words = [
            "oneway-tcp",
            "--load",
            "500",
            "--trials",
            "1",
            "--seconds",
            "1",
            "--no-floor",
            "--launch",
            &launch,
        ];
        bench(&words, dir.path())?.expect(0)?;
        let one = trials_of(dir.path())?.remove(0);
        let host = &one["hosts"][0];
        let offset = host["clock_offset_ns"].as_i64().context("no offset")?;
        let bound = host["clock_bound_ns"].as_u64().context("no bound")?;
        ensure!(offset.abs_diff(expected) <= bound + 20_000, "{shift} s: {host}");
        ensure!(one["counts"]["lost"] == 0 && one["counts"]["negative"] == 0, "{}", one["counts"]);
        // What is shown is within the bound of the truth, which is less than a second; or it is withheld.
        let p50 = one["response_ns"]["p50"].as_u64();
        ensure!(p50.is_none_or(|ns| ns < 1_000_000_000), "{p50:?}");
    }
    Ok(())
}

fn refused() -> Result<()> {
    for (words, said) in [
        (&["oneway-unix", "--launch", "receiver=env"][..], "have to be on one host"),
        (&["oneway-tcp", "--launch", "responder=env"], "none of these labs has a responder"),
        (&["oneway-tcp", "--launch", "receivers=env"], "no role `receivers`"),
        (&["oneway-tcp", "--launch", "ssh b"], "give ROLE="),
        (&["oneway-tcp", "--launch", "receiver=env", "--launch", "receiver=ssh b"], "given twice"),
        (&["oneway-tcp", "--listen", "host-b"], "no IP address"),
        (&["oneway-tcp", "--listen", "0.0.0.0"], "every address"),
    ] {
        let ran = run(&[&["bench"], words].concat())?;
        ensure!(ran.code == 2 && ran.err.contains(said), "{words:?}: {}\n{}", ran.code, ran.err);
    }
    Ok(())
}
