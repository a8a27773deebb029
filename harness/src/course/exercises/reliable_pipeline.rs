//! The reliable pipeline: workers die, links are cut, and every task has its result.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::stream::Tasks;
use crate::command::nonce;
use crate::course::exercise::Exercise;
use crate::course::history::{Fields, History, text};
use crate::course::plan::Transport;
use crate::course::redis::object;
use crate::course::session::Session;
use crate::course::sink::{Answer, Asked};

pub(super) static EXERCISE: Exercise = Exercise {
    name: "reliable-pipeline",
    title: "The reliable pipeline",
    minutes: 60,
    transport: Transport::Redis,
    checks: &[
        ("result-before-ack", "no task is acknowledged before its result is in the results"),
        ("every-task", "each task has a result, also one whose worker was killed"),
        ("right-value", "a result has the value that the sink gave for this task"),
        ("all-acked", "at the end every task is acknowledged"),
        ("not-claimed-early", "nobody takes a task over before it was idle for `claim_ms`"),
    ],
    anomaly: "result-before-ack",
    messages: 36,
    faults: &["kill", "cut", "pause"],
    page: "patterns/pipeline.md",
    play: |session| play(session).boxed_local(),
};

const WORKERS: usize = 3;
/// From then on an idle task is taken over.
const CLAIM: Duration = Duration::from_millis(500);
/// How long the worker is paused.
const PAUSE: Duration = Duration::from_millis(1_200);

/// The values that were given out, by the body of the task: each effect has a value of its own.
type Values = Rc<RefCell<BTreeMap<String, Vec<String>>>>;

async fn play(session: &mut Session) -> anyhow::Result<()> {
    session.begin("barrier");
    let mut redis = session.redis().await?;
    let mut tasks = Tasks::create(session, &mut redis).await?;
    for index in 0..WORKERS {
        session.start("worker", index, &[("claim_ms", json!(CLAIM.as_millis() as u64))]).await?;
    }
    for index in 0..WORKERS {
        session.ready(index).await?;
    }
    let values = Values::default();
    let given = values.clone();
    // The first effect of worker 0 is not answered while it is to be killed; that of worker 1 while
    // it is paused.
    let held: Rc<RefCell<BTreeMap<usize, bool>>> = Rc::default();
    let holds = held.clone();
    let (kills, pauses) = (session.fault("kill"), session.fault("pause"));
    session.on_effect(Rc::new(move |asked: &Asked<'_>| {
        let first = !holds.borrow().contains_key(&asked.program);
        holds.borrow_mut().insert(asked.program, true);
        if kills && first && asked.program == 0 {
            return Answer::Never;
        }
        let value = nonce();
        given.borrow_mut().entry(asked.body.to_owned()).or_default().push(value.clone());
        let answer = Fields::from_iter([("value".to_owned(), json!(value))]);
        // Long enough that the worker is paused meanwhile.
        let time = if pauses && first && asked.program == 1 { 60 } else { 2 };
        Answer::Late(Duration::from_millis(time), answer)
    }));

    session.begin("load");
    for _ in 0..session.plan.messages {
        let body = session.body();
        tasks.add(&mut redis, &body, &["body", &body]).await?;
    }
    session.begin("faults");
    let has =
        |worker: usize| move |history: &History| history.effects().any(|effect| effect.program == worker);
    if pauses && session.until(Duration::from_millis(500), has(1)).await? {
        session.pause(1, true);
    }
    if kills {
        let hit = session.until(Duration::from_secs(1), has(0)).await?;
        session.kill(0).await?;
        if !hit && session.plan.messages > 2 * WORKERS {
            session.cannot_tell("the worker that was to be killed in the middle of a task got none");
        }
    }
    if session.fault("cut") {
        session.link().cut();
        session.did("cuts the link");
        let body = session.body();
        tasks.add(&mut redis, &body, &["body", &body]).await?;
    }
    session.begin("heal");
    if pauses {
        let since = session.now();
        let rest = PAUSE.saturating_sub(session.now().saturating_sub(since));
        session.listen(rest).await?;
        session.pause(1, false);
    }

    session.begin("drain");
    let results = session.key("results");
    let mut got: Vec<(String, String)> = Vec::new();
    let settled = async || {
        got = redis
            .call(&["LRANGE", &results, "0", "-1"])
            .await?
            .texts()
            .iter()
            .map(|result| object(result))
            .map(|fields| (text(&fields, "task").to_owned(), text(&fields, "value").to_owned()))
            .collect();
        let all = tasks.sent.iter().all(|(id, _)| got.iter().any(|(task, _)| task == id));
        Ok(all && tasks.pending(&mut redis).await? == 0)
    };
    session.ask_until(Duration::from_secs(5), settled).await?;
    session.stop_all().await?;
    session.caught_up(&mut redis).await?;

    session.begin("check");
    let mut pushed: Vec<(usize, String)> = Vec::new();
    let mut early = None;
    for (position, _, words) in session.history.program_commands() {
        match words[0].as_str() {
            "RPUSH" | "LPUSH" if words.get(1) == Some(&results) => {
                pushed.extend(
                    words[2..].iter().map(|result| (position, text(&object(result), "task").to_owned())),
                );
            }
            "XACK" => {
                let first = words.iter().skip(3).find(|id| !pushed.iter().any(|(_, task)| task == *id));
                early = early.or_else(|| first.cloned());
            }
            _ => {}
        }
    }
    session.check(
        "result-before-ack",
        early.is_none(),
        "first the result, then XACK",
        early.map_or_else(String::new, |id| format!("XACK of {id} without a result")),
    );
    let missing = tasks.sent.iter().find(|(id, _)| !got.iter().any(|(task, _)| task == id));
    session.check(
        "every-task",
        missing.is_none(),
        format!("results for all {} tasks", tasks.sent.len()),
        missing.map_or_else(String::new, |(id, body)| format!("none for the task {body} (entry {id})")),
    );
    let body_of = |id: &str| tasks.sent.iter().find(|(other, _)| other == id).map(|(_, body)| body.clone());
    // A copy: nothing is borrowed while this waits.
    let values = values.borrow().clone();
    let wrong = got.iter().find(|(task, value)| {
        body_of(task).and_then(|body| values.get(&body)).is_none_or(|given| !given.contains(value))
    });
    session.check(
        "right-value",
        wrong.is_none(),
        "the value of the sink's answer for this task",
        wrong.map_or_else(String::new, |(task, value)| format!("the value `{value}` for the task {task}")),
    );
    tasks.check_all_acked(session, &mut redis).await?;
    let claimed = claimed_early(session);
    session.check(
        "not-claimed-early",
        claimed.is_none(),
        format!("a task belongs to its worker for {} ms", CLAIM.as_millis()),
        claimed.unwrap_or_default(),
    );
    Ok(())
}

