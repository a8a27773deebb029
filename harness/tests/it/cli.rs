//! What users read: help, listings, and what they are told when they ask for
//! something that cannot be.

use std::fs;

use anyhow::{Context, Result, ensure};
use harness::roles;
use libtest_mimic::Trial;

use crate::program::{run, text};
use crate::{lab, trial};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("cli::help", || snapshot("help", &["--help"])),
        trial("cli::help_of_bench", || snapshot("help_of_bench", &["bench", "--help"])),
        trial("cli::help_of_wrong_views", || snapshot("help_of_wrong_views", &["wrong-views", "--help"])),
        // With addresses given, no broker need be here.
        trial("cli::list", || snapshot("list", &LIST)),
        trial("cli::list_of_what_is_absent", || snapshot("list_absent", &["list", "--absent"])),
        trial("cli::list_of_one_lab", || snapshot("list_one", &[&LIST[..], &["queue-redis"]].concat())),
        trial("cli::list_fits", list_fits),
        trial("cli::hints_have_the_form_that_was_invoked", invoked),
        trial("cli::transport_is_a_plain_argument", plain_transport),
        trial("cli::list_as_json_has_every_lab", list_as_json),
        trial("cli::list_by_glob_and_pattern", list_some),
        trial("cli::plan_file_with_a_wrong_key", wrong_key),
        trial("cli::out_that_is_not_empty", out_not_empty),
        trial("cli::out_below_a_file", out_below_a_file),
        trial("cli::reader_who_leaves_early", early_leaver),
    ];
    trials.extend(USAGE.iter().map(|(name, args, words)| {
        trial(&format!("cli::usage_{name}"), move || run(args)?.expect(2)?.told(words))
    }));
    trials
}

const LIST: [&str; 9] = [
    "list",
    "--url",
    "redis=redis://127.0.0.1:1",
    "--url",
    "rabbitmq=amqp://127.0.0.1:1",
    "--url",
    "mqtt=mqtt://127.0.0.1:1",
    "--url",
    "nats=nats://127.0.0.1:1",
];

