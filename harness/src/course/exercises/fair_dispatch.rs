//! Fair dispatch: a slow worker holds up nobody but itself.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use crate::course::exercise::Exercise;
use crate::course::history::{History, number, text};
use crate::course::plan::Transport;
use crate::course::redis::object;
use crate::course::session::Session;

pub(super) static EXERCISE: Exercise = Exercise {
    name: "fair-dispatch",
    title: "Fair dispatch",
    minutes: 30,
    transport: Transport::Redis,
    checks: &[
        ("one-at-a-time", "no worker is given a task while it has one that is not done"),
        ("no-idle", "no task waits while a worker is idle"),
        ("complete", "each task is given once, and its op is answered when it is done"),
    ],
    anomaly: "one-at-a-time",
    messages: 24,
    faults: &["slow-worker"],
    page: "failures/unfair-dispatch.md",
    play: |session| play(session).boxed_local(),
};

const WORKERS: usize = 3;
/// How long a task takes, and how long with the slow worker: long beside what a busy machine adds.
const WORK: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(1_500);
/// How long a worker may be idle while a task waits.
const IDLE: Duration = Duration::from_millis(300);

async fn play(session: &mut Session) -> anyhow::Result<()> {
    let mut redis = session.redis().await?;
    session.begin("barrier");
    let program = session.join("dispatcher", 0, &[("workers", json!(WORKERS))]).await?;

    session.begin("load");
    let mut tasks = Vec::new();
    for _ in 0..session.plan.messages {
        let body = session.body();
        let op = session.op(program, "task", &[("body", json!(body))]).await;
        tasks.push((op, body));
    }

    session.begin("drain");
    // The workers: each takes what it was given, one after the other.
    let prefix = session.key("worker:");
    let done = session.key("done");
    let mut busy: BTreeMap<usize, (String, Duration)> = BTreeMap::new();
    let whole = session.patience(Duration::from_secs(8));
    let mut next = session.patience(Duration::from_secs(3));
    let mut finished = 0;
    let mut done_at: BTreeMap<String, Duration> = BTreeMap::new();
    while finished < tasks.len() && !session.over(whole) && !session.over(next) {
        for worker in 0..WORKERS {
            if busy.contains_key(&worker) {
                continue;
            }
            let list = format!("{prefix}{worker}");
            if let Some(body) = redis.call(&["LPOP", &list]).await?.text() {
                let slow = worker == 0 && session.fault("slow-worker");
                busy.insert(worker, (body, session.now() + if slow { SLOW } else { WORK }));
            }
        }
        let now = session.now();
        let ready: Vec<usize> =
            busy.iter().filter(|(_, (_, until))| *until <= now).map(|(worker, _)| *worker).collect();
        for worker in ready {
            if let Some((body, _)) = busy.remove(&worker) {
                let said = json!({ "worker": worker, "body": body }).to_string();
                // Before it is said: the spy may see it after the program's answer.
                done_at.insert(body, session.now());
                redis.call(&["RPUSH", &done, &said]).await?;
                finished += 1;
                next = session.patience(Duration::from_secs(3));
            }
        }
        session.listen(Duration::from_millis(2)).await?;
    }
    let ops: Vec<u64> = tasks.iter().map(|(op, _)| *op).collect();
    session
        .until(Duration::from_secs(2), |history| ops.iter().all(|op| history.answer(*op).is_some()))
        .await?;
    session.stop(program).await?;
    session.caught_up(&mut redis).await?;

    session.begin("check");
    let given = given(&session.history, &prefix, &done);
    let two = given.iter().find(|event| event.had > 0 && event.gives);
    session.check(
        "one-at-a-time",
        two.is_none(),
        "a worker gets the next task when its last one is done",
        two.map_or_else(String::new, |event| {
            format!(
                "the task {} was given to worker {}, which had {} not done",
                event.body, event.worker, event.had
            )
        }),
    );
    let idle = idle(&given, tasks.len())
        .into_iter()
        .find(|(_, from, to)| session.late(*from, *to, IDLE))
        .map(|(worker, from, to)| (worker, to - from));
    session.check(
        "no-idle",
        idle.is_none(),
        format!("an idle worker gets a waiting task within {} ms", IDLE.as_millis()),
        idle.map_or_else(String::new, |(worker, time)| {
            format!("worker {worker} was idle for {} ms while tasks waited", time.as_millis())
        }),
    );
    let mut wrong = None;
    for (op, body) in &tasks {
        let times = given.iter().filter(|event| event.gives && event.body == *body).count();
        let finished = done_at.get(body).copied();
        let answer = session.history.answer(*op).map(|(at, kind, _)| (at, kind.to_owned()));
        wrong = wrong.or_else(|| match (times, answer, finished) {
            (1, Some((at, kind)), Some(finished)) if kind == "ok" && at >= finished => None,
            (1, Some((_, kind)), Some(_)) if kind == "ok" => {
                Some(format!("`ok` for {body} came before it was done"))
            }
            (1, Some(_), _) => Some(format!("the op of {body} failed, or it was not done")),
            (1, None, _) => Some(format!("no answer to the op of {body}")),
            (times, ..) => Some(format!("the task {body} was given {times} times")),
        });
    }
    session.check(
        "complete",
        wrong.is_none(),
        "each task given once, each op answered `ok` after it",
        wrong.unwrap_or_default(),
    );
    Ok(())
}

