//! Return address: several repliers send each reply to where its request says.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use crate::course::exercise::Exercise;
use crate::course::history::text;
use crate::course::plan::Transport;
use crate::course::redis::object;
use crate::course::session::{PATIENCE, Session};

pub(super) static EXERCISE: Exercise = Exercise {
    name: "return-address",
    title: "Return address with several repliers",
    minutes: 25,
    transport: Transport::Redis,
    checks: &[
        ("answered", "each request gets one reply, at the address that it names"),
        ("right-reply", "a reply has the id of its request, and its body reversed"),
        ("survives-poison", "what cannot be answered ends no replier, and stops no request behind it"),
        ("nothing-left", "each list of replies has a time to live of at most 60 s"),
    ],
    anomaly: "answered",
    messages: 40,
    faults: &["poison", "gone", "kill"],
    page: "applications/correlation.md",
    play: |session| play(session).boxed_local(),
};

/// Instances of the program.
const REPLIERS: usize = 3;
/// Requesters, each with a list of its own.
const REQUESTERS: usize = 3;
/// Most that a list of replies may live, seconds.
const LONGEST_LIFE: i64 = 60;

struct Request {
    id: String,
    body: String,
    to: String,
}

async fn play(session: &mut Session) -> anyhow::Result<()> {
    let mut redis = session.redis().await?;
    session.begin("barrier");
    for index in 0..REPLIERS {
        session.start("replier", index, &[]).await?;
    }
    for index in 0..REPLIERS {
        session.ready(index).await?;
    }

    session.begin("load");
    let list = session.key("requests");
    let mut requests = Vec::new();
    let half = session.plan.messages / 2;
    for number in 0..session.plan.messages {
        if session.fault("poison") && number == half {
            let address = session.key("replies:0");
            for poison in [
                "this is not JSON",
                "[1, 2]",
                "{\"id\": \"p1\", \"body\": \"no address\"}",
                &format!("{{\"reply_to\": \"{address}\""),
            ] {
                redis.call(&["RPUSH", &list, poison]).await?;
            }
        }
        if session.fault("kill") && number == half {
            session.begin("faults");
            // Only one that waits: a request in hand would be lost with a list that forgets it.
            let so_far = requests.len();
            wait(session, &mut redis, &requests[..so_far]).await?;
            session.kill(0).await?;
            // Redis notices its end when the connection is gone.
            gone(session, &mut redis).await?;
        }
        let to = session.key(&format!("replies:{}", number % REQUESTERS));
        let (id, body) = (session.body(), session.body());
        let request = json!({ "id": id, "reply_to": to, "body": body }).to_string();
        redis.call(&["RPUSH", &list, &request]).await?;
        requests.push(Request { id, body, to });
    }

    session.begin("drain");
    wait(session, &mut redis, &requests).await?;
    // A requester that leaves takes no reply: its list stays, for as long as it may.
    let gone_list = session.key("replies:gone");
    if session.fault("gone") {
        let (id, body) = (session.body(), session.body());
        let request = json!({ "id": id, "reply_to": gone_list, "body": body }).to_string();
        redis.call(&["RPUSH", &list, &request]).await?;
        requests.push(Request { id, body, to: gone_list.clone() });
        wait(session, &mut redis, &requests).await?;
    }
    let mut immortal = None;
    for list in requests.iter().map(|request| &request.to).collect::<std::collections::BTreeSet<_>>() {
        // EXPIRE is the command after RPUSH, and may be a moment late.
        let mut life = -1;
        let mortal = async || {
            life = redis.call(&["TTL", list]).await?.number();
            Ok(life != -1)
        };
        session.ask_until(Duration::from_millis(500), mortal).await?;
        if life == -1 || life > LONGEST_LIFE {
            let life = if life == -1 { "for ever".to_owned() } else { format!("for {life} s") };
            immortal = Some(format!("the list {list} stays {life}"));
        }
    }
    session.stop_all().await?;

    session.begin("check");
    let (mut wrong, mut unanswered, mut after_poison) = (None, None, None);
    for (number, request) in requests.iter().enumerate() {
        let replies = redis.call(&["LRANGE", &request.to, "0", "-1"]).await?.texts();
        let reversed: String = request.body.chars().rev().collect();
        // By one of the two: a reply with the wrong id, or the wrong body, is still one.
        let is_own = |reply: &&String| {
            let fields = object(reply);
            text(&fields, "id") == request.id || text(&fields, "body") == reversed
        };
        let own = replies.iter().filter(is_own).count();
        let right = replies.iter().any(|reply| {
            text(&object(reply), "id") == request.id && text(&object(reply), "body") == reversed
        });
        if own != 1 {
            let told = format!("{own} replies to the request {} in {}", request.id, request.to);
            let late = if number >= half { &mut after_poison } else { &mut unanswered };
            late.get_or_insert(told.clone());
            unanswered.get_or_insert(told);
        } else if !right {
            wrong = wrong
                .or_else(|| Some(format!("the body of the reply to {} is not `{reversed}`", request.id)));
        }
    }
    session.check(
        "answered",
        unanswered.is_none(),
        "one reply for each request, at its reply_to",
        unanswered.clone().unwrap_or_default(),
    );
    session.check(
        "right-reply",
        wrong.is_none(),
        "the id of the request, and its body reversed",
        wrong.unwrap_or_default(),
    );
    if session.fault("poison") {
        let held = after_poison.is_none() || unanswered != after_poison;
        session.check(
            "survives-poison",
            held,
            "replies to the requests behind the poison",
            after_poison.unwrap_or_default(),
        );
    }
    session.check(
        "nothing-left",
        immortal.is_none(),
        "a time to live of at most 60 s (EXPIRE)",
        immortal.unwrap_or_default(),
    );
    Ok(())
}

/// Waits until the broker has one waiting program less.
async fn gone(session: &mut Session, redis: &mut crate::course::redis::Redis) -> anyhow::Result<()> {
    let fewer = async || {
        let info = redis.call(&["INFO", "clients"]).await?.text().unwrap_or_default();
        let blocked =
            info.lines().find_map(|line| line.trim().strip_prefix("blocked_clients:")?.parse().ok());
        Ok(blocked.unwrap_or(0_usize) < REPLIERS)
    };
    session.ask_until(PATIENCE, fewer).await.map(drop)
}

/// Waits until there are as many replies as requests.
async fn wait(
    session: &mut Session,
    redis: &mut crate::course::redis::Redis,
    requests: &[Request],
) -> anyhow::Result<()> {
    let lists: std::collections::BTreeSet<&String> = requests.iter().map(|request| &request.to).collect();
    let all = async || {
        let mut replies = 0;
        for list in &lists {
            replies += redis.call(&["LLEN", list]).await?.number() as usize;
        }
        Ok(replies >= requests.len())
    };
    session.ask_until(Duration::from_secs(2), all).await.map(drop)
}
