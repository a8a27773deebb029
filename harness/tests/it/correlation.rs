//! `lab correlation`: every question that was asked has been answered, failed or
//! given up, and nothing is left of any, whatever the child does.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use labs::apps::answer::Answer;
use labs::apps::child::lines::{LineReceiver, LineSender};
use labs::apps::child::{self, Asker, Failure, MAX_LINE};
use labs::lab::Broker;
use labs::oneway::{self, OneWay, Receiver};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::conformance::Site;
use crate::needs::{Need, needs};
use crate::program::{Live, run, text};
use crate::{trial, wait_until};

const LONG: Duration = Duration::from_secs(180);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("correlation::every_question_is_accounted_for", accounted),
        needs(Need::Program("python3", "python3"), "correlation::a_child_in_python_is_asked_alike", python),
        trial("correlation::a_child_that_cannot_be_started_is_named", nameless),
        trial("correlation::ctrl_c_leaves_no_child", interrupted),
        needs(
            Need::Program("python3", "python3"),
            "correlation::a_child_behind_a_shell_ends",
            behind_a_shell,
        ),
        trial("correlation::a_process_that_keeps_the_stdout_open_stops_nothing", kept_open),
        needs(
            Need::Program("python3", "python3"),
            "correlation::a_child_that_does_not_flush_is_hinted_at",
            unflushed,
        ),
        trial("correlation::over_two_channels_in_process", || over::<oneway::inproc::Inproc>("inproc")),
        trial("correlation::over_two_tcp_connections", || over::<oneway::tcp::Tcp>("tcp")),
        needs(Broker::Redis, "correlation::over_two_lists_of_redis", || {
            over::<oneway::redis::RedisList>("redis")
        }),
        trial("correlation::garbage_is_counted", || harness::roles::runtime(0)?.block_on(garbage())),
        trial("correlation::who_stops_reading_stops_nobody_else", || {
            harness::roles::runtime(0)?.block_on(full())
        }),
    ]
}

fn lines(out: &str) -> Result<Vec<Value>> {
    Ok(out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn one<'a>(lines: &'a [Value], what: &str) -> Result<&'a Value> {
    lines.iter().find(|line| line["what"] == what).with_context(|| format!("nothing {what} in {lines:?}"))
}

/// What holds for a child in any language that does what it is told.
fn holds(lines: &[Value], abandoned: u64) -> Result<()> {
    let answers: Vec<&Value> =
        lines.iter().filter(|line| line["what"] == "answered").map(|line| &line["answer"]).collect();
    ensure!(
        answers == ["THE QUICK ONE", "the next", "the slow one", "STILL HERE"],
        "answers should overtake each other: {answers:?}"
    );
    let error = one(lines, "error")?["why"].as_str().context("no reason")?;
    ensure!(error.contains("on purpose"), "the handler's error is not told: {error}");
    ensure!(one(lines, "timed_out")?["question"] == "wait 400 too late", "the wrong one timed out");
    let gone = one(lines, "gone")?["why"].as_str().context("no reason")?;
    ensure!(gone.contains("SIGKILL"), "it is not said how the child ended: {gone}");
    // At once, and not when its answer has come.
    let left = &one(lines, "abandoned")?["left"];
    ensure!(*left == 0, "{left} abandoned questions are still in the table");
    let counts = one(lines, "counts")?;
    for (name, expected) in [
        ("asked", abandoned + 7),
        ("answered", 4),
        ("errors", 1),
        ("timed_out", 1),
        ("abandoned", abandoned),
        ("gone", 1),
        ("late", abandoned + 1),
        ("unknown", 0),
        ("left", 0),
    ] {
        ensure!(counts[name] == expected, "{name} is not {expected}: {counts}");
    }
    Ok(())
}

fn accounted() -> Result<()> {
    let ran = run(&["correlation", "--json"])?.expect(0)?;
    let lines = lines(&ran.out)?;
    holds(&lines, 10_000)?;
    ensure!(one(&lines, "counts")?["garbage"] == 1, "the child's greeting is not counted as garbage");
    Ok(())
}

/// The child that the documentation shows.
fn python() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = child_in(dir.path())?;
    let ran = run(&["correlation", "--json", "--abandon", "500", "--", "python3", &file])?.expect(0)?;
    holds(&lines(&ran.out)?, 500)
}

