//! Other people's brokers: addresses as users write them, in every command, over real brokers
//! with logins, and over servers that answer badly.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;
use libtest_mimic::Trial;

use crate::program::{Ran, code, run};
use crate::trial;

mod fake;
mod login;
mod reach;
mod stays;

/// In every password of these tests, so that it can be looked for.
const SECRET: &str = "S3cret-Marker";
/// A bench that is over soon.
const BRIEF: [&str; 11] =
    ["--trials", "1", "--seconds", "0.3", "--warmup", "0.1", "--load", "200", "--drain", "5", "--json"];

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("addresses::tls_is_refused_before_a_byte_is_sent", fake::tls),
        trial("addresses::a_server_that_says_nothing_is_given_up", fake::silent),
        trial("addresses::a_server_that_talks_for_ever_is_given_up", fake::talks),
        trial("addresses::a_line_without_an_end_is_given_up", fake::endless),
        trial("addresses::what_a_server_says_is_escaped", fake::escaped),
        trial("addresses::recorded_older_brokers_are_told_before_a_trial", fake::older),
        trial("addresses::no_error_has_a_password", errors),
        needs(Broker::Nats, "logins_of_nats_work_everywhere", login::nats),
        needs(Broker::Redis, "logins_of_redis_work_everywhere", login::redis),
        needs(Broker::Redis, "unix_sockets_and_databases_of_redis_work", login::redis_socket),
        needs(Broker::Mqtt, "logins_of_mqtt_work_everywhere", login::mqtt),
        needs(
            Broker::RabbitMq,
            "logins_vhosts_and_an_alarm_of_rabbitmq_are_told_everywhere",
            login::rabbitmq,
        ),
        needs(Broker::Redis, "ipv6_is_dialled", reach::ipv6),
        needs(Broker::Redis, "a_cluster_node_is_told_before_a_trial", reach::cluster),
        needs(Broker::Nats, "mqtt_without_version_5_is_told_before_a_trial", reach::mqtt_311),
        needs(Broker::Nats, "messages_that_are_too_large_are_left_out", reach::too_large),
        needs(Broker::RabbitMq, "those_who_play_do_not_collide_and_can_be_removed", stays::play),
        needs(Broker::Redis, "an_interrupted_bench_leaves_nothing", stays::interrupted),
    ]
}

fn needs(broker: Broker, name: &str, test: fn() -> Result<()>) -> Trial {
    crate::needs::needs(broker, &format!("addresses::{name}"), test)
}

/// Runs `lab bench` of these labs over this broker.
fn bench(url: &str, labs: &[&str], more: &[&str]) -> Result<Ran> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("result_set");
    let words = [labs, &BRIEF, &["--url", url], more].concat();
    let mut ran = run(&[&["bench"], &words[..], &["--out", crate::program::text(&out)?]].concat())?;
    if ran.code == 1 && out.join("run.json").exists() {
        // A trial may have failed because the machine was busy; one that fails otherwise fails again.
        ran = crate::program::bench(&[&words[..], &["--resume"]].concat(), &out)?;
    }
    silent_about_it(&ran)?;
    for file in files(dir.path())? {
        let text = std::fs::read(&file)?;
        let found = text.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        ensure!(!found, "{} has the password", file.display());
    }
    Ok(ran)
}

fn files(dir: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let (mut found, mut next) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(path) = next.pop() {
        match path.is_dir() {
            true => next.extend(std::fs::read_dir(&path)?.flatten().map(|entry| entry.path())),
            false => found.push(path),
        }
    }
    Ok(found)
}

/// Nothing that was printed has the password.
fn silent_about_it(ran: &Ran) -> Result<()> {
    for (text, what) in [(&ran.out, "stdout"), (&ran.err, "stderr")] {
        ensure!(!text.contains(SECRET), "the password is on {what}:\n{text}");
        ensure!(!text.contains("S3cret"), "a part of the password is on {what}:\n{text}");
    }
    Ok(())
}

