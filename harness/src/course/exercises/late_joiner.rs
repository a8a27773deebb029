//! Late joiner: a subscriber that knows from when on it hears everything.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::course::exercise::Exercise;
use crate::course::history::{History, What};
use crate::course::plan::Transport;
use crate::course::redis::Redis;
use crate::course::session::{READY, Session};

pub(super) static EXERCISE: Exercise = Exercise {
    name: "late-joiner",
    title: "Late joiner",
    minutes: 20,
    transport: Transport::Redis,
    checks: &[
        ("nothing-missed", "everything that is published after a `ready` arrives, until the link is cut"),
        ("once", "no message is reported twice"),
        ("in-order", "messages are reported in the order in which they were published"),
        ("rejoins", "after a cut the program says `ready` again, and hears what is published then"),
    ],
    anomaly: "nothing-missed",
    messages: 30,
    faults: &["slow-link", "cut"],
    page: "failures/late-subscriber.md",
    play: |session| play(session).boxed_local(),
};

async fn play(session: &mut Session) -> anyhow::Result<()> {
    let mut redis = session.redis().await?;
    session.begin("barrier");
    if session.fault("slow-link") {
        let delay = 50 + session.below(200) as u64;
        slow(session, delay);
    }
    let program = session.join("subscriber", 0, &[]).await?;

    session.begin("load");
    let before = publish(session, &mut redis, session.plan.messages.div_ceil(2)).await?;
    // Two bodies of a link's delay, and then some.
    let heard = before.clone();
    session.until(Duration::from_secs(2), |history| all(history, &heard)).await?;

    let (mut after, mut later) = (Vec::new(), Vec::new());
    let mut rejoined = None;
    if session.fault("cut") {
        session.begin("faults");
        let ready = session.history.said("ready").count();
        session.link().cut();
        session.did("cuts the link");
        if session.fault("slow-link") {
            // Another delay than before: no waiting time is right for both.
            let delay = 500 + session.below(400) as u64;
            slow(session, delay);
        }
        session.begin("heal");
        let again = session.until(READY, |history| history.said("ready").count() > ready).await?;
        rejoined = Some(again);
        if again {
            after = publish(session, &mut redis, session.plan.messages.div_ceil(2)).await?;
            // Late enough for a subscription that was not in effect at the second `ready`.
            session.listen(Duration::from_millis(300)).await?;
            later = publish(session, &mut redis, 3).await?;
        }
    }

    session.begin("drain");
    session.link().heal();
    let wanted = [before.clone(), after.clone(), later.clone()].concat();
    session.until(Duration::from_secs(2), |history| all(history, &wanted)).await?;
    session.stop(program).await?;

    session.begin("check");
    let got: Vec<String> = session.history.texts("recv", "body").map(str::to_owned).collect();
    let missed = wanted.iter().find(|body| !got.contains(body));
    session.check(
        "nothing-missed",
        missed.is_none(),
        format!("all {} messages that were published after `ready`", wanted.len()),
        missed.map_or_else(String::new, |body| format!("{body} was published after `ready` and never came")),
    );
    let twice = got.iter().find(|body| got.iter().filter(|other| other == body).count() > 1);
    let got_twice = twice.map_or_else(String::new, |body| format!("{body} was reported twice"));
    session.check("once", twice.is_none(), "each message once", got_twice);
    let order: Vec<usize> =
        got.iter().filter_map(|body| wanted.iter().position(|other| other == body)).collect();
    let strange = got.iter().find(|body| !wanted.contains(body));
    let sorted = order.is_sorted() && strange.is_none();
    let got_order =
        strange.map_or_else(|| format!("{order:?}"), |body| format!("{body}, which was never published"));
    session.check("in-order", sorted, "the order in which they were published", got_order);
    match rejoined {
        Some(false) => session.check(
            "rejoins",
            false,
            "`ready` again after the cut",
            format!("none within {} s", READY.as_secs()),
        ),
        Some(true) => {
            let heard = later.iter().any(|body| got.contains(body));
            session.check(
                "rejoins",
                heard,
                "what is published after the second `ready` arrives",
                "none of it arrived",
            );
        }
        None => {}
    }
    Ok(())
}

fn slow(session: &mut Session, delay: u64) {
    session.link().delay(Duration::from_millis(delay));
    session.did(&format!("delays the link by {delay} ms in each direction"));
}

/// Publishes messages at once.
async fn publish(session: &mut Session, redis: &mut Redis, messages: usize) -> anyhow::Result<Vec<String>> {
    let channel = session.key("news");
    let mut sent = Vec::new();
    for _ in 0..messages {
        let body = session.body();
        redis.call(&["PUBLISH", &channel, &body]).await?;
        sent.push(body);
    }
    Ok(sent)
}

/// Whether all of these were reported.
fn all(history: &History, bodies: &[String]) -> bool {
    let got: std::collections::BTreeSet<&str> = history.texts("recv", "body").collect();
    bodies.iter().all(|body| got.contains(body.as_str()))
        || history.0.iter().any(|event| matches!(event.what, What::Left { .. }))
}
