//! Credit-based flow control: the receiver decides how much may come.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use crate::course::exercise::Exercise;
use crate::course::history::{History, What, text};
use crate::course::plan::Transport;
use crate::course::session::{PATIENCE, Session};
use crate::course::tcp::frame;

pub(super) static EXERCISE: Exercise = Exercise {
    name: "credit",
    title: "Credit-based flow control",
    minutes: 35,
    transport: Transport::Tcp,
    checks: &[
        ("never-over-credit", "the program never sends more messages than it has credit for"),
        ("complete", "each message that was answered `ok` arrives once"),
        ("in-order", "messages arrive in the order of the ops"),
        (
            "bounded",
            "when `buffer` messages wait for credit, one more is answered `fail` with the reason `full`",
        ),
    ],
    anomaly: "never-over-credit",
    messages: 40,
    faults: &["slow-receiver", "burst"],
    page: "failures/back-pressure.md",
    play: |session| play(session).boxed_local(),
};

/// How many messages may wait for credit.
const BUFFER: usize = 10;

async fn play(session: &mut Session) -> anyhow::Result<()> {
    session.begin("barrier");
    let program = session.join("sender", 0, &[("buffer", json!(BUFFER))]).await?;
    let connected = |history: &History| history.0.iter().any(|event| matches!(event.what, What::Opened));
    if !session.until(PATIENCE, connected).await? {
        session.check("complete", false, "the program connects to the endpoint", "it never did");
        return Ok(());
    }

    session.begin("load");
    let mut granted = 0;
    let mut ops: Vec<(u64, String)> = Vec::new();
    let mut over = None;
    let mut unbounded = None;
    let mut waited_for = 0;
    while ops.len() < session.plan.messages {
        let left = session.plan.messages - ops.len();
        // Without credit, and more than may wait where the run has bursts.
        let burst = session.fault("burst");
        let many = if burst { BUFFER + 1 + session.below(6) } else { 1 + session.below(BUFFER) }.min(left);
        let from = ops.len();
        for _ in 0..many {
            let body = session.body();
            let op = session.op(program, "send", &[("body", json!(body))]).await;
            ops.push((op, body));
        }
        let too_many = many.saturating_sub(BUFFER);
        if too_many > 0 {
            let ids: Vec<u64> = ops[from..].iter().map(|(op, _)| *op).collect();
            let full = |history: &History| ids.iter().filter(|op| is_full(history, **op)).count();
            session.until(Duration::from_secs(1), |history| full(history) >= too_many).await?;
            let refused = full(&session.history);
            if refused != too_many {
                unbounded = unbounded.or_else(|| {
                    Some(format!("{refused} of {many} messages without credit failed as `full` within 1 s, not {too_many}"))
                });
            }
        } else {
            // What is sent without credit comes now.
            session.listen(Duration::from_millis(30)).await?;
        }
        check_credit(session, granted, &mut over);
        // Credit for all that wait, in one piece or in drops.
        let mut need = many - too_many;
        while need > 0 {
            let drop = if session.fault("slow-receiver") { (1 + session.below(3)).min(need) } else { need };
            granted += drop;
            need -= drop;
            let credit = format!("credit {drop}");
            session.note(What::Frame { connection: 0, own: true, body: credit.clone() });
            session.tcp.write(0, &frame(&credit)).await;
            let so_far = granted;
            session.until(Duration::from_secs(1), |history| history.frames(false).count() >= so_far).await?;
            check_credit(session, granted, &mut over);
        }
        waited_for += many - too_many;
        let expected = waited_for;
        session.until(Duration::from_secs(1), |history| answered_ok(history, &ops) >= expected).await?;
        if session.history.frames(false).count() < waited_for {
            // It will not come any more: the rest of the load would only take time.
            break;
        }
    }

    session.begin("drain");
    session.listen(Duration::from_millis(30)).await?;
    check_credit(session, granted, &mut over);
    session.stop(program).await?;

    session.begin("check");
    session.check(
        "never-over-credit",
        over.is_none(),
        "at most as many messages as credit was given",
        over.unwrap_or_default(),
    );
    let got: Vec<String> = session.history.frames(false).map(|(_, _, body)| body.to_owned()).collect();
    let mut wrong = None;
    for (op, body) in &ops {
        let times = got.iter().filter(|other| *other == body).count();
        let answer = session.history.answer(*op).map(|(_, kind, _)| kind.to_owned());
        wrong = wrong.or_else(|| match (answer.as_deref(), times) {
            (Some("ok"), 1) | (Some("fail"), 0) => None,
            (Some(kind), times) => {
                Some(format!("the message {body} was answered `{kind}` and arrived {times} times"))
            }
            (None, _) => Some(format!("no answer to the op of {body}")),
        });
    }
    let strange = got.iter().find(|body| !ops.iter().any(|(_, other)| other == *body));
    wrong = wrong.or_else(|| strange.map(|body| format!("`{body}` arrived, which was never given")));
    session.check(
        "complete",
        wrong.is_none(),
        "one message for each `ok`, none for a `fail`",
        wrong.unwrap_or_default(),
    );
    let order: Vec<usize> =
        got.iter().filter_map(|body| ops.iter().position(|(_, other)| other == body)).collect();
    session.check("in-order", order.is_sorted(), "the order of the ops", format!("{order:?}"));
    if session.fault("burst") {
        session.check(
            "bounded",
            unbounded.is_none(),
            format!("at most {BUFFER} messages wait"),
            unbounded.unwrap_or_default(),
        );
    }
    Ok(())
}

fn check_credit(session: &Session, granted: usize, over: &mut Option<String>) {
    let sent = session.history.frames(false).count();
    if sent > granted {
        over.get_or_insert_with(|| format!("{sent} messages with a credit of {granted} in all"));
    }
}

fn is_full(history: &History, op: u64) -> bool {
    history.answer(op).is_some_and(|(_, kind, fields)| kind == "fail" && text(fields, "reason") == "full")
}

fn answered_ok(history: &History, ops: &[(u64, String)]) -> usize {
    ops.iter().filter(|(op, _)| history.answer(*op).is_some_and(|(_, kind, _)| kind == "ok")).count()
}
