//! Stream history: a reader that remembers its position has neither gap nor repeat.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::stream::{all_but, count_done};
use crate::course::exercise::Exercise;
use crate::course::plan::Transport;
use crate::course::redis::Redis;
use crate::course::session::{PATIENCE, Session};

pub(super) static EXERCISE: Exercise = Exercise {
    name: "stream-history",
    title: "Stream history with a remembered position",
    minutes: 30,
    transport: Transport::Redis,
    checks: &[
        ("no-gap", "each entry has an effect, also those that came while the program was away"),
        ("no-repeat", "an effect is repeated only if its answer never reached the program"),
        ("in-order", "effects are in the order of the stream"),
    ],
    anomaly: "no-gap",
    messages: 40,
    faults: &["restart", "kill"],
    page: "transports/redis-stream.md",
    play: |session| play(session).boxed_local(),
};

async fn play(session: &mut Session) -> anyhow::Result<()> {
    let mut redis = session.redis().await?;
    let part = session.plan.messages.div_ceil(4);
    let mut sent = Vec::new();
    // The history from before the program began.
    append(session, &mut redis, &mut sent, part).await?;
    session.begin("barrier");
    let program = session.join("reader", 0, &[]).await?;

    session.begin("load");
    if session.plan.messages > 1 {
        append(session, &mut redis, &mut sent, part).await?;
    }
    if session.fault("restart") {
        session.begin("faults");
        caught(session, &sent).await?;
        session.stop(program).await?;
        session.did("stopped the program; entries are added meanwhile");
        append(session, &mut redis, &mut sent, part).await?;
        session.begin("heal");
        session.again(program).await?;
        session.ready(program).await?;
    }
    if session.fault("kill") {
        session.begin("faults");
        caught(session, &sent).await?;
        // Not the first of those that a program may read at once.
        let victim =
            session.history.effects().count() + if part > 1 { 1 + session.below(part - 1) } else { 0 };
        session.on_effect(all_but(vec![victim]));
        session.hold(program, true);
        append(session, &mut redis, &mut sent, part).await?;
        session.hold(program, false);
        let hit = session.until(PATIENCE, |history| history.effects().count() > victim).await?;
        session.kill(program).await?;
        if !hit {
            session.cannot_tell("the program never came to the entry in whose middle it was to be killed");
        }
        session.begin("heal");
        session.again(program).await?;
        session.ready(program).await?;
    }
    append(session, &mut redis, &mut sent, 1).await?;

    session.begin("drain");
    caught(session, &sent).await?;
    session.stop(program).await?;

    session.begin("check");
    let done: Vec<(String, String)> =
        session.history.accepted().map(|effect| (effect.key.to_owned(), effect.body.to_owned())).collect();
    let missed = sent.iter().find(|entry| !done.contains(entry));
    session.check(
        "no-gap",
        missed.is_none(),
        format!("effects for all {} entries", sent.len()),
        missed.map_or_else(String::new, |(id, body)| format!("none for {body} (entry {id})")),
    );
    let again = sent.iter().find(|entry| done.iter().filter(|other| other == entry).count() > 1);
    session.check(
        "no-repeat",
        again.is_none(),
        "one answered effect for each entry",
        again.map_or_else(String::new, |(id, body)| format!("two for {body} (entry {id})")),
    );
    let mut firsts: Vec<usize> = Vec::new();
    for entry in &done {
        let place = sent.iter().position(|other| other == entry);
        firsts.extend(place.filter(|place| !firsts.contains(place)));
    }
    let strange = done.iter().find(|entry| !sent.contains(entry));
    let got = strange.map_or_else(
        || format!("{firsts:?}"),
        |(key, body)| format!("an effect `{key}` `{body}`, which is no entry"),
    );
    session.check("in-order", firsts.is_sorted() && strange.is_none(), "the order of the stream", got);
    Ok(())
}

async fn append(
    session: &mut Session,
    redis: &mut Redis,
    sent: &mut Vec<(String, String)>,
    entries: usize,
) -> anyhow::Result<()> {
    let log = session.key("log");
    for _ in 0..entries {
        let body = session.body();
        let id = redis.call(&["XADD", &log, "*", "body", &body]).await?.text().unwrap_or_default();
        sent.push((id, body));
    }
    Ok(())
}

/// Waits until all entries have an effect.
async fn caught(session: &mut Session, sent: &[(String, String)]) -> anyhow::Result<()> {
    session.until(Duration::from_secs(3), |history| count_done(history, sent) == sent.len()).await.map(drop)
}