fn child_in(dir: &std::path::Path) -> Result<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/applications/correlation.md");
    let page = std::fs::read_to_string(page)?;
    let (_, code) = page.split_once("```python\n").context("the page shows no child")?;
    let (code, _) = code.split_once("```").context("the child does not end")?;
    let file = dir.join("child.py");
    std::fs::write(&file, code)?;
    Ok(text(&file)?.to_owned())
}

/// The shell waits for the child that it has started: both are ended.
fn behind_a_shell() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = child_in(dir.path())?;
    let script = format!("python3 '{file}'; true");
    let args = ["correlation", "--json", "--abandon", "100", "--", "sh", "-c", &script];
    holds(&lines(&run(&args)?.expect(0)?.out)?, 100)
}

/// A process in a group of its own outlives the child, and holds its stdout.
fn kept_open() -> Result<()> {
    let script = "setsid sleep 600 & exit 0";
    let ran = run(&["correlation", "--json", "--abandon", "1", "--", "sh", "-c", script])?.expect(1)?;
    ensure!(ran.out.contains("exit status: 0"), "{} {}", ran.out, ran.err);
    Ok(())
}

fn unflushed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = child_in(dir.path())?;
    let code = std::fs::read_to_string(&file)?.replace(", flush=True", "");
    std::fs::write(&file, code)?;
    let mut command = crate::lab(&["correlation", "--abandon", "1", "--", "python3", &file]);
    command.env_remove("PYTHONUNBUFFERED");
    let mut live = Live::spawn(command)?;
    live.until_said("flush after each line")?;
    live.signal_group(Signal::INT)?;
    live.end()?.expect(130).map(drop)
}

fn nameless() -> Result<()> {
    run(&["correlation", "--", "no-such-program"])?.expect(2)?.told(&["`no-such-program`", "PATH"])?;
    // One that answers nothing is not well.
    let ran = run(&["correlation", "--json", "--abandon", "1", "--", "true"])?;
    ensure!(ran.code == 1, "a child that ends at once is taken for good: {}", ran.out);
    Ok(())
}

fn interrupted() -> Result<()> {
    // It reads and never answers: the first question stays open.
    let live = Live::start(&["correlation", "--", "sleep", "600"])?;
    let mut child = Vec::new();
    wait_until("the child runs", || {
        child = live.below("sleep");
        Ok(!child.is_empty())
    })?;
    live.signal_group(Signal::INT)?;
    let ran = live.end()?;
    ensure!(ran.code == 130, "Ctrl-C ended it with {}", ran.code);
    ensure!(!harness::process::runs(child[0]), "the child has outlived it");
    Ok(())
}

/// Answers `echo TEXT` at once, and `after N` when so many others have been asked.
async fn echo(question: String) -> Answer {
    match question.split_once(' ') {
        Some(("echo", text)) => Ok(text.to_owned()),
        _ => Err(format!("no echo: {question}")),
    }
}

/// The same talk over the ends of two one-way labs.
fn over<L: OneWay>(what: &str) -> Result<()> {
    let site = Site::new(&format!("child-{what}"), L::BROKER)?;
    let places = ["there", "back"].map(|part| site.place().namespace(part));
    harness::roles::runtime(0)?.block_on(async {
        let [there, back] = [L::open(&places[0]).await?, L::open(&places[1]).await?];
        let (questions, to_child, answers, from_child) =
            tokio::try_join!(there.receiver(), there.sender(), back.receiver(), back.sender())?;
        let (asker, talk) = child::over(to_child, answers);
        let served = child::serve(from_child, questions, echo);
        let asked = tokio::time::timeout(LONG, many(&asker));
        tokio::select! {
            asked = asked => asked.context("the questions are not answered")?,
            () = talk.run() => anyhow::bail!("the talk has ended"),
            served = served => anyhow::bail!("the other side has ended: {served:?}"),
        }
    })?;
    let removed = harness::roles::runtime(0)?;
    for place in &places {
        removed.block_on(L::remove(place))?;
    }
    Ok(())
}

