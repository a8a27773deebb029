//! Rooms with wildcards: a subscriber hears its rooms and no other.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use crate::course::exercise::Exercise;
use crate::course::history::text;
use crate::course::plan::Transport;
use crate::course::redis::Redis;
use crate::course::session::{PATIENCE, Session};
use crate::course::trouble::Trouble;

pub(super) static EXERCISE: Exercise = Exercise {
    name: "rooms",
    title: "Rooms with wildcards",
    minutes: 35,
    transport: Transport::Redis,
    checks: &[
        ("hears-its-rooms", "each message whose topic a joined filter matches is reported"),
        ("hears-no-other", "no message is reported whose topic no joined filter matches"),
        ("once", "a message that several filters match is reported once"),
        ("leaves", "after a filter was left, its messages are not reported any more"),
    ],
    anomaly: "hears-no-other",
    messages: 60,
    faults: &["overlap", "odd-names", "leave"],
    page: "patterns/pubsub.md",
    play: |session| play(session).boxed_local(),
};

/// Filters, and with each topics that it matches, and topics that look like it and that it does not.
const CASES: [(&str, &[&str], &[&str]); 4] = [
    (
        "news.*.sport",
        &["news.berlin.sport", "news.rome.sport"],
        &["news.berlin.east.sport", "news.sport", "newsXberlinXsport"],
    ),
    ("chat.#", &["chat", "chat.go", "chat.go.beginners"], &["chats", "chatter.go"]),
    ("weather.oslo", &["weather.oslo"], &["weather.oslo.north", "weather.osl", "weather.oslox"]),
    ("a.*.c.#", &["a.b.c", "a.b.c.d.e"], &["a.b.x.c", "a.c"]),
];
/// Topics whose names Redis's own patterns read as something else.
const ODD: [(&str, &[&str], &[&str]); 2] = [
    ("team.[ab].*", &["team.[ab].one"], &["team.a.one", "team.b.one"]),
    ("what?.\\x", &["what?.\\x"], &["whats.\\x", "what?.x"]),
];

async fn play(session: &mut Session) -> anyhow::Result<()> {
    let mut redis = session.redis().await?;
    session.begin("barrier");
    let program = session.join("subscriber", 0, &[]).await?;

    let mut joined = Vec::new();
    let (mut matching, mut others) = (Vec::new(), Vec::new());
    let odd = if session.fault("odd-names") { &ODD[..] } else { &[] };
    let few = session.plan.messages < CASES.len();
    let first = if few { 0 } else { CASES.len() };
    for (filter, yes, no) in CASES.iter().take(first.max(1)).chain(odd) {
        joined.push(*filter);
        matching.extend_from_slice(yes);
        others.extend_from_slice(no);
    }
    if session.fault("overlap") {
        joined.extend(["news.#", "*.oslo"]);
        // They match more.
        matching.extend(["news.berlin.east.sport", "news.sport"]);
        others.retain(|topic| !["news.berlin.east.sport", "news.sport"].contains(topic));
    }
    for filter in &joined {
        told(session, program, "join", filter).await?;
    }

    session.begin("load");
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    for number in 0..session.plan.messages {
        // One of the others first: it shows the anomaly in the fewest messages.
        let (topics, bodies) =
            if number % 2 == 0 { (&others, &mut unwanted) } else { (&matching, &mut wanted) };
        let topic =
            if number < 2 * topics.len() { topics[number / 2] } else { topics[session.below(topics.len())] };
        let body = session.body();
        publish(session, &mut redis, topic, &body).await?;
        bodies.push((topic, body));
    }
    heard(session, &wanted).await?;

    let mut after = Vec::new();
    if session.fault("leave") {
        session.begin("faults");
        told(session, program, "leave", "weather.oslo").await?;
        if session.fault("overlap") {
            told(session, program, "leave", "*.oslo").await?;
        }
        for _ in 0..3 {
            let body = session.body();
            publish(session, &mut redis, "weather.oslo", &body).await?;
            after.push(body);
        }
    }

    session.begin("drain");
    // What comes last shows that everything before it has come: Redis keeps the order.
    let last = ("news.rome.sport", session.body());
    publish(session, &mut redis, last.0, &last.1).await?;
    wanted.push(last);
    heard(session, &wanted).await?;
    session.stop(program).await?;

    session.begin("check");
    let got: Vec<(String, String)> = session
        .history
        .said("recv")
        .map(|(_, _, fields)| (text(fields, "topic").to_owned(), text(fields, "body").to_owned()))
        .collect();
    let count = |topic: &str, body: &str| got.iter().filter(|(t, b)| t == topic && b == body).count();
    let missed = wanted.iter().find(|(topic, body)| count(topic, body) == 0);
    session.check(
        "hears-its-rooms",
        missed.is_none(),
        "every message that a joined filter matches, with its topic",
        missed.map_or_else(String::new, |(topic, body)| {
            format!("the message {body} to `{topic}` was not reported; the filters are {}", joined.join(", "))
        }),
    );
    let known =
        |body: &str| wanted.iter().any(|(_, other)| other == body) || after.iter().any(|other| other == body);
    let strange = got.iter().find(|(_, body)| !known(body));
    session.check(
        "hears-no-other",
        strange.is_none(),
        "no message that no joined filter matches",
        strange.map_or_else(String::new, |(topic, body)| {
            format!("the message {body} to `{topic}`; the filters are {}", joined.join(", "))
        }),
    );
    let twice = wanted.iter().find(|(topic, body)| count(topic, body) > 1);
    let got_twice = twice.map_or_else(String::new, |(topic, body)| {
        format!("the message {body} to `{topic}` was reported {} times", count(topic, body))
    });
    session.check("once", twice.is_none(), "each message once", got_twice);
    if session.fault("leave") {
        let late = after.iter().find(|body| got.iter().any(|(_, other)| other == *body));
        session.check(
            "leaves",
            late.is_none(),
            "nothing for `weather.oslo` after it was left",
            late.map_or_else(String::new, |body| format!("the message {body}")),
        );
    }
    Ok(())
}

async fn told(session: &mut Session, program: usize, what: &str, filter: &str) -> anyhow::Result<()> {
    let op = session.op(program, what, &[("filter", json!(filter))]).await;
    if session.until(PATIENCE, |history| history.answer(op).is_some()).await? {
        return Ok(());
    }
    let cause = format!(
        "the program did not answer `{what}` of the filter `{filter}` within {} s",
        PATIENCE.as_secs()
    );
    Err(Trouble::new(cause, "answer `ok` with the op's id when the subscription is in effect").into())
}

async fn publish(session: &Session, redis: &mut Redis, topic: &str, body: &str) -> anyhow::Result<()> {
    redis.call(&["PUBLISH", &session.key(topic), body]).await.map(drop)
}

/// Waits until these were reported.
async fn heard(session: &mut Session, wanted: &[(&str, String)]) -> anyhow::Result<()> {
    let all = |history: &crate::course::history::History| {
        let got: std::collections::BTreeSet<&str> = history.texts("recv", "body").collect();
        wanted.iter().all(|(_, body)| got.contains(body.as_str()))
    };
    session.until(Duration::from_secs(2), all).await.map(drop)
}
