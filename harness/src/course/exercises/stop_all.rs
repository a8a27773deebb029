//! Stop all workers on a match: one finds it, all of them stop.

use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use crate::course::exercise::Exercise;
use crate::course::history::{Fields, History};
use crate::course::plan::Transport;
use crate::course::redis::Redis;
use crate::course::session::{PATIENCE, Session};
use crate::course::sink::{Answer, Asked};

pub(super) static EXERCISE: Exercise = Exercise {
    name: "stop-all",
    title: "Stop all workers on a match",
    minutes: 35,
    transport: Transport::Redis,
    checks: &[
        ("found-once", "the match is in the results, once"),
        ("all-stop", "every worker says `bye` and ends within 3 s after the stop"),
        ("no-work-after", "after the stop a worker begins no task but the one that it had taken"),
    ],
    anomaly: "all-stop",
    messages: 40,
    faults: &["empty", "slow"],
    page: "applications/crack.md",
    play: |session| play(session).boxed_local(),
};

const WORKERS: usize = 3;
/// How long an effect takes, and a slow one.
const WORK: Duration = Duration::from_millis(20);
/// How long the stop may be on its way: what begins earlier was begun before it was heard.
const ON_ITS_WAY: Duration = Duration::from_millis(30);
const SLOW: Duration = Duration::from_secs(1);
/// How long the workers have to leave.
const LEAVE: Duration = Duration::from_secs(3);

async fn play(session: &mut Session) -> anyhow::Result<()> {
    let mut redis = session.redis().await?;
    session.begin("barrier");
    for index in 0..WORKERS {
        session.start("worker", index, &[]).await?;
    }
    round(session, &mut redis, false).await?;
    if session.fault("empty") {
        redis.call(&["DEL", &session.key("tasks"), &session.key("results")]).await?;
        for index in 0..WORKERS {
            session.kill(index).await?;
            session.again(index).await?;
        }
        round(session, &mut redis, true).await?;
    }
    Ok(())
}

/// One search. With `empty`, the match is the last task: the other workers wait at an empty list when
/// the stop comes. Otherwise there is work left, which nobody may do.
async fn round(session: &mut Session, redis: &mut Redis, empty: bool) -> anyhow::Result<()> {
    for index in 0..WORKERS {
        session.ready(index).await?;
        // From now on a worker may leave: when it hears `stop`.
        session.may_leave(index);
    }
    let begins = session.now();
    let tasks: Vec<String> = (0..session.plan.messages).map(|_| session.body()).collect();
    let last = tasks.len() - 1;
    let at = if empty { last } else { (tasks.len() / 2 + session.below(tasks.len() / 4 + 1)).min(last) };
    let found = tasks[at].clone();
    let slow = tasks[at.saturating_sub(1)].clone();
    let slows = session.fault("slow") && slow != found;
    let wanted = found.clone();
    session.on_effect(Rc::new(move |asked: &Asked<'_>| {
        let answer = Fields::from_iter([("match".to_owned(), json!(asked.body == wanted))]);
        // Long enough that the tasks behind the match are not all done before the stop is heard.
        Answer::Late(if slows && asked.body == slow { SLOW } else { WORK }, answer)
    }));

    session.begin("load");
    let list = session.key("tasks");
    let (first, rest) = tasks.split_at(if empty { last } else { tasks.len() });
    push(redis, &list, first).await?;
    if empty {
        let all = first.len();
        let done = |history: &History| history.accepted().filter(|effect| effect.at >= begins).count();
        session.until(PATIENCE, |history| done(history) >= all).await?;
        // Now all workers wait.
        session.listen(Duration::from_millis(250)).await?;
        push(redis, &list, rest).await?;
    }

    session.begin("drain");
    let control = session.key("control");
    let stopped = |history: &History| stop_at(history, &control, begins);
    session.until(PATIENCE, |history| stopped(history).is_some()).await?;
    let stop = stopped(&session.history);
    let patience = LEAVE + if slows { SLOW } else { Duration::ZERO };
    let left = |history: &History, worker: usize| history.left(worker).is_some_and(|at| at >= begins);
    session.until(patience, |history| (0..WORKERS).all(|worker| left(history, worker))).await?;

    session.begin("check");
    let results = redis.call(&["LRANGE", &session.key("results"), "0", "-1"]).await?.texts();
    session.check(
        "found-once",
        results == [found.clone()],
        format!("{found} in the results, once"),
        format!("the results are [{}]", results.join(", ")),
    );
    let bye = |worker: usize| session.history.said("bye").any(|(at, said, _)| said == worker && at >= begins);
    let stays = (0..WORKERS).find(|worker| !left(&session.history, *worker) || !bye(*worker));
    let got = match (stays, stop) {
        (_, None) => format!("nothing was published on {control}"),
        (Some(worker), _) if !left(&session.history, worker) => {
            format!("worker {worker} still runs {} s after the stop", patience.as_secs())
        }
        (Some(worker), _) => format!("worker {worker} ended without `bye`"),
        (None, _) => String::new(),
    };
    session.check("all-stop", stays.is_none() && stop.is_some(), "every worker ends by itself", got);
    let mut busy = None;
    if let Some(stop) = stop {
        for worker in 0..WORKERS {
            let later: Vec<Duration> = session
                .history
                .effects()
                .filter(|effect| effect.program == worker && effect.at > stop + ON_ITS_WAY)
                .map(|effect| effect.at)
                .collect();
            if let [_, .., last] = later[..]
                && session.late(stop, last, ON_ITS_WAY)
            {
                busy = busy
                    .or_else(|| Some(format!("worker {worker} began {} tasks after the stop", later.len())));
            }
        }
    }
    session.check(
        "no-work-after",
        busy.is_none(),
        "at most the one task that a worker had taken",
        busy.unwrap_or_default(),
    );
    Ok(())
}

async fn push(redis: &mut Redis, list: &str, tasks: &[String]) -> anyhow::Result<()> {
    for task in tasks {
        redis.call(&["RPUSH", list, task]).await?;
    }
    Ok(())
}

/// When a program published on the control channel.
fn stop_at(history: &History, control: &str, since: Duration) -> Option<Duration> {
    let publishes =
        |words: &[String]| words[0] == "PUBLISH" && words.get(1).is_some_and(|channel| channel == control);
    history.program_commands().find(|(_, at, words)| *at >= since && publishes(words)).map(|(_, at, _)| at)
}
