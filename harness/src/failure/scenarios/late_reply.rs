//! A reply comes after its requester has given up, or is dead.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Kind, RoleCommand, What, Work};

const SLOW: &str = "slow question";
const SLOW_MS: u64 = 600;
const TIMEOUT_MS: u64 = 150;
const NEXT: [&str; 3] = ["second question", "third question", "fourth question"];

pub(super) const SCENARIO: Scenario = Scenario {
    name: "late-reply",
    title: "A late reply must not answer the next request",
    pattern: Pattern::RequestReply,
    usual: "nats",
    question: "A request is given up after 150 ms, and its reply comes after 600 ms, when the next question has \
               been asked. Who gets the late reply?",
    lesson: [
        "A time-out ends the waiting and not the request: the reply is still on its way.",
        "A correlation identifier, or a reply address of its own, tells which request a reply belongs to, so \
         that a late one is dropped and does not answer the next question.",
        "The responder has done the work although nobody waits for it: ask again only what may be done twice.",
    ],
    why_not: |_| None,
    play: |experiment| play(experiment).boxed_local(),
};

/// Open files of processes: their connections among them.
fn open_files(pids: &[u32]) -> usize {
    let files = |pid: &u32| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    pids.iter().map(files).sum()
}

async fn play(experiment: &mut Experiment) -> Result<()> {
    let threads = experiment.handle.entry.in_process();
    let mut run = experiment.part("the first question is answered too late", &[]).await?;
    let responder = run.join(Kind::Responder, 0).await?;
    run.work(responder, Work { slow: Some(("slow".into(), SLOW_MS)), ..Work::default() });
    let requester = run.join(Kind::Requester, 0).await?;
    let ask = |text: &str, timeout_ms| RoleCommand::Ask { text: text.into(), timeout_ms };
    run.tell(requester, ask(SLOW, TIMEOUT_MS));
    run.until(PATIENCE, |log| log.count("requester-0", What::Failed) > 0).await;
    for question in NEXT {
        run.tell(requester, ask(question, 10_000));
    }
    let replied = |log: &Log, who: &str| log.count(who, What::Replied);
    run.until(PATIENCE, |log| replied(log, "requester-0") == NEXT.len()).await;

    // The requester dies with a request open.
    let watched = run.holders(responder);
    let second = run.join(Kind::Requester, 1).await?;
    run.tell(second, ask("hello", 10_000));
    run.until(PATIENCE, |log| replied(log, "requester-1") == 1).await;
    let before = open_files(&watched);
    run.tell(second, ask(SLOW, 10_000));
    let asked = |log: &Log| log.count_of("responder-0", What::Requested, SLOW) == 2;
    run.until(PATIENCE, asked).await;
    if threads {
        run.leave(second).await?;
    } else {
        run.kill(second).await?;
    }
    run.until(PATIENCE, |log| replied(log, "responder-0") >= NEXT.len() + 3).await;
    let third = run.join(Kind::Requester, 2).await?;
    run.tell(third, ask("are you there?", 10_000));
    run.until(PATIENCE, |log| replied(log, "requester-2") == 1).await;
    let mut open = open_files(&watched);
    for _ in 0..50 {
        // The one that asks now has connections, too.
        if open <= before {
            break;
        }
        run.listen(Duration::from_millis(100)).await;
        open = open_files(&watched);
    }
    let log = run.end().await?;

    let late = log.times("requester-0", What::Failed).into_values().min();
    let replied_late =
        log.of("responder-0", What::Replied).find(|happened| happened.about == SLOW).map(|h| h.at);
    let hit = matches!((late, replied_late), (Some(late), Some(replied)) if replied > late);
    let wrong: Vec<String> = log
        .of("requester", What::Replied)
        .filter(|reply| !reply.text.ends_with(&reply.about))
        .map(|reply| format!("`{}` for `{}`", reply.text, reply.about))
        .collect();
    let right =
        log.of("requester-0", What::Replied).filter(|reply| reply.text.ends_with(&reply.about)).count();
    experiment.holds_if(
        hit,
        "no request gets the reply to another",
        match wrong.as_slice() {
            [] => "none".to_owned(),
            some => some.join(", "),
        },
        wrong.is_empty(),
    );
    experiment.holds_if(
        hit,
        "the questions after it get their own replies",
        format!("{right} of {}", NEXT.len()),
        right == NEXT.len(),
    );
    experiment.holds(
        "a responder outlives a requester that died with a request open",
        format!("a third requester got {} reply", log.count("requester-2", What::Replied)),
        log.count("requester-2", What::Replied) == 1,
    );
    if !threads {
        experiment.holds(
            "the dead requester leaves no connection behind",
            format!("open files of the responder or the broker: {before} before, {open} afterwards"),
            open <= before,
        );
    }
    Ok(())
}
