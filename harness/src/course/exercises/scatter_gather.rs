//! Scatter-gather: one question, many answers, and not all of them come.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use crate::course::exercise::Exercise;
use crate::course::history::{History, What, ms, number, text};
use crate::course::plan::Transport;
use crate::course::redis::{Redis, object};
use crate::course::session::{PATIENCE, Session};

pub(super) static EXERCISE: Exercise = Exercise {
    name: "scatter-gather",
    title: "Scatter-gather",
    minutes: 40,
    transport: Transport::Redis,
    checks: &[
        (
            "all-replies",
            "when all services reply, the answer has all replies and comes well before the time-out",
        ),
        ("partial", "when one is silent, the answer comes at the time-out, with the others' replies"),
        ("once", "a service that replies twice counts once"),
        ("own-replies", "a reply to an earlier question is not taken for one to this question"),
    ],
    anomaly: "partial",
    messages: 8,
    faults: &["silent", "twice", "late"],
    page: "applications/scatter-gather.md",
    play: |session| play(session).boxed_local(),
};

const SERVICES: usize = 4;
/// The time-out of a question that all services answer, and of one that stays incomplete.
const LONG: Duration = Duration::from_secs(6);
const SHORT: Duration = Duration::from_millis(400);
/// How much later than its time-out an answer may come.
const SLACK: Duration = Duration::from_secs(1);

async fn play(session: &mut Session) -> anyhow::Result<()> {
    let mut redis = session.redis().await?;
    session.begin("barrier");
    let program = session.join("aggregator", 0, &[("services", json!(SERVICES))]).await?;

    session.begin("load");
    let (mut full, mut partial, mut once, mut own) = (None, None, None, None);
    let mut judged = [false; 4];
    // Replies to a question whose time-out is over.
    let mut late: Vec<(Value, String, String)> = Vec::new();
    for round in 0..session.plan.messages {
        // In turn: one service is silent; its reply comes late; one replies twice; all is well.
        let silent = (session.fault("silent") || session.fault("late")) && round % 4 == 0;
        let missing = session.below(SERVICES);
        let timeout = if silent { SHORT } else { LONG };
        let body = session.body();
        let asked = session.now();
        let op = session
            .op(program, "ask", &[("body", json!(body)), ("timeout_ms", json!(timeout.as_millis() as u64))])
            .await;
        let Some(question) = question(session, &body).await? else {
            let got = format!(
                "no question with the body {body} on {} within {} s",
                session.key("questions"),
                PATIENCE.as_secs()
            );
            // A program that still waits for the answers to the last question asks nothing more.
            if partial.is_none() {
                session.check("all-replies", false, "a question for each `ask`", got);
            }
            break;
        };
        let (id, reply_to) =
            (question.get("id").cloned().unwrap_or(Value::Null), text(&question, "reply_to").to_owned());
        // Before this question's own replies: what an earlier one has missed.
        let had_late = !late.is_empty();
        for (id, to, reply) in late.drain(..) {
            let service = reply.split('-').next().unwrap_or_default().to_owned();
            respond(&mut redis, &to, &id, &service, &reply).await?;
        }
        let mut replies = BTreeMap::new();
        let twice = session.fault("twice") && round % 4 == 2;
        for service in 0..SERVICES {
            let name = format!("s{service}");
            let reply = format!("{name}-{}", session.body());
            if silent && service == missing {
                if session.fault("late") {
                    late.push((id.clone(), reply_to.clone(), reply));
                }
                continue;
            }
            respond(&mut redis, &reply_to, &id, &name, &reply).await?;
            // Not the last one: then the answer could be right by chance.
            if twice && service == missing % (SERVICES - 1) {
                respond(&mut redis, &reply_to, &id, &name, &reply).await?;
            }
            replies.insert(name, reply);
        }
        let answered = session.until(timeout + SLACK, |history| history.answer(op).is_some()).await?;
        let answer =
            session.history.answer(op).map(|(at, kind, fields)| (at, kind.to_owned(), fields.clone()));
        let expected =
            replies.iter().map(|(name, reply)| format!("{name}={reply}")).collect::<Vec<_>>().join(",");
        let absent = SERVICES - replies.len();
        let took = answer.as_ref().map_or(Duration::ZERO, |(at, ..)| at.saturating_sub(asked));
        let (got, said_missing) = match &answer {
            Some((_, kind, fields)) if kind == "ok" => {
                (text(fields, "replies").to_owned(), number(fields, "missing"))
            }
            _ => (String::new(), None),
        };
        let slow = !silent && session.late(asked, asked + took, LONG / 2);
        let problem = if !answered {
            Some(format!("no answer within {} of the time-out", ms(SLACK)))
        } else if got != expected || said_missing != Some(absent as i64) {
            Some(format!(
                "replies `{got}`, missing {}; not `{expected}`, missing {absent}",
                said_missing.map_or_else(|| "nothing".to_owned(), |count| count.to_string())
            ))
        } else if silent && took < SHORT {
            Some(format!("the answer came after {}, before the time-out of {}", ms(took), ms(SHORT)))
        } else if slow {
            Some(format!("all replies were there, and the answer took {}", ms(took)))
        } else {
            None
        };
        let (check, at) = match () {
            () if had_late => (&mut own, 3),
            () if twice => (&mut once, 2),
            () if silent => (&mut partial, 1),
            () => (&mut full, 0),
        };
        judged[at] = true;
        if slow {
            // A program that always waits would wait for each question.
            judged[0] = true;
            full = problem;
            break;
        }
        if check.is_none() {
            *check = problem;
        }
    }
    session.stop(program).await?;

    session.begin("check");
    if judged[0] {
        session.check(
            "all-replies",
            full.is_none(),
            "all four replies, long before the time-out",
            full.unwrap_or_default(),
        );
    }
    if judged[1] {
        session.check(
            "partial",
            partial.is_none(),
            "the replies that came, at the time-out, and how many are missing",
            partial.unwrap_or_default(),
        );
    }
    if judged[2] {
        session.check("once", once.is_none(), "one reply for each service", once.unwrap_or_default());
    }
    if judged[3] {
        session.check("own-replies", own.is_none(), "only replies to this question", own.unwrap_or_default());
    }
    Ok(())
}

/// The question with this body, as it was published.
async fn question(
    session: &mut Session,
    body: &str,
) -> anyhow::Result<Option<crate::course::history::Fields>> {
    let channel = session.key("questions");
    let find = |history: &History| {
        history.0.iter().rev().find_map(|event| match &event.what {
            What::Command { words, own: false }
                if words.len() == 3 && words[0] == "PUBLISH" && words[1] == channel =>
            {
                Some(object(&words[2])).filter(|fields| text(fields, "body") == body)
            }
            _ => None,
        })
    };
    session.until(PATIENCE, |history| find(history).is_some()).await?;
    Ok(find(&session.history))
}

async fn respond(redis: &mut Redis, to: &str, id: &Value, service: &str, body: &str) -> anyhow::Result<()> {
    let reply = json!({ "id": id, "service": service, "body": body }).to_string();
    redis.call(&["RPUSH", to, &reply]).await.map(drop)
}