/// A task whose second effect, of another worker, began too early. An effect begins a moment after the
/// task was taken: the time between two of them may be shorter by that moment of the first.
fn claimed_early(session: &mut Session) -> Option<String> {
    let slack = CLAIM / 5;
    let mut first: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    let mut early = Vec::new();
    for effect in session.history.effects() {
        match first.get(effect.key) {
            Some((program, at))
                if *program != effect.program && effect.at.saturating_sub(*at) + slack < CLAIM =>
            {
                let gap = effect.at.saturating_sub(*at);
                let told = format!(
                    "worker {} began the task {} {} ms after worker {program}",
                    effect.program,
                    effect.key,
                    gap.as_millis()
                );
                early.push((*at, gap, told));
            }
            _ => {
                first.insert(effect.key, (effect.program, effect.at));
            }
        }
    }
    // Redis itself waits for the time that a claim names.
    let claims = session.history.program_commands().filter_map(|(_, _, words)| match words {
        [name, _, _, _, idle, ..] if name == "XAUTOCLAIM" || name == "XCLAIM" => idle.parse().ok(),
        _ => None,
    });
    let shortest = claims.min().map(Duration::from_millis);
    // Without that, the moment may have been long on a busy machine.
    let too_long = |(at, gap, _): &(Duration, Duration, String)| match shortest {
        Some(shortest) if shortest >= CLAIM => false,
        Some(_) if *gap < CLAIM / 2 => true,
        _ => session.late(at.saturating_sub(CLAIM.saturating_sub(*gap)), *at, slack),
    };
    early.into_iter().find(too_long).map(|(.., told)| told)
}
