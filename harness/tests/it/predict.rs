//! `lab predict`: the scenes show what the labs promise, answers are judged, and what makes no sense is
//! refused with the remedy.

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::needs::{Needs, needs};
use crate::program::{Live, run};
use crate::{trial, wait_until};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = LABS
        .into_iter()
        .map(|lab| {
            needs(
                Needs::from(lab.broker),
                &format!("predict::{}_shows_what_it_promises", lab.name),
                move || shows(&lab),
            )
        })
        .collect();
    trials.extend([
        trial("predict::threads_are_not_killed", threads),
        trial("predict::difference_is_explained", explained),
        trial("predict::what_makes_no_sense_is_refused", refused),
        trial("predict::interruption_leaves_no_role", interrupted),
    ]);
    trials
}

/// A lab, the answers to its questions, and what happens.
struct Lab {
    name: &'static str,
    broker: Option<Broker>,
    answers: &'static str,
    predicted: [Option<u64>; 2],
    happens: [u64; 2],
}

const LABS: [Lab; 5] = [
    // The late subscriber gets half; the killed one misses what was published meanwhile.
    Lab {
        name: "pubsub-tcp",
        broker: None,
        answers: "3,0,x10",
        predicted: [Some(3), Some(0)],
        happens: [3, 4],
    },
    Lab {
        name: "pubsub-redis",
        broker: Some(Broker::Redis),
        answers: "6,4,",
        predicted: [Some(6), Some(4)],
        happens: [3, 4],
    },
    // Each message once, and none lost.
    Lab {
        name: "queue-redis",
        broker: Some(Broker::Redis),
        answers: ",0,x2",
        predicted: [None, Some(0)],
        happens: [6, 0],
    },
    // Nobody gets another's reply; the requests in hand are lost.
    Lab {
        name: "reqrep-tcp",
        broker: None,
        answers: "0,3,5",
        predicted: [Some(0), Some(3)],
        happens: [0, 3],
    },
    // Tasks are assigned in turn; those in hand are lost.
    Lab {
        name: "pipeline-zeromq",
        broker: None,
        answers: "1,0,100x",
        predicted: [Some(1), Some(0)],
        happens: [6, 5],
    },
];

/// One object for each question.
fn records(words: &[&str]) -> Result<Vec<Value>> {
    let ran = run(&[&["predict", "--json"], words].concat())?.expect(0)?;
    ran.out.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

fn shows(lab: &Lab) -> Result<()> {
    let records = records(&[lab.name, "--answers", lab.answers])?;
    ensure!(records.len() == 3, "{records:?}");
    for ((record, predicted), happens) in records.iter().zip(lab.predicted).zip(lab.happens) {
        let right = predicted == Some(happens);
        let as_it_is = record["predicted"] == json!(predicted)
            && record["happened"] == json!(happens)
            && record["right"] == json!(right);
        ensure!(as_it_is, "{happens} was expected of {record:#}");
        let why = record["why"].as_str().context("no reason")?;
        ensure!(why.contains(lab.name), "the reason does not name the lab: {why}");
    }
    // The machine may be too busy for a measurement.
    let factor = &records[2];
    let happened = factor["happened"].as_f64();
    let judged = happened.is_some() == factor["right"].is_boolean();
    ensure!(judged && happened.is_none_or(|factor| factor > 0.0), "{factor:#}");
    Ok(())
}

fn threads() -> Result<()> {
    // The answer to the question that is left out may be left out, too.
    let records = records(&["pubsub-inproc", "--answers", "3,x10"])?;
    ensure!(records.len() == 3 && records[0]["right"] == json!(true), "{records:?}");
    let left_out = &records[1];
    let said = left_out["why"].as_str().is_some_and(|why| why.contains("threads of one process"));
    ensure!(said && left_out["happened"].is_null() && left_out["right"].is_null(), "{left_out:#}");
    ensure!(records[2]["predicted"] == json!(10), "{:#}", records[2]);
    Ok(())
}

fn explained() -> Result<()> {
    for (answer, told) in [
        ("2", "predicted: 2   not as predicted"),
        ("3", "predicted: 3   right"),
        ("", "predicted: I don't know"),
    ] {
        let ran = run(&["predict", "pubsub-tcp", "--only", "1", "--answers", answer])?.expect(0)?;
        let total = format!("{} of 1 predicted", u8::from(answer == "3"));
        for words in [told, "happened:  3", "promises at-most-once", "docs/patterns/pubsub.md", &total] {
            ensure!(ran.out.contains(words), "`{words}` was not said, but:\n{}", ran.out);
        }
    }
    Ok(())
}

fn refused() -> Result<()> {
    for (words, told) in [
        (&["pubsub-tpc", "--answers", "3,4,x10"][..], "did you mean `pubsub-tcp`?"),
        (&["pubsub-tcp"], "give the answers with --answers"),
        (&["pubsub-tcp", "--answers", "3,4"], "--answers has 2, and 3 are needed"),
        (
            &["pubsub-tcp", "--answers", "7,4,x10"],
            "question 1: `7` is not an answer; give a number from 0 to 6",
        ),
        (&["pubsub-tcp", "--answers", "-1,4,x10"], "question 1: `-1` is not an answer"),
        (
            &["pubsub-tcp", "--answers", "3,4,ten"],
            "question 3: `ten` is not an answer; give a factor above 0",
        ),
        (&["pubsub-tcp", "--only", "4", "--answers", "1"], "there is no question 4; give `--only` 1, 2 or 3"),
        (&["pubsub-inproc", "--only", "2", "--answers", "1"], "a thread cannot be killed; ask another one"),
    ] {
        run(&[&["predict"], words].concat())?.expect(2)?.told(&[told])?;
    }
    Ok(())
}

fn interrupted() -> Result<()> {
    let live = Live::start(&["predict", "oneway-tcp", "--only", "2", "--answers", "1"])?;
    wait_until("a role is there", || Ok(!live.below("role").is_empty()))?;
    let roles = live.below("role");
    live.signal_group(Signal::INT)?;
    live.end()?.expect(130)?;
    wait_until("no role is left", || {
        Ok(roles.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()))
    })
}