/// A task is given to a worker, or is done.
struct Given {
    at: Duration,
    worker: usize,
    body: String,
    gives: bool,
    /// Tasks that the worker had before.
    had: usize,
}

/// What was given and done, in Redis's own order.
fn given(history: &History, prefix: &str, done: &str) -> Vec<Given> {
    let mut all: Vec<(usize, Given)> = Vec::new();
    for (position, at, words) in history.program_commands() {
        let [name, list, bodies @ ..] = words else { continue };
        let worker = list.strip_prefix(prefix).and_then(|worker| worker.parse().ok());
        if let (true, Some(worker)) = (["RPUSH", "LPUSH"].contains(&name.as_str()), worker) {
            all.extend(
                bodies
                    .iter()
                    .map(|body| (position, Given { at, worker, body: body.clone(), gives: true, had: 0 })),
            );
        }
    }
    for (position, at, words) in history.own_commands() {
        let [name, list, said] = words else { continue };
        if name == "RPUSH" && list == done {
            let said = object(said);
            let worker = number(&said, "worker").unwrap_or(0) as usize;
            all.push((
                position,
                Given { at, worker, body: text(&said, "body").to_owned(), gives: false, had: 0 },
            ));
        }
    }
    all.sort_by_key(|(position, _)| *position);
    let mut has: BTreeMap<usize, usize> = BTreeMap::new();
    let mut given: Vec<Given> = all.into_iter().map(|(_, given)| given).collect();
    for event in &mut given {
        let has = has.entry(event.worker).or_default();
        event.had = *has;
        *has = if event.gives { *has + 1 } else { has.saturating_sub(1) };
    }
    given
}

/// Workers that were idle too long while tasks waited: `(worker, from, to)`.
fn idle(given: &[Given], tasks: usize) -> Vec<(usize, Duration, Duration)> {
    let Some(start) = given.first().map(|event| event.at) else { return Vec::new() };
    let mut idle = Vec::new();
    for worker in 0..WORKERS {
        let mut since = Some(start);
        let mut handed = 0;
        for event in given {
            // Nothing waits any more once all were given.
            if let Some(began) = since.filter(|_| handed < tasks)
                && event.at.saturating_sub(began) > IDLE
            {
                idle.push((worker, began, event.at));
            }
            handed += usize::from(event.gives);
            if event.worker == worker {
                since = (!event.gives).then_some(event.at);
            }
        }
    }
    idle
}