async fn many(asker: &Asker) -> Result<()> {
    for round in 0..3 {
        let asked = futures_util::future::join_all((0..500).map(|number| async move {
            let text = format!("{round}-{number}");
            let answer = match number % 5 {
                0 => asker.ask(&format!("fail {text}"), LONG).await,
                1 => {
                    // Accepted, and given up.
                    drop(asker.accept(&format!("echo {text}")).await?);
                    return Ok(());
                }
                _ => asker.ask(&format!("echo {text}"), LONG).await,
            };
            let expected = if number % 5 == 0 {
                Err(Failure::Handler(format!("no echo: fail {text}")))
            } else {
                Ok(text)
            };
            ensure!(answer == expected, "{answer:?} instead of {expected:?}");
            Ok(())
        }));
        asked.await.into_iter().collect::<Result<()>>()?;
        ensure!(asker.open() == 0, "{} questions are left in the table", asker.open());
    }
    // Order is kept in these channels, so the last answer comes behind all late ones.
    while asker.dropped().late < 300 {
        asker.ask("echo flush", LONG).await?;
    }
    ensure!(asker.dropped().late == 300 && asker.garbage() == 0, "{:?}", asker.dropped());
    for bad in ["two\nlines".to_owned(), "x".repeat(MAX_LINE)] {
        let refused = asker.ask(&bad, LONG).await;
        ensure!(matches!(refused, Err(Failure::Refused(_))), "it was asked: {refused:?}");
    }
    Ok(())
}

/// Noise between answers is counted and harms none; half a line is no answer.
async fn garbage() -> Result<()> {
    let (ours, theirs) = tokio::io::duplex(4096);
    let (reading, writing) = tokio::io::split(ours);
    let (asker, talk) = child::over(LineSender::into(writing), LineReceiver::of(reading));
    let (theirs_in, mut theirs_out) = tokio::io::split(theirs);
    let mut questions = LineReceiver::of(theirs_in);
    let child = async move {
        for _ in 0..2 {
            questions.recv().await?.context("no question")?;
        }
        theirs_out.write_all(b"hello\n\n1 perhaps\n\xff\xfe\n77 ok never asked\n").await?;
        theirs_out.write_all(&[b'z'; 3 * MAX_LINE]).await?;
        theirs_out.write_all(b"\n1 ok fine\n1 ok twice\n2 ok hal").await?;
        theirs_out.shutdown().await?;
        anyhow::Ok(())
    };
    let asking = async { tokio::join!(asker.ask("one", LONG), asker.ask("two", LONG)) };
    let ((first, second), (), child) = tokio::join!(asking, talk.run(), child);
    child?;
    ensure!(first == Ok("fine".to_owned()), "{first:?}");
    ensure!(matches!(second, Err(Failure::Gone(_))), "half an answer was taken for one: {second:?}");
    ensure!(asker.garbage() == 6, "{} of 6 lines of garbage were counted", asker.garbage());
    let dropped = asker.dropped();
    ensure!((dropped.late, dropped.unknown) == (1, 1), "{dropped:?}");
    let after = asker.ask("three", LONG).await;
    ensure!(matches!(after, Err(Failure::Refused(_))), "a talk that is over takes questions: {after:?}");
    Ok(())
}

/// A child that answers faster than it reads, over pipes that hold next to
/// nothing: neither side may wait for the other for ever.
async fn full() -> Result<()> {
    let (ours, theirs) = tokio::io::duplex(64);
    let (reading, writing) = tokio::io::split(ours);
    let (asker, talk) = child::over(LineSender::into(writing), LineReceiver::of(reading));
    let (theirs_in, theirs_out) = tokio::io::split(theirs);
    let served = child::serve(
        LineSender::into(theirs_out),
        LineReceiver::of(theirs_in),
        |question: String| async move { Ok(question.repeat(20)) },
    );
    let asking = async {
        let all =
            futures_util::future::join_all((0..2_000).map(|_| asker.ask("a question of some length", LONG)));
        all.await.into_iter().collect::<Result<Vec<_>, _>>()
    };
    let answers = tokio::select! {
        answers = asking => answers?,
        () = talk.run() => anyhow::bail!("the talk has ended"),
        served = served => anyhow::bail!("the child has ended: {served:?}"),
    };
    ensure!(answers.len() == 2_000 && asker.open() == 0, "{} are open", asker.open());
    Ok(())
}
