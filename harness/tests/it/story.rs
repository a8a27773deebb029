//! `lab run`: the story is told by what happens, and so it changes with it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use harness::roles;
use labs::catalog::Pattern;
use labs::lab::Broker;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::conformance::Site;
use crate::lab;
use crate::needs::needs;
use crate::trial;

mod causes;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = roles::handles()
        .into_iter()
        .map(|handle| {
            let name = handle.entry.name.clone();
            needs(handle.entry.broker, &format!("story::{name}"), move || {
                told(&handle.entry)
                    .map_err(|failed| anyhow::anyhow!("{}", failed.message().unwrap_or_default()))
            })
        })
        .collect();
    trials.push(Trial::test("story::a_killed_receiver_is_another_story", killed_receiver));
    trials.push(trial("story::another_order_of_causes_is_seen", causes::another_order_is_seen));
    trials.push(trial("story::the_pace_does_not_slow_the_messages", || causes::at_any_pace("pipeline-tcp")));
    trials.push(needs(Broker::Redis, "story::the_pace_does_not_slow_the_messages_of_redis", || {
        causes::at_any_pace("pipeline-redis")
    }));
    trials.push(trial("story::ctrl_c_while_it_prints_ends_it", causes::interrupted));
    trials.push(Trial::test("story::ends_with_what_to_read_and_how_to_measure", ending));
    trials
}

/// The conclusions of a story.
fn conclusions(lines: &[Value]) -> Vec<String> {
    lines.iter().filter_map(|line| line["conclusion"].as_str().map(str::to_owned)).collect()
}

fn told(entry: &labs::catalog::Entry) -> Result<(), Failed> {
    let mut command = lab(&["run", &entry.name, "--no-measure", "--json"]);
    // A node of RabbitMQ's takes seconds of CPU to start: one story has its own, the others share one.
    if entry.broker == Some(Broker::RabbitMq) && entry.name != "queue-rabbitmq" {
        let site = Site::new("story", entry.broker).map_err(|error| format!("{error:#}"))?;
        let url = site.url().map_err(|error| format!("{error:#}"))?;
        command.args(["--url", &format!("rabbitmq={url}")]);
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("{}\n{text}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    causes::come_first(&lines).map_err(|error| format!("{error:#}"))?;
    let said = conclusions(&lines).join("\n");
    let wanted: &[&str] = match entry.pattern {
        Pattern::OneWay => &["3 written, 3 received, in the same order."],
        Pattern::RequestReply => &["4 requests, 4 replies; 4 of the replies matched their requests."],
        Pattern::PubSub => &[
            "subscriber-0 received 3, subscriber-1 with its filter 1, and subscriber-2, which joined late, \
             1.",
        ],
        Pattern::Pipeline => &["12 tasks, 12 results", "2 of 2 workers ended"],
        Pattern::Durable => {
            &["and 2 of the 2 events published while it was away.", "Each event was delivered once"]
        }
        Pattern::Queue => &["consumer-0 acknowledged one;", "Unacknowledged messages are"],
    };
    for wanted in wanted {
        if !said.contains(wanted) {
            return Err(format!("the scenario does not say `{wanted}`:\n{text}").into());
        }
    }
    Ok(())
}

/// The receiver is killed as soon as it has joined: nothing can arrive any more.
fn killed_receiver() -> Result<(), Failed> {
    let mut story = lab(&["run", "oneway-zeromq", "--no-measure", "--json", "--hold", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = Vec::new();
    for line in BufReader::new(story.stdout.take().ok_or("no stdout")?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        if line["role"] == "receiver-0" && line["what"] == "joined" {
            kill_role(story.id(), "receiver-0")?;
        }
        said.push(line);
    }
    story.wait()?;
    let gone = said.iter().any(|line| line["role"] == "receiver-0" && line["what"] == "is gone");
    let told = said.iter().any(|line| line["text"].as_str().is_some_and(|text| text.contains("SIGKILL")));
    let all_arrived = conclusions(&said).iter().any(|said| said.contains("3 received"));
    match (gone, told, all_arrived) {
        (true, true, false) => Ok(()),
        _ => Err(format!("the story goes on as if nothing had happened: {said:#?}").into()),
    }
}

/// Kills the process of a role below `root`, by the name it bears in the process list.
fn kill_role(root: u32, role: &str) -> Result<(), Failed> {
    for pid in harness::process::tree(&[root]) {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut args = line.split(|byte| *byte == 0);
        if args.any(|arg| arg == b"role") && args.any(|arg| arg == role.as_bytes()) {
            harness::process::signal(pid, rustix::process::Signal::KILL);
            return Ok(());
        }
    }
    Err(format!("no process of {role} below {root}").into())
}

/// An unoptimised build, such as that of the tests, has no figure, and names the command that has.
fn ending() -> Result<(), Failed> {
    let output = lab(&["run", "oneway-inproc"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = ["received a second", "response p50"];
    let optimised = !cfg!(debug_assertions);
    if figures.iter().any(|figure| text.contains(figure) != optimised) {
        return Err(
            format!("figures are for an optimised build alone (this is one: {optimised}):\n{text}").into()
        );
    }
    for wanted in ["labs/src/oneway/inproc.rs", "lab bench oneway-inproc"] {
        if !text.contains(wanted) {
            return Err(format!("`{wanted}` is missing:\n{text}").into());
        }
    }
    Ok(())
}