/// Fails with all that was said unless a bench was good.
fn good(ran: Ran) -> Result<()> {
    ran.expect(0).map(drop)
}

/// Commands, each with an address that has a password and cannot be used.
fn errors() -> Result<()> {
    let nobody = crate::addresses::reach::nobody()?;
    let unusable = |scheme: &str| format!("{scheme}://me:{SECRET}@127.0.0.1:{nobody}");
    let redis = format!("redis={}", unusable("redis"));
    let rabbit = format!("rabbitmq={}", unusable("amqp"));
    let mqtt = format!("mqtt={}", unusable("mqtt"));
    let nats = format!("nats={}", unusable("nats"));
    let bad_port = format!("redis=redis://me:{SECRET}");
    let bad_query = format!("redis=redis://:{SECRET}@h?x=1");
    let socket = format!("redis=redis+unix:///nobody/here?pass={SECRET}");
    let no_broker = format!("nobody=redis://:{SECRET}@h");
    let no_name = format!("redis://:{SECRET}@h");
    for (words, expected) in [
        (vec!["bench", "oneway-redis", "--no-floor", "--url", &redis], 1),
        (vec!["bench", "oneway-rabbitmq", "--no-floor", "--url", &rabbit], 1),
        (vec!["bench", "oneway-mqtt", "--no-floor", "--url", &mqtt], 1),
        (vec!["bench", "oneway-nats", "--no-floor", "--url", &nats], 1),
        (vec!["bench", "oneway-redis", "--url", &socket], 1),
        (vec!["bench", "oneway-redis", "--url", &bad_port], 2),
        (vec!["bench", "oneway-redis", "--url", &bad_query], 2),
        (vec!["bench", "oneway-redis", "--url", &no_broker], 2),
        (vec!["bench", "oneway-redis", "--url", &no_name], 2),
        (vec!["bench", &no_name], 2),
        (vec!["bench", "--no-such-option", &no_name], 2),
        (vec!["doctor", "redis", "--url", &redis], 1),
        (vec!["doctor", "redis", "--json", "--url", &socket], 1),
        (vec!["doctor", "rabbitmq", "--url", &rabbit], 1),
        (vec!["doctor", "mqtt", "--url", &mqtt], 1),
        (vec!["doctor", "nats", "--url", &nats], 1),
        (vec!["run", "pubsub-redis", "--no-measure", "--url", &redis], 1),
        (vec!["run", "pubsub-nats", "--no-measure", "--url", &nats], 1),
        (vec!["play", "pubsub-redis", "publisher", "--url", &redis], 1),
        (vec!["play", "pubsub-redis", "publisher", "--at", &no_name[..no_name.len() - 2]], 2),
        (vec!["play", "pubsub-redis", &no_name], 2),
        (vec!["chat", "redis", "--url", &redis], 1),
        (vec!["status", "--url", &redis], 1),
        (vec!["bridge", "--url", &rabbit], 1),
        (vec!["crack", "--over", "redis", "--url", &redis, "da39a3ee5e6b4b0d3255bfef95601890afd80709"], 1),
        (vec!["crack", "--join", "redis", "--at", "redis://:S3cret-Marker"], 2),
    ] {
        let ran = run(&words)?;
        silent_about_it(&ran)?;
        ran.expect(expected).with_context(|| format!("{words:?}"))?;
    }
    Ok(())
}

/// The command lines of a process and of all that are below it, but not of the one that was typed.
fn arguments_below(pid: u32) -> Vec<String> {
    let below = harness::process::tree(&[pid]).into_iter().filter(|&other| other != pid);
    below
        .filter_map(|pid| {
            let process = procfs::process::Process::new(pid as i32).ok()?;
            Some(process.cmdline().ok()?.join(" "))
        })
        .collect()
}

/// Runs `lab` with this on its stdin.
pub(crate) fn run_with_input(words: &[&str], input: &str) -> Result<Ran> {
    use std::io::Write as _;
    let mut command = crate::lab(words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no pipe")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok(Ran {
        code: code(output.status),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}
