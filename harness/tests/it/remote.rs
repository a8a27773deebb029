//! Roles that are started elsewhere: by a command that carries a stream. Here it is one on the same
//! host, or in a namespace of its own.

mod killed;
mod networks;
mod ssh;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::process::signal;
use labs::lab::Broker;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;

use crate::needs::{Need, Needs, needs, proof};
use crate::program::{Live, bench, read, run, text};
use crate::result_sets::{MARK, Redis, marked};
use crate::{lab, trial, wait_until};
pub(crate) use networks::on_three_hosts;
use ssh::SERVER;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("remote::the_account_is_the_same_as_on_one_host", same_account),
        trial("remote::what_cannot_be_started_is_named_with_the_reason", named),
        trial("remote::a_killed_launcher_fails_the_trial_and_leaves_nothing", killed::once),
        trial("remote::launchers_killed_at_random_leave_nothing", || killed::at_random(4)),
        proof(trial("remote::a_hundred_launchers_killed_at_random_leave_nothing", || killed::at_random(100))),
        trial("remote::a_killed_lab_leaves_nothing_on_the_other_side", killed::lab_itself),
        trial("remote::a_host_that_stops_answering_fails_the_trial", frozen),
        needs(Need::TimeNamespace, "remote::another_clock_is_found_out_and_corrected", another_clock),
        proof(needs(
            Needs::from(Need::Program("ip", "iproute2")).and(Need::Networks),
            "remote::three_networks_and_clocks_give_the_account_of_one_host",
            networks::account_and_clocks,
        )),
        proof(needs(
            Needs::from(Need::Program(SERVER, "openssh-server"))
                .and(Need::Broker(Broker::Redis))
                .and(Need::Broker(Broker::Nats)),
            "remote::roles_over_ssh_lose_nothing",
            ssh::over_ssh,
        )),
        needs(
            Need::Program(SERVER, "openssh-server"),
            "remote::what_ssh_says_is_the_reason",
            ssh::another_key,
        ),
        needs(Broker::Redis, "remote::what_waits_in_a_store_is_not_called_lost", stalled),
        trial("remote::options_that_cannot_be_are_refused", refused),
    ]
}

/// The trials of the result set in a folder.
pub(crate) fn trials_of(out: &Path) -> Result<Vec<Value>> {
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
        unharmed(&one)?;
        let hosts = one["hosts"].as_array().context("no hosts")?;
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

/// A trial was good, some role of it ran elsewhere, and its account is complete.
fn unharmed(one: &Value) -> Result<()> {
    ensure!(one["failed"].is_null(), "{}", one["failed"]);
    let count = |name: &str| one["counts"][name].as_u64().unwrap_or(u64::MAX);
    ensure!(count("sent") > 0 && count("received") >= count("sent"), "{}", one["counts"]);
    for nothing in ["lost", "duplicated", "corrupt", "misrouted", "negative", "unaccounted"] {
        ensure!(count(nothing) == 0, "{nothing}: {}", one["counts"]);
    }
    ensure!(one["hosts"].as_array().is_some_and(|hosts| !hosts.is_empty()), "nobody was elsewhere");
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

/// Every process on the other side is stopped, with the launcher: nothing is closed and nothing ends. It
/// takes as long to notice as the trial's own second and the silence that is allowed.
fn frozen() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mark = format!("frozen-{}", std::process::id());
    let launch = format!("sender=env {MARK}={mark}");
    let words = ["bench", "oneway-tcp", "--load", "max", "--trials", "1", "--seconds", "60", "--no-floor"];
    let out = dir.path().to_str().context("a path")?;
    let mut child = lab(&[&words[..], &["--launch", &launch, "--out", out]].concat()).spawn()?;
    // The agent's three processes and its role are there.
    wait_until("the agent and its role are there", || Ok(marked(&mark).len() >= 4))?;
    let stopped = marked(&mark);
    for pid in &stopped {
        signal(*pid, Signal::STOP);
    }
    let began = Instant::now();
    wait_until("the trial has failed", || Ok(child.try_wait()?.is_some()))?;
    let why = trials_of(dir.path())?.remove(0);
    ensure!(
        why["failed"].as_str().is_some_and(|why| why.contains("not answered for 8 s")),
        "{}",
        why["failed"]
    );
    ensure!(began.elapsed() < Duration::from_secs(60), "it took {:?}", began.elapsed());
    // When the host goes on, it finds that nobody listens.
    for pid in &stopped {
        signal(*pid, Signal::CONT);
    }
    gone(&mark)
}

/// Waits until neither an agent nor its role is left.
fn gone(mark: &str) -> Result<()> {
    wait_until("nothing is left on the other side", || Ok(marked(mark).is_empty()))
}

/// A time namespace whose clock is five seconds off.
fn another_clock() -> Result<()> {
    for (shift, expected) in [("5", 5_000_000_000_i64), ("-5", -5_000_000_000)] {
        let words = ["--time", "--monotonic", shift, "--fork", "--kill-child"];
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
        // Linux 6.18 was seen to keep processes of a time namespace from running for ten seconds, in 10
        // of 84 runs, and without the namespace in none of 124: only that is tried again.
        let mut ran = bench(&words, dir.path())?;
        for _ in 0..4 {
            let told = format!("{}{}", ran.out, ran.err);
            if ran.code == 0 || !["has not answered", "has said nothing"].iter().any(|why| told.contains(why))
            {
                break;
            }
            let again = ["bench", "--resume", "--out", text(dir.path())?];
            ran = run(&again)?;
        }
        ran.expect(0)?;
        let one = trials_of(dir.path())?.pop().context("no trial")?;
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

/// A broker is stopped for longer than the drain. Its messages are still there, and the consumer on
/// another host has not seen them: they must not count as lost.
fn stalled() -> Result<()> {
    let redis = Redis::start()?;
    let dir = tempfile::tempdir()?;
    let url = format!("redis={}", redis.url);
    let words =
        ["bench", "queue-redis", "--launch", "consumer=env", "--url", &url, "--load", "500", "--no-floor"];
    let short = ["--trials", "1", "--seconds", "2", "--drain", "0.3", "--out", text(dir.path())?];
    let live = Live::start(&[&words[..], &short].concat())?;
    let mut client = redis::Client::open(redis.url.as_str())?.get_connection()?;
    wait_until("messages flow", || {
        let info: redis::InfoDict = redis::cmd("INFO").arg("stats").query(&mut client)?;
        Ok(info.get::<u64>("total_commands_processed").is_some_and(|commands| commands > 500))
    })?;
    signal(redis.child.id(), Signal::STOP);
    std::thread::sleep(Duration::from_secs(4));
    signal(redis.child.id(), Signal::CONT);
    live.end()?;
    let one = trials_of(dir.path())?.remove(0);
    let count = |name: &str| one["counts"][name].as_u64().unwrap_or(u64::MAX);
    ensure!(one["failed"].is_string() && count("received") < count("sent"), "nothing stayed away: {one}");
    ensure!(count("confirmed_lost") == 0 && count("lost") == 0, "{}", one["counts"]);
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
