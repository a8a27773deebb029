//! Ack after work: a worker that is killed in the middle of a task loses none.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::stream::{Tasks, all_but, count_done, done};
use crate::course::exercise::Exercise;
use crate::course::plan::Transport;
use crate::course::session::{PATIENCE, Session};

pub(super) static EXERCISE: Exercise = Exercise {
    name: "ack-after-work",
    title: "Acknowledge after the work",
    minutes: 30,
    transport: Transport::Redis,
    checks: &[
        ("ack-after-work", "no entry is acknowledged before the sink has answered its effect"),
        ("nothing-lost", "each task has an effect that the sink has answered"),
        ("all-acked", "at the end every entry is acknowledged"),
        ("no-needless-repeat", "an effect is repeated only if its answer never reached the program"),
    ],
    anomaly: "ack-after-work",
    messages: 30,
    faults: &["kill"],
    page: "failures/ack-too-early.md",
    play: |session| play(session).boxed_local(),
};

async fn play(session: &mut Session) -> anyhow::Result<()> {
    session.begin("barrier");
    let mut redis = session.redis().await?;
    let mut tasks = Tasks::create(session, &mut redis).await?;
    let program = session.join("worker", 0, &[]).await?;
    let messages = session.plan.messages;
    let mut victims = Vec::new();
    if session.fault("kill") {
        victims.push(session.below(messages));
        if messages > 10 {
            // Later, so that the program has more than one entry in hand if it reads many at once.
            victims.push(victims[0] + 4);
        }
        session.on_effect(all_but(victims.clone()));
    }

    session.begin("load");
    // The program is stopped while they are added, so that it finds all of them at once.
    session.hold(program, true);
    for _ in 0..messages {
        let body = session.body();
        tasks.add(&mut redis, &body, &["body", &body]).await?;
    }
    session.hold(program, false);

    for victim in victims {
        session.begin("faults");
        let hit = session.until(PATIENCE, |history| history.effects().count() > victim).await?;
        session.kill(program).await?;
        if !hit {
            session.cannot_tell("the program never came to the task in whose middle it was to be killed");
        }
        session.begin("heal");
        session.again(program).await?;
        session.ready(program).await?;
    }

    session.begin("drain");
    let sent = tasks.sent.clone();
    session.until(Duration::from_secs(3), |history| count_done(history, &sent) == sent.len()).await?;
    session.stop(program).await?;
    session.caught_up(&mut redis).await?;

    session.begin("check");
    let mut early = None;
    for (position, _, words) in session.history.program_commands().filter(|(_, _, words)| words[0] == "XACK")
    {
        // XACK stream group id…
        early = early.or_else(|| {
            words.iter().skip(3).find(|id| {
                let answered = session.history.accepted().find(|effect| effect.key == id.as_str());
                let answer = answered.and_then(|effect| session.history.answer_position(effect.number));
                answer.is_none_or(|answer| answer > position)
            })
        });
    }
    let got = early.map_or_else(String::new, |id| format!("XACK of {id} came first"));
    let holds = early.is_none();
    session.check("ack-after-work", holds, "first the sink's answer to an effect, then its XACK", got);
    let done = done(&session.history);
    let lost = sent.iter().find(|(_, body)| !done.contains(body));
    session.check(
        "nothing-lost",
        lost.is_none(),
        format!("effects for all {} tasks", sent.len()),
        lost.map_or_else(String::new, |(id, body)| format!("no effect for the task {body} (entry {id})")),
    );
    tasks.check_all_acked(session, &mut redis).await?;
    let again = sent.iter().find(|(_, body)| done.iter().filter(|other| *other == body).count() > 1);
    session.check(
        "no-needless-repeat",
        again.is_none(),
        "one answered effect for each task",
        again.map_or_else(String::new, |(id, body)| format!("two for the task {body} (entry {id})")),
    );
    Ok(())
}
