//! Dead letters: what cannot be handled is put aside, and holds up nothing.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::stream::Tasks;
use crate::course::exercise::Exercise;
use crate::course::history::{Fields, History};
use crate::course::plan::Transport;
use crate::course::session::Session;
use crate::course::sink::{Answer, Asked};

pub(super) static EXERCISE: Exercise = Exercise {
    name: "dead-letters",
    title: "Dead letters",
    minutes: 35,
    transport: Transport::Redis,
    checks: &[
        ("good-done", "each task that can be done is done, also behind one that cannot"),
        ("dead-once", "what cannot be done is in the dead letters once, and nothing else is"),
        (
            "attempts-true",
            "each poison message was attempted as often as `attempts` says, and its dead letter says so",
        ),
        ("reason-kept", "the dead letter has the reason that the sink gave"),
        ("all-acked", "at the end every entry is acknowledged"),
    ],
    anomaly: "good-done",
    messages: 30,
    faults: &["poison", "shaky", "foreign"],
    page: "failures/poison-message.md",
    play: |session| play(session).boxed_local(),
};

/// After so many failed attempts a message is dead.
const ATTEMPTS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    Poison,
    Shaky,
}

async fn play(session: &mut Session) -> anyhow::Result<()> {
    session.begin("barrier");
    let mut redis = session.redis().await?;
    let mut tasks = Tasks::create(session, &mut redis).await?;
    let program = session.join("worker", 0, &[("attempts", json!(ATTEMPTS))]).await?;

    let mut kinds = Vec::new();
    for number in 0..session.plan.messages {
        let kind = match number % 5 {
            0 if session.fault("poison") => Kind::Poison,
            3 if session.fault("shaky") => Kind::Shaky,
            _ => Kind::Good,
        };
        kinds.push((session.body(), kind));
    }
    let of_body: BTreeMap<String, Kind> = kinds.iter().cloned().collect();
    let reason = format!("no such account {}", session.body());
    let tried = std::cell::RefCell::new(BTreeMap::<String, usize>::new());
    let refuse = reason.clone();
    session.on_effect(Rc::new(move |asked: &Asked<'_>| {
        let mut tried = tried.borrow_mut();
        let before = tried.entry(asked.body.to_owned()).or_default();
        *before += 1;
        match of_body.get(asked.body) {
            Some(Kind::Poison) => Answer::Refuse(refuse.clone()),
            Some(Kind::Shaky) if *before == 1 => Answer::Refuse(refuse.clone()),
            _ => Answer::Accept(Fields::new()),
        }
    }));

    session.begin("load");
    let mut foreign = Vec::new();
    for (number, (body, _)) in kinds.iter().enumerate() {
        if session.fault("foreign") && number % 10 == 1 {
            let odd = session.body();
            let id = tasks.add(&mut redis, &odd, &["something", &odd]).await?;
            foreign.push(id);
        }
        tasks.add(&mut redis, body, &["body", body]).await?;
    }

    session.begin("drain");
    let poison = kinds.iter().filter(|(_, kind)| *kind == Kind::Poison).count();
    let good: Vec<String> =
        kinds.iter().filter(|(_, kind)| *kind != Kind::Poison).map(|(body, _)| body.clone()).collect();
    let all = |history: &History| {
        let done: std::collections::BTreeSet<&str> = history.accepted().map(|effect| effect.body).collect();
        good.iter().all(|body| done.contains(body.as_str()))
    };
    session.until(Duration::from_secs(3), all).await?;
    let list = session.key("dead");
    let expected = poison + foreign.len();
    let settled = async || {
        let read = tasks.pending(&mut redis).await? == 0 && tasks.unread(&mut redis).await? == 0;
        Ok(read && redis.call(&["XLEN", &list]).await?.number() as usize >= expected)
    };
    session.ask_until(Duration::from_secs(2), settled).await?;
    session.stop(program).await?;

    session.begin("check");
    let done: Vec<String> = session.history.accepted().map(|effect| effect.body.to_owned()).collect();
    let missing = good.iter().find(|body| !done.contains(body));
    session.check(
        "good-done",
        missing.is_none(),
        format!("accepted effects for all {} tasks that can be done", good.len()),
        missing.map_or_else(String::new, |body| format!("none for the task {body}")),
    );
    let dead: Vec<BTreeMap<String, String>> = redis
        .call(&["XRANGE", &list, "-", "+"])
        .await?
        .entries()
        .into_iter()
        .map(|(_, fields)| fields.into_iter().collect())
        .collect();
    let of = |body: &str| {
        dead.iter().filter(|letter| letter.get("body").is_some_and(|other| other == body)).collect::<Vec<_>>()
    };
    let (mut wrong, mut attempts, mut reasons) = (None, None, None);
    for (body, kind) in &kinds {
        let letters = of(body);
        let expected = usize::from(*kind == Kind::Poison);
        if letters.len() != expected {
            wrong = wrong.or_else(|| {
                Some(format!("the task {body} is there {} times, not {expected}", letters.len()))
            });
        }
        if *kind != Kind::Poison {
            continue;
        }
        let seen = session.history.effects().filter(|effect| effect.body == body).count();
        let said = letters.first().and_then(|letter| letter.get("attempts")).cloned().unwrap_or_default();
        if seen != ATTEMPTS || said != ATTEMPTS.to_string() {
            attempts = attempts.or_else(|| {
                Some(format!("the sink saw {seen} attempts of {body}; its dead letter says `{said}`"))
            });
        }
        if letters.first().is_none_or(|letter| letter.get("reason") != Some(&reason)) {
            let said = letters.first().and_then(|letter| letter.get("reason")).cloned().unwrap_or_default();
            reasons = reasons.or_else(|| Some(format!("`{said}` for the task {body}")));
        }
    }
    let strange = dead.len().saturating_sub(poison);
    if wrong.is_none() && strange != foreign.len() {
        wrong = Some(format!("{strange} others; {} entries without a body were sent", foreign.len()));
    }
    let zero = dead.iter().filter(|letter| letter.get("attempts").is_some_and(|said| said == "0")).count();
    if wrong.is_none() && zero != foreign.len() {
        wrong = Some(format!("{zero} with 0 attempts; {} entries without a body were sent", foreign.len()));
    }
    session.check(
        "dead-once",
        wrong.is_none(),
        format!("{expected} dead letters in {list}"),
        wrong.unwrap_or_default(),
    );
    if poison > 0 {
        session.check(
            "attempts-true",
            attempts.is_none(),
            format!("{ATTEMPTS} attempts, and the dead letter says {ATTEMPTS}"),
            attempts.unwrap_or_default(),
        );
        session.check(
            "reason-kept",
            reasons.is_none(),
            format!("the reason `{reason}`"),
            reasons.unwrap_or_default(),
        );
    }
    tasks.check_all_acked(session, &mut redis).await
}
