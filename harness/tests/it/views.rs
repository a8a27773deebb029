//! Recordings of real messages, brokers that stand still, and what `lab
//! wrong-views` makes of both. Nothing here depends on how fast anything is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use harness::measure::trace::{self, MessageTrace};
use harness::results::{BenchmarkCase, ResultSet};
use harness::validate::pitfalls::{Recordings, Views};
use labs::lab::Broker;
use libtest_mimic::Trial;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::needs::needs;
use crate::program::{self, Live, read, run, text};
use crate::{trial, wait_until};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("views::recording_has_every_message", recorded),
        trial("views::recording_has_a_line_for_each_subscriber", subscribers),
        trial("views::nothing_is_recorded_unasked", unasked),
        needs(Broker::Redis, "views::stall_is_in_the_recording_and_in_the_trial", stall),
        needs(Broker::Redis, "views::interrupted_while_the_broker_stands_still", interrupted),
        needs(Broker::Redis, "views::made_drawn_and_redrawn", made),
        trial("views::committed_views_follow_from_their_recordings", committed),
    ];
    trials.extend(USAGE.iter().map(|(name, args, words)| {
        trial(&format!("views::usage_{name}"), move || run(args)?.expect(2)?.told(words))
    }));
    trials
}

type Usage = (&'static str, &'static [&'static str], &'static [&'static str]);

const USAGE: [Usage; 8] = [
    (
        "pause_that_is_no_time",
        &["bench", "pubsub-redis", "--pause-broker", "soon"],
        &["`soon`", "--pause-broker 1:0.3"],
    ),
    (
        "pause_beyond_the_end",
        &["bench", "pubsub-redis", "--seconds", "1", "--pause-broker", "0.5:1"],
        &["1 s from 0.5 s", "within the 1 s measured"],
    ),
    (
        "pause_of_nobody",
        &["bench", "oneway-tcp", "--pause-broker", "0.5:0.1"],
        &["oneway-tcp has no broker", "--pause-broker"],
    ),
    (
        "recording_without_end",
        &["bench", "oneway-tcp", "--record", "--load", "1000000", "--seconds", "60"],
        &["60300000 messages", "4000000", "--seconds"],
    ),
    ("views_of_a_queue", &["wrong-views", "--over", "queue-redis"], &["queue-redis", "such as pubsub-redis"]),
    ("views_without_a_broker", &["wrong-views", "--over", "pubsub-tcp"], &["pubsub-tcp", "such as"]),
    ("views_of_a_closed_loop", &["wrong-views", "--load", "max"], &["`max`", "--load 1000"]),
    (
        "views_of_too_few",
        &["wrong-views", "--seconds", "5"],
        &["are too few", "p99.9 needs 10000", "--seconds"],
    ),
];

fn bench(labs: &[&str], more: &[&str]) -> Result<(TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let fixed = ["--trials", "1", "--warmup", "0.1", "--no-floor"];
    program::bench(&[labs, more, &fixed].concat(), &out)?.expect(0)?;
    Ok((dir, out))
}

/// The recording of a cell's first trial; every message of the account is in it.
fn checked(out: &Path, cell: &BenchmarkCase) -> Result<MessageTrace> {
    let file = ResultSet::open(out)?.0.read_raw(&trace::file(&cell.id, 0))?;
    let recording = MessageTrace::parse(&String::from_utf8(file)?)?;
    ensure!(recording.cut == 0, "{}: {} entries had no room", cell.id, recording.cut);
    let counts = &cell.trials.first().context("no trial")?.counts;
    let messages: BTreeSet<(u32, u64)> =
        recording.records.iter().map(|record| (record.producer, record.sequence)).collect();
    let received: BTreeSet<(Option<u32>, u32, u64)> = recording
        .records
        .iter()
        .filter(|record| record.received.is_some())
        .map(|record| (record.receiver, record.producer, record.sequence))
        .collect();
    let lost = recording.records.iter().filter(|record| record.received.is_none()).count() as u64;
    ensure!(
        (messages.len() as u64, received.len() as u64, lost) == (counts.sent, counts.received, counts.lost),
        "{}: {} messages, {} received and {lost} lost are recorded, and the account has {counts:?}",
        cell.id,
        messages.len(),
        received.len()
    );
    ensure!(
        recording.records.iter().all(|record| record.sent >= record.due),
        "{}: a message was sent before it was due",
        cell.id
    );
    Ok(recording)
}

fn recorded() -> Result<()> {
    let labs = ["oneway-tcp", "oneway-inproc", "reqrep-tcp", "pipeline-tcp"];
    let loads = ["--load", "2000", "--load", "max", "--window", "64", "--seconds", "0.3", "--record"];
    let (_dir, out) = bench(&labs, &loads)?;
    let run = read(&out)?;
    ensure!(run.cells.len() == 8 && run.plan.record, "{} cells", run.cells.len());
    for cell in &run.cells {
        let recording = checked(&out, cell)?;
        // What the histogram has rounded is within its 0.1 % of what the messages say.
        if let Some(most) = cell.trials[0].response_ns.max {
            let due = |ns: u64| (100_000_000..400_000_000).contains(&ns);
            let records = recording.records.iter().filter(|record| due(record.due));
            let exact = records.filter_map(|record| Some(record.received? - record.due)).max();
            let exact = exact.context("nothing was received")?;
            ensure!(most.abs_diff(exact) <= exact / 500 + 1, "{}: {most} is not {exact}", cell.id);
        }
    }
    Ok(())
}

fn subscribers() -> Result<()> {
    let args = ["--receivers", "2", "--load", "1000", "--seconds", "0.3", "--record"];
    let (_dir, out) = bench(&["pubsub-tcp"], &args)?;
    let run = read(&out)?;
    let recording = checked(&out, &run.cells[0])?;
    let of = |receiver| recording.records.iter().filter(|record| record.receiver == Some(receiver)).count();
    ensure!(of(0) > 0 && of(0) == of(1), "{} and {} lines", of(0), of(1));
    Ok(())
}

fn unasked() -> Result<()> {
    let (_dir, out) = bench(&["oneway-tcp"], &["--load", "1000", "--seconds", "0.2"])?;
    let cell = &read(&out)?.cells[0].id;
    let recorded = ResultSet::open(&out)?.0.read_raw(&trace::file(cell, 0));
    ensure!(recorded.is_err(), "every message was kept, and nobody has asked for it");
    Ok(())
}

fn stall() -> Result<()> {
    let args = ["--load", "1000", "--seconds", "1.2", "--pause-broker", "0.4:0.3", "--record"];
    let (_dir, out) = bench(&["pubsub-redis"], &args)?;
    let run = read(&out)?;
    let cell = &run.cells[0];
    let recording = checked(&out, cell)?;
    let paused = cell.trials[0].paused.context("the trial does not say that the broker stood still")?;
    ensure!(paused.asked_ns == 500_000_000 && paused.began_ns >= paused.asked_ns, "{paused:?}");
    ensure!(paused.ended_ns >= paused.began_ns + 300_000_000, "{paused:?}");
    // What was due when it stood still is received when it goes on, and not before.
    let within = |at: u64| paused.began_ns < at && at < paused.ended_ns;
    let due = recording.records.iter().filter(|record| within(record.due)).count();
    ensure!(due >= 100, "only {due} messages were due while the broker stood still");
    // A process on another CPU may run on for the moment until its signal arrives.
    let early = recording.records.iter().filter(|record| {
        within(record.sent.saturating_sub(20_000_000))
            && record.received.is_some_and(|at| at < paused.ended_ns)
    });
    ensure!(early.count() == 0, "a broker that stood still has passed messages on");
    let longest = recording.records.iter().filter_map(|record| Some(record.received? - record.due)).max();
    // A message was due in the first millisecond of it.
    ensure!(longest >= Some(paused.ended_ns - paused.began_ns - 5_000_000), "{longest:?} of {paused:?}");
    Ok(())
}

/// Ctrl-C while the broker stands still ends it all the same.
fn interrupted() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let args = ["bench", "pubsub-redis", "--load", "100", "--trials", "1", "--warmup", "0", "--no-floor"];
    let long = ["--seconds", "60", "--pause-broker", "0.2:50", "--out", text(&out)?];
    let live = Live::start(&[&args[..], &long].concat())?;
    let brokers = || [live.below("redis-server"), live.below("valkey-server")].concat();
    let state = |pid: u32| procfs::process::Process::new(pid as i32)?.stat().map(|stat| stat.state);
    let mut found = Vec::new();
    wait_until("the broker stands still", || {
        found = brokers();
        Ok(found.iter().any(|&pid| state(pid).is_ok_and(|state| state == 'T')))
    })?;
    live.signal_group(Signal::INT)?;
    live.end()?.expect(130)?;
    wait_until("the broker has gone", || Ok(!found.iter().any(|&pid| harness::process::runs(pid))))
}

/// As short as it can be; whether a figure is far off is for a quiet machine to say.
fn made() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let short = ["--load", "4000", "--seconds", "3.4", "--pause", "0.5", "--runs", "2"];
    let ran = run(&[&["wrong-views"], &short[..], &["--out", text(&out)?]].concat())?.expect(0)?;
    ran.told(&["open loop: pubsub-redis, 4000/s for 3.4 s", "closed loop", "run 2 of 2", "flood"])?;
    for heading in ["A closed loop", "A clock of milliseconds", "The sender's rate"] {
        ensure!(ran.out.contains(heading), "{heading} is not in the table:\n{}", ran.out);
    }
    let views = Views::read(&out)?;
    let recordings = Recordings::read(&out)?;
    let files: Vec<&str> = views.made.runs.iter().map(|take| take.file.as_str()).collect();
    ensure!(files == ["run-1.csv", "run-2.csv"], "{files:?}");
    let sent = |recording: &MessageTrace| recording.records.len() as u64;
    ensure!(sent(&recordings.open) == views.made.open.counts.sent, "{:?}", views.made.open);
    ensure!(sent(&recordings.closed) == views.made.closed.counts.sent, "{:?}", views.made.closed);
    // A sender in lockstep never has two messages on their way.
    let overlap = recordings
        .closed
        .records
        .windows(2)
        .find(|pair| pair[0].received.is_none_or(|received| received > pair[1].sent));
    ensure!(overlap.is_none(), "two messages were on their way: {overlap:?}");
    // It has lost count of what was due while the broker stood still.
    let paused = views.made.closed.paused.context("the broker did not stand still")?;
    let within = |at: u64| paused.began_ns < at && at < paused.ended_ns;
    let unaware = recordings.closed.records.iter().filter(|record| within(record.due)).count();
    ensure!(unaware <= 1, "{unaware} messages were sent while one was waited for");

    let before = folder(&out)?;
    run(&["wrong-views", "--redraw", text(&out)?])?.expect(0)?;
    ensure!(folder(&out)? == before, "drawn again, the folder is another one");
    ensure!(before.len() == 4 + 2 + 7, "{:?}", before.iter().map(|(name, _)| name).collect::<Vec<_>>());
    run(&["wrong-views", "--out", text(&out)?])?.expect(1)?.told(&["is not empty", "--redraw"])
}

fn folder(dir: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().context("no name")?.to_string_lossy().into_owned();
        files.push((name, fs::read_to_string(&path)?));
    }
    files.sort();
    Ok(files)
}

/// What the book shows is what the recordings beside it say, to the last digit.
fn committed() -> Result<()> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    let mut seen = 0;
    for entry in fs::read_dir(&results)? {
        let dir = entry?.path();
        if !dir.join("views.json").exists() {
            continue;
        }
        let (kept, recordings) = (Views::read(&dir)?, Recordings::read(&dir)?);
        let computed = recordings.views()?;
        ensure!(
            computed.views == kept.views,
            "{} says what its recordings do not; run `lab wrong-views --redraw` on it",
            dir.display()
        );
        ensure!(
            fs::read_to_string(dir.join("README.md"))? == kept.readme(),
            "the README of {} is out of date; run `lab wrong-views --redraw` on it",
            dir.display()
        );
        seen += 1;
    }
    ensure!(seen > 0, "there are no wrong views in results/");
    Ok(())
}