/// Name, arguments, and what has to be said: the value, and what to do.
type Usage = (&'static str, &'static [&'static str], &'static [&'static str]);

const USAGE: [Usage; 26] = [
    ("no_command", &[], &["Usage: lab"]),
    ("unknown_lab", &["bench", "pubsub-rediss"], &["`pubsub-rediss`", "did you mean `pubsub-redis`?"]),
    ("unknown_lab_in_list", &["list", "onway-tcp"], &["`onway-tcp`", "did you mean `oneway-tcp`?"]),
    ("lab_like_nothing", &["bench", "zzz"], &["no lab `zzz`", "`lab list`"]),
    (
        "lab_that_is_absent_on_purpose",
        &["bench", "queue-inproc"],
        &["`queue-inproc` was left out on purpose: "],
    ),
    ("glob_without_match", &["bench", "pubsub-x*"], &["no lab matches `pubsub-x*`", "`lab list`"]),
    ("size_below_the_header", &["bench", "oneway-tcp", "--size", "31"], &["31 bytes", "--size 32"]),
    ("size_too_long", &["bench", "oneway-tcp", "--size", "8388609"], &["8388609 bytes"]),
    ("rate_of_zero", &["bench", "oneway-tcp", "--load", "0"], &["a rate of 0", "above 0"]),
    ("load_that_is_no_number", &["bench", "oneway-tcp", "--load", "fast"], &["`fast`", "--load 1000"]),
    ("window_of_zero", &["bench", "oneway-tcp", "--window", "0"], &["a window of 0", "--window none"]),
    ("window_that_is_no_number", &["bench", "oneway-tcp", "--window", "wide"], &["`wide`", "`none`"]),
    ("no_trials", &["bench", "oneway-tcp", "--trials", "0"], &["0 trials", "1 to 1000"]),
    ("no_time", &["bench", "oneway-tcp", "--seconds", "0"], &["0 s", "0.1 to 600"]),
    ("unknown_plan", &["bench", "--plan", "quik"], &["no plan `quik`", "did you mean `quick`?"]),
    ("plan_file_that_is_not_there", &["bench", "--plan", "./no.toml"], &["./no.toml", "quick, standard"]),
    ("url_without_address", &["bench", "--url", "redis"], &["BROKER=URL", "redis=redis://localhost:6379"]),
    ("url_of_no_broker", &["bench", "--url", "kafka=kafka://h:1"], &["`kafka`", "redis, rabbitmq"]),
    ("oneway_with_two_receivers", &["bench", "oneway-tcp", "--receivers", "2"], &["not 2", "--receivers 1"]),
    ("publishers_peer_to_peer", &["bench", "pubsub-tcp", "--senders", "2"], &["not 2", "--senders 1"]),
    ("two_ventilators", &["bench", "pipeline-tcp", "--senders", "2"], &["not 2", "--senders 1"]),
    ("knob_without_value", &["bench", "oneway-tcp", "--set", "batch"], &["`batch`", "--set batch=64"]),
    (
        "unknown_knob",
        &["bench", "oneway-redis", "--set", "bath=1"],
        &["`bath`", "did you mean `batch`?", "lab list"],
    ),
    ("knob_of_another_lab", &["bench", "oneway-tcp", "--set", "keep-ms=1"], &["no lab", "`keep-ms`"]),
    ("resume_without_out", &["bench", "--resume"], &["--out"]),
    ("unknown_check", &["selftest", "duplicate"], &["`duplicate`", "did you mean `duplicates`?", "--list"]),
];

fn snapshot(name: &str, args: &[&str]) -> Result<()> {
    let ran = run(args)?.expect(0)?;
    insta::assert_snapshot!(name, ran.out);
    Ok(())
}

fn list_as_json() -> Result<()> {
    let ran = run(&["list", "--json"])?.expect(0)?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&ran.out)?;
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    let handles = roles::handles();
    let expected: Vec<&str> = handles.iter().map(|handle| handle.entry.name.as_str()).collect();
    ensure!(names == expected, "{names:?} are listed, not {expected:?}");
    for row in &rows {
        let runs = row["runs"].as_bool().context("no `runs`")?;
        ensure!(runs == row["why_not"].is_null(), "a lab that cannot run says why: {row}");
    }
    Ok(())
}

fn list_some() -> Result<()> {
    let count = |args: &[&str]| -> Result<usize> {
        let ran = run(&[&["list", "--json"], args].concat())?.expect(0)?;
        Ok(serde_json::from_str::<Vec<serde_json::Value>>(&ran.out)?.len())
    };
    let all = roles::handles();
    let having = |test: fn(&str) -> bool| all.iter().filter(|handle| test(&handle.entry.name)).count();
    ensure!(count(&["queue"])? == having(|name| name.starts_with("queue-")));
    ensure!(count(&["*-tcp"])? == having(|name| name.ends_with("-tcp")));
    // What is asked for twice is listed once.
    ensure!(count(&["oneway-tcp", "*-tcp"])? == count(&["*-tcp"])?);
    Ok(())
}

/// At every width a terminal has, and nothing is longer than 100 columns.
fn list_fits() -> Result<()> {
    for (columns, most) in [("72", 72), ("80", 80), ("100", 100), ("200", 100)] {
        for args in
            [&LIST[..], &["list", "--absent"], &["list", "pubsub-redis-stream"], &["list", "oneway-tcp"]]
        {
            let output = lab(args).env("COLUMNS", columns).output()?;
            let text = String::from_utf8(output.stdout)?;
            ensure!(text.lines().count() > 5, "{args:?} says nothing:\n{text}");
            let long = text.lines().find(|line| line.chars().count() > most);
            ensure!(long.is_none(), "{args:?} with {columns} columns is too wide: {long:?}");
        }
    }
    Ok(())
}

fn invoked() -> Result<()> {
    for (invoked, args, said) in [
        ("./run", &["list", "oneway-tcp"][..], "./run lab oneway-tcp"),
        ("", &["list", "oneway-tcp"], " lab run oneway-tcp"),
        ("./run", &["list"], "./run list --absent"),
    ] {
        let output = lab(args).env("LAB_INVOKED", invoked).output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(text.contains(said), "`{said}` is not in:\n{text}");
    }
    Ok(())
}

/// `lab chat zeromq` is `lab chat --over zeromq`; both at once have to agree.
fn plain_transport() -> Result<()> {
    for command in ["chat", "preinit", "status"] {
        for args in [
            &[command, "reddis"][..],
            &[command, "--over", "reddis"],
            &[command, "reddis", "--over", "reddis"],
        ] {
            run(args)?.expect(2)?.told(&["`reddis`", "did you mean `redis`?"])?;
        }
        run(&[command, "redis", "--over", "nats"])?.expect(2)?.told(&["`redis`", "`--over nats`"])?;
    }
    run(&["chat"])?.expect(2)?.told(&["no transport given", "lab chat redis"])
}

fn wrong_key() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let plan = dir.path().join("mine.toml");
    fs::write(&plan, "labs = ['oneway-tcp']\ntrails = 2\n")?;
    run(&["bench", "--plan", text(&plan)?])?.expect(2)?.told(&["mine.toml", "`trails`", "`trials`"])
}

fn out_not_empty() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mine = dir.path().join("thesis.txt");
    fs::write(&mine, "not a result")?;
    let ran = run(&["bench", "oneway-inproc", "--out", text(dir.path())?])?.expect(1)?;
    ran.told(&["is not empty", text(dir.path())?, "--out"])?;
    ensure!(fs::read_to_string(&mine)? == "not a result" && fs::read_dir(&dir)?.count() == 1);
    Ok(())
}

fn out_below_a_file() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    fs::write(&file, "")?;
    let out = file.join("results");
    run(&["bench", "oneway-inproc", "--out", text(&out)?])?.expect(1)?.told(&[
        "cannot create",
        text(&out)?,
        "--out",
    ])
}

/// Whoever reads the output may stop at any time, as `head` does.
fn early_leaver() -> Result<()> {
    for args in [&["run", "oneway-inproc", "--no-measure"][..], &["list"], &["schema"], &["doctor", "redis"]]
    {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = crate::lab(args).stdout(writer).stderr(std::process::Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && !said.contains("panicked"), "{args:?}: {}\n{said}", output.status);
    }
    Ok(())
}
