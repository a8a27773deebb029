//! Outbox: what was confirmed is published, whatever happens to the program and to the broker.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use crate::course::exercise::Exercise;
use crate::course::history::History;
use crate::course::plan::Transport;
use crate::course::session::{PATIENCE, Session};
use crate::fault::proxy::Direction;

pub(super) static EXERCISE: Exercise = Exercise {
    name: "outbox",
    title: "Outbox",
    minutes: 45,
    transport: Transport::Redis,
    checks: &[
        ("nothing-lost", "each order that was confirmed is published"),
        ("ok-without-broker", "orders are confirmed within a second also while the broker is away"),
        ("in-order", "orders are published in the order in which they came"),
        ("few-repeats", "an order that is published again has the same id, and few are"),
        ("nothing-invented", "nothing is published that was not ordered"),
    ],
    anomaly: "nothing-lost",
    messages: 90,
    faults: &["away", "kill"],
    page: "patterns/queue.md",
    play: |session| play(session).boxed_local(),
};

/// How many orders may be published again for each time that the program or the link failed.
const REPEATS: usize = 10;

async fn play(session: &mut Session) -> anyhow::Result<()> {
    let mut redis = session.redis().await?;
    session.begin("barrier");
    let program = session.join("sender", 0, &[]).await?;

    session.begin("load");
    let messages = session.plan.messages;
    let third = (messages / 3).max(1);
    let kill_at = if session.fault("away") { messages.min(2 * third) } else { third };
    let mut orders: Vec<(u64, String)> = Vec::new();
    let mut slow = None;
    let (mut away, mut killed) = (false, false);
    for number in 0..messages {
        if session.fault("away") && (number == third || messages == 1) {
            session.begin("faults");
            // An order whose publication the broker has taken, and whose answer is lost.
            session.link().blackhole(Direction::Down);
            let body = session.body();
            let op = session.op(program, "order", &[("body", json!(body))]).await;
            orders.push((op, body.clone()));
            let taken =
                |history: &History| history.program_commands().any(|(_, _, words)| words.contains(&body));
            session.until(Duration::from_secs(1), taken).await?;
            session.link().heal();
            session.link().refuse(true);
            session.did("takes the broker away: connections are refused");
            away = true;
        }
        let body = session.body();
        let op = session.op(program, "order", &[("body", json!(body))]).await;
        let at = session.now();
        orders.push((op, body.clone()));
        let patience = if away { Duration::from_secs(1) } else { PATIENCE };
        let answered = session.until(patience, |history| history.answer(op).is_some()).await?;
        let answer = session.now();
        let took = answer.saturating_sub(at);
        let ok = session.history.answer(op).is_some_and(|(_, kind, _)| kind == "ok");
        if away && (!answered || !ok || session.late(at, answer, Duration::from_secs(1))) {
            slow = slow.or_else(|| {
                Some(format!(
                    "the order {body} was {}",
                    if ok {
                        format!("confirmed after {} ms", took.as_millis())
                    } else {
                        "not confirmed".to_owned()
                    }
                ))
            });
        }
        if session.fault("kill") && !killed && number + 1 == kill_at {
            killed = true;
            // At the moment of an `ok`.
            session.kill(program).await?;
            session.again(program).await?;
            session.ready(program).await?;
        }
        // A program that waits for the broker would wait for each order.
        if away && (slow.is_some() || number + 1 == messages.min(2 * third + 3)) {
            away = false;
            session.begin("heal");
            session.link().heal();
            session.did("gives the broker back");
        }
    }
    session.link().heal();

    session.begin("drain");
    let stream = session.key("orders");
    let confirmed: Vec<String> = orders
        .iter()
        .filter(|(op, _)| session.history.answer(*op).is_some_and(|(_, kind, _)| kind == "ok"))
        .map(|(_, body)| body.clone())
        .collect();
    let mut published = Vec::new();
    // A program may wait a while before it tries the broker again.
    let all = async || {
        published = redis.call(&["XRANGE", &stream, "-", "+"]).await?.entries();
        let there = |body: &String| {
            published
                .iter()
                .any(|(_, fields)| fields.iter().any(|(name, text)| name == "body" && text == body))
        };
        Ok(confirmed.iter().all(there))
    };
    session.ask_until(Duration::from_secs(3), all).await?;
    session.stop(program).await?;

    session.begin("check");
    let field = |fields: &[(String, String)], wanted: &str| {
        fields.iter().find(|(name, _)| name == wanted).map(|(_, text)| text.clone()).unwrap_or_default()
    };
    let published: Vec<(String, String)> =
        published.iter().map(|(_, fields)| (field(fields, "id"), field(fields, "body"))).collect();
    let lost = confirmed.iter().find(|body| !published.iter().any(|(_, other)| other == *body));
    session.check(
        "nothing-lost",
        lost.is_none() && !confirmed.is_empty(),
        format!("all {} confirmed orders in {stream}", confirmed.len()),
        lost.map_or_else(
            || "no order was confirmed".to_owned(),
            |body| format!("the order {body} was confirmed and is not there"),
        ),
    );
    if session.fault("away") {
        session.check(
            "ok-without-broker",
            slow.is_none(),
            "`ok` within 1 s while the broker is away",
            slow.unwrap_or_default(),
        );
    }
    let mut firsts: Vec<&str> = Vec::new();
    for (_, body) in &published {
        if !firsts.contains(&body.as_str()) {
            firsts.push(body);
        }
    }
    let place = |body: &str| orders.iter().position(|(_, other)| other == body);
    let order: Vec<usize> = firsts.iter().filter_map(|body| place(body)).collect();
    session.check("in-order", order.is_sorted(), "the order of the ops", format!("{order:?}"));
    let failures = usize::from(killed) + usize::from(session.fault("away"));
    let repeats = published.len() - firsts.len();
    let mut ids = std::collections::BTreeMap::new();
    let mixed =
        published.iter().find(|(id, body)| ids.entry(body.clone()).or_insert_with(|| id.clone()) != id);
    let empty = published.iter().find(|(id, _)| id.is_empty());
    let shared = {
        let unique: std::collections::BTreeSet<&String> = ids.values().collect();
        unique.len() < ids.len()
    };
    let got = match (mixed, empty) {
        (Some((_, body)), _) => format!("the order {body} was published with two ids"),
        (None, Some((_, body))) => format!("the order {body} has no id"),
        (None, None) if shared => "two orders have the same id".to_owned(),
        (None, None) => format!("{repeats} repeats"),
    };
    let few = repeats <= REPEATS * failures && mixed.is_none() && empty.is_none() && !shared;
    session.check(
        "few-repeats",
        few,
        format!("an id of its own for each order, and at most {} repeats", REPEATS * failures),
        got,
    );
    let strange = published.iter().find(|(_, body)| place(body).is_none());
    session.check(
        "nothing-invented",
        strange.is_none(),
        "orders that were given",
        strange.map_or_else(String::new, |(_, body)| format!("`{body}`")),
    );
    Ok(())
}
