//! Correlation identifier: each reply finds its own request, also when replies are late.

use std::time::Duration;

use futures_util::FutureExt as _;
use rand::seq::SliceRandom as _;
use serde_json::json;

use crate::course::exercise::Exercise;
use crate::course::history::{Fields, History, ms, text};
use crate::course::plan::Transport;
use crate::course::redis::{Redis, object};
use crate::course::session::{PATIENCE, Session};

pub(super) static EXERCISE: Exercise = Exercise {
    name: "correlation",
    title: "Correlation identifier with time-outs",
    minutes: 30,
    transport: Transport::Redis,
    checks: &[
        ("own-reply", "each `ok` has the reply to its own request"),
        (
            "time-out",
            "a request without a reply in time fails with `timeout`: not before, and at most 1 s after",
        ),
        ("together", "requests are under way at the same time"),
        ("answered", "each reply that came in time is given to its request"),
    ],
    anomaly: "own-reply",
    messages: 24,
    faults: &["out-of-order", "late", "twice", "never"],
    page: "applications/correlation.md",
    play: |session| play(session).boxed_local(),
};

/// The time-out of requests that are answered: long enough for a busy machine.
const LONG: Duration = Duration::from_secs(8);
/// The time-out of requests whose reply is late, or does not come.
const SHORT: Duration = Duration::from_millis(400);
/// How much later than its time-out a failure may come.
const SLACK: Duration = Duration::from_secs(1);

/// A request as the program sent it.
struct Request {
    id: serde_json::Value,
    reply_to: String,
    body: String,
}

/// What the checker asked for.
struct Asked {
    op: u64,
    at: Duration,
    body: String,
    reply: String,
    /// Whether the reply comes in time.
    in_time: bool,
}

async fn play(session: &mut Session) -> anyhow::Result<()> {
    let mut redis = session.redis().await?;
    session.begin("barrier");
    let program = session.join("requester", 0, &[]).await?;

    session.begin("load");
    let mut asked = Vec::new();
    let slow = [session.fault("late"), session.fault("never")];
    for number in 0..session.plan.messages {
        let short = number % 4 == 3 && slow.contains(&true);
        let timeout = if short { SHORT } else { LONG };
        let body = session.body();
        let at = session.now();
        let fields = [("body", json!(body)), ("timeout_ms", json!(timeout.as_millis() as u64))];
        let op = session.op(program, "ask", &fields).await;
        let reply = session.body();
        asked.push(Asked { op, at, body, reply, in_time: !short });
    }
    // All of them are on the list before the first is answered.
    let list = session.key("requests");
    let mut requests: Vec<Request> = Vec::new();
    let taken = async || {
        while let Some(taken) = redis.call(&["LPOP", &list]).await?.text() {
            requests.extend(read(&taken));
        }
        Ok(requests.len() >= asked.len())
    };
    session.ask_until(PATIENCE, taken).await?;
    let seen = asked.iter().filter(|ask| requests.iter().any(|request| request.body == ask.body)).count();
    session.check(
        "together",
        seen == asked.len(),
        format!("all {} requests in {list} before the first is answered", asked.len()),
        format!("{seen} within {} s", PATIENCE.as_secs()),
    );

    session.begin("faults");
    // Late and missing replies: their time-outs are awaited, the replies then come before all others.
    let short: Vec<u64> = asked.iter().filter(|ask| !ask.in_time).map(|ask| ask.op).collect();
    let failed = |history: &History| short.iter().all(|op| history.answer(*op).is_some());
    session.until(SHORT + SLACK + Duration::from_millis(500), failed).await?;
    let mut replies = Vec::new();
    for ask in &asked {
        if ask.in_time || session.fault("late") {
            replies.extend(
                requests.iter().find(|request| request.body == ask.body).map(|request| (request, ask)),
            );
        }
    }
    if session.fault("out-of-order") {
        replies.shuffle(&mut session.rng);
    }
    replies.sort_by_key(|(_, ask)| ask.in_time);
    for (request, ask) in replies {
        reply(&mut redis, request, &ask.reply).await?;
        if session.fault("twice") && session.below(3) == 0 {
            reply(&mut redis, request, &ask.reply).await?;
        }
    }

    session.begin("drain");
    let all: Vec<u64> = asked.iter().map(|ask| ask.op).collect();
    session
        .until(Duration::from_secs(3), |history| all.iter().all(|op| history.answer(*op).is_some()))
        .await?;
    session.stop(program).await?;

    session.begin("check");
    let mut wrong = None;
    let mut untimely = None;
    let mut unanswered = None;
    for ask in &asked {
        let answer =
            session.history.answer(ask.op).map(|(at, kind, fields)| (at, kind.to_owned(), fields.clone()));
        let took = answer.as_ref().map(|(at, ..)| at.saturating_sub(ask.at));
        match answer.as_ref().map(|(_, kind, fields)| (kind.as_str(), fields)) {
            Some(("ok", fields)) if text(fields, "body") != ask.reply => {
                wrong = wrong.or_else(|| {
                    Some(format!(
                        "the request {} got `{}`; its reply is {}",
                        ask.body,
                        text(fields, "body"),
                        ask.reply
                    ))
                });
            }
            Some(("ok", _)) if !ask.in_time => {
                untimely = untimely
                    .or_else(|| Some(format!("the request {} had no reply in time and got `ok`", ask.body)));
            }
            Some(("ok", _)) => {}
            Some((_, fields)) if !ask.in_time => {
                let took = took.unwrap_or_default();
                let late = session.late(ask.at, ask.at + took, SHORT + SLACK);
                let reason = text(fields, "reason");
                if took < SHORT || late || reason != "timeout" {
                    untimely = untimely.or_else(|| {
                        Some(format!(
                            "`fail` with the reason `{reason}` after {} (time-out {})",
                            ms(took),
                            ms(SHORT)
                        ))
                    });
                }
            }
            Some((_, fields)) => {
                let reason = text(fields, "reason");
                unanswered = unanswered.or_else(|| {
                    Some(format!("the request {} failed with `{reason}`, and its reply was there", ask.body))
                });
            }
            None if ask.in_time => {
                unanswered = unanswered.or_else(|| Some(format!("no answer to the request {}", ask.body)))
            }
            None => {
                untimely = untimely.or_else(|| {
                    Some(format!("no answer to the request {}, whose time-out is over", ask.body))
                })
            }
        }
    }
    session.check("own-reply", wrong.is_none(), "the reply to this request", wrong.unwrap_or_default());
    if slow.contains(&true) || untimely.is_some() {
        let expected =
            format!("`fail` with the reason `timeout` after {} to {}", ms(SHORT), ms(SHORT + SLACK));
        session.check("time-out", untimely.is_none(), expected, untimely.unwrap_or_default());
    }
    session.check(
        "answered",
        unanswered.is_none(),
        "`ok` for each reply that came in time",
        unanswered.unwrap_or_default(),
    );
    Ok(())
}

fn read(request: &str) -> Option<Request> {
    let fields: Fields = object(request);
    Some(Request {
        id: fields.get("id")?.clone(),
        reply_to: text(&fields, "reply_to").to_owned(),
        body: text(&fields, "body").to_owned(),
    })
}

async fn reply(redis: &mut Redis, request: &Request, body: &str) -> anyhow::Result<()> {
    let reply = json!({ "id": request.id, "body": body }).to_string();
    redis.call(&["RPUSH", &request.reply_to, &reply]).await.map(drop)
}
