//! In a printed story, causes come before effects, at any pace.

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::{Live, run};

/// Fails for the first line that is told before what caused it.
pub(super) fn come_first(lines: &[Value]) -> Result<()> {
    let mut elapsed = 0;
    for (at, line) in lines.iter().enumerate() {
        // What follows from a story, and where to read on, has no time.
        if let Some(now) = line["elapsed_ns"].as_u64() {
            ensure!(now >= elapsed, "this is older than the line before it: {line}\n{lines:#?}");
            elapsed = now;
        }
        let (Some(role), Some(what)) = (line["role"].as_str(), line["what"].as_str()) else { continue };
        let text = line["event"]["text"].as_str().unwrap_or_default();
        let told = |by: &dyn Fn(&str) -> bool, what: &[&str]| {
            lines[..at].iter().any(|line| {
                line["role"].as_str().is_some_and(by)
                    && what.iter().any(|what| line["what"] == *what)
                    && (text.is_empty() || line["event"]["text"] == text)
            })
        };
        let itself = |other: &str| other == role;
        let kind = |kind: &'static str| move |other: &str| other.starts_with(kind);
        let sender: &[&str] = match role.split_once('-').context("a role without a number")?.0 {
            "receiver" => &["sender"],
            "subscriber" => &["publisher"],
            "worker" => &["ventilator"],
            "sink" => &["worker"],
            "consumer" => &["producer"],
            "responder" => &["requester"],
            "requester" => &["responder"],
            _ => &[],
        };
        let before = match what {
            "joined" | "left" | "is gone" | "failed" | "incident" => true,
            // A producer is told to send, and reports only the confirmation.
            "received" | "received again" if sender == ["producer"] => {
                let sends = lines[..at].iter().any(|line| line["text"] == format!("sends {text}"));
                sends || told(&kind("producer"), &["confirmed"])
            }
            "received" | "received again" => sender.iter().any(|sender| told(&kind(sender), &["written"])),
            "was asked" => told(&kind("requester"), &["asked"]),
            "got the reply" => told(&kind("responder"), &["replied"]),
            "acked" | "nacked" | "finished" => told(&itself, &["received", "received again"]),
            // What binds goes on when the others have left.
            "ended" if text != "stop" => matches!(sender, ["worker" | "sender"]),
            "ended" => told(&kind("sink"), &["written"]),
            "asked" | "replied" | "written" | "confirmed" => true,
            other => bail!("what causes `{other}`? {line}"),
        };
        ensure!(before, "its cause is not told before it: {line}\n{lines:#?}");
        if what != "joined" {
            let joined = lines[..at].iter().any(|line| line["role"] == role && line["what"] == "joined");
            ensure!(joined, "it is told before its role has joined: {line}\n{lines:#?}");
        }
    }
    Ok(())
}

/// The check fails for a story that is told in another order.
pub(super) fn another_order_is_seen() -> Result<()> {
    let line = |role: &str, what: &str, text: &str, elapsed: u64| json!({ "role": role, "what": what, "event": { "text": text }, "elapsed_ns": elapsed });
    let story = [
        line("sender-0", "joined", "", 0),
        line("receiver-0", "joined", "", 1),
        line("sender-0", "written", "one", 2),
        line("receiver-0", "received", "one", 3),
    ];
    come_first(&story)?;
    for (other, order) in [([0, 1, 3, 2], [0; 4]), ([0, 2, 3, 1], [0; 4]), ([0, 1, 2, 3], [0, 1, 3, 2])] {
        let mut told = other.map(|at| story[at].clone());
        told.iter_mut().zip(order).for_each(|(line, elapsed)| line["elapsed_ns"] = elapsed.into());
        ensure!(come_first(&told).is_err(), "nothing is wrong with {told:#?}");
    }
    Ok(())
}

/// The lines of a story that is printed at this pace.
fn story(lab: &str, pace: &str) -> Result<Vec<Value>> {
    let ran = run(&["run", lab, "--no-measure", "--json", "--pace", pace])?.expect(0)?;
    Ok(ran.out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The pace is that of the printing: the fast worker gets more tasks at any.
pub(super) fn at_any_pace(lab: &str) -> Result<()> {
    for pace in ["0", "0.05"] {
        let lines = story(lab, pace)?;
        let done = |worker: &str| {
            let of = |line: &&Value| line["role"] == worker && line["what"] == "written";
            lines.iter().filter(of).count()
        };
        let (fast, slow) = (done("worker-0"), done("worker-1"));
        ensure!(fast > slow && slow > 0, "at pace {pace}: {fast} to {slow}\n{lines:#?}");
    }
    Ok(())
}

/// Ctrl-C between two lines ends it.
pub(super) fn interrupted() -> Result<()> {
    let mut live = Live::start(&["run", "oneway-tcp", "--no-measure", "--pace", "600"])?;
    let mut lines = live.lines()?;
    lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("joined"))).context("no line came")??;
    live.signal_group(Signal::INT)?;
    let ended = live.end()?.expect(130)?;
    ensure!(ended.err.is_empty(), "it complains: {}", ended.err);
    Ok(())
}
