//! Idempotent receiver: one effect for each message, however often it comes.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::stream::Tasks;
use crate::course::exercise::Exercise;
use crate::course::history::History;
use crate::course::plan::Transport;
use crate::course::redis::Redis;
use crate::course::session::Session;

pub(super) static EXERCISE: Exercise = Exercise {
    name: "idempotent",
    title: "Idempotent receiver",
    minutes: 35,
    transport: Transport::Redis,
    checks: &[
        ("one-effect", "each id has one effect, however often its message comes"),
        ("none-skipped", "each id has an effect"),
        ("bounded", "at most `remember` ids are kept"),
        ("all-acked", "at the end every entry is acknowledged, duplicates too"),
    ],
    anomaly: "one-effect",
    messages: 160,
    faults: &["duplicates", "same-body", "restart"],
    page: "failures/effects-once.md",
    play: |session| play(session).boxed_local(),
};

/// How many ids a program may keep.
const REMEMBER: usize = 100;
/// How many other ids at most come between a message and its duplicate.
const DISTANCE: usize = 50;

async fn play(session: &mut Session) -> anyhow::Result<()> {
    session.begin("barrier");
    let mut redis = session.redis().await?;
    let mut tasks = Tasks::create(session, &mut redis).await?;
    let program = session.join("worker", 0, &[("remember", json!(REMEMBER))]).await?;

    session.begin("load");
    let mut ids: Vec<(String, String)> = Vec::new();
    let messages = session.plan.messages;
    let mut most = 0;
    for number in 0..messages {
        let same = session.fault("same-body") && number % 4 == 1;
        let body = match ids.last().filter(|_| same) {
            Some((_, body)) => body.clone(),
            None => session.body(),
        };
        let id = session.body();
        tasks.add(&mut redis, &id, &["id", &id, "body", &body]).await?;
        ids.push((id, body));
        if session.fault("duplicates") && (number % 3 == 0 || messages < 4) {
            let back = session.below(DISTANCE.min(ids.len()));
            let (id, body) = ids[ids.len() - 1 - back].clone();
            tasks.add(&mut redis, &id, &["id", &id, "body", &body]).await?;
        }
        if session.fault("restart") && number == messages / 2 {
            session.begin("faults");
            caught(session, ids.len()).await?;
            session.stop(program).await?;
            session.did("stopped the program; what it was given comes again");
            for (id, body) in &ids[ids.len().saturating_sub(DISTANCE)..] {
                tasks.add(&mut redis, id, &["id", id, "body", body]).await?;
            }
            session.begin("heal");
            session.again(program).await?;
            session.ready(program).await?;
        }
        if number % 40 == 39 {
            caught(session, ids.len()).await?;
            most = most.max(remembered(session, &mut redis).await?);
        }
    }

    session.begin("drain");
    caught(session, ids.len()).await?;
    // Also the duplicates behind the last id.
    let settled = async || Ok(tasks.pending(&mut redis).await? == 0 && tasks.unread(&mut redis).await? == 0);
    session.ask_until(Duration::from_secs(2), settled).await?;
    most = most.max(remembered(session, &mut redis).await?);
    session.stop(program).await?;

    session.begin("check");
    let effects: Vec<String> = session.history.accepted().map(|effect| effect.key.to_owned()).collect();
    let count = |id: &str| effects.iter().filter(|other| *other == id).count();
    let twice = ids.iter().find(|(id, _)| count(id) > 1);
    session.check(
        "one-effect",
        twice.is_none(),
        "one effect for each id",
        twice.map_or_else(String::new, |(id, _)| format!("{} effects for the id {id}", count(id))),
    );
    let skipped = ids.iter().find(|(id, _)| count(id) == 0);
    session.check(
        "none-skipped",
        skipped.is_none(),
        "an effect for each id",
        skipped.map_or_else(String::new, |(id, body)| format!("none for the id {id} (body {body})")),
    );
    session.check(
        "bounded",
        most <= REMEMBER,
        format!("at most {REMEMBER} ids in {}*", session.key("seen")),
        format!("{most}"),
    );
    tasks.check_all_acked(session, &mut redis).await
}

/// Waits until as many ids have an effect.
async fn caught(session: &mut Session, ids: usize) -> anyhow::Result<()> {
    let done = |history: &History| {
        let keys: std::collections::BTreeSet<&str> = history.accepted().map(|effect| effect.key).collect();
        keys.len() >= ids
    };
    session.until(Duration::from_secs(3), done).await.map(drop)
}

/// How many elements the program keeps.
async fn remembered(session: &Session, redis: &mut Redis) -> anyhow::Result<usize> {
    let keys = redis.call(&["KEYS", &format!("{}*", session.key("seen"))]).await?.texts();
    let mut all = 0;
    for key in keys {
        let kind = redis.call(&["TYPE", &key]).await?.text().unwrap_or_default();
        let count = match kind.as_str() {
            "set" => "SCARD",
            "zset" => "ZCARD",
            "list" => "LLEN",
            "hash" => "HLEN",
            "stream" => "XLEN",
            // One key for each id.
            _ => {
                all += 1;
                continue;
            }
        };
        // A set and a list of the same ids hold each id once.
        all = all.max(redis.call(&[count, &key]).await?.number() as usize);
    }
    Ok(all)
}
