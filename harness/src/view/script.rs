//! A run without anybody who acts: a receiver is killed and comes back, and everything is recorded.

use std::time::Duration;

use anyhow::{Result, bail};
use labs::catalog::Pattern;

use super::act::Act;
use super::cast;
use super::session::Session;
use crate::replay::ReplayWhat;

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// After the last message, until nothing happens any more.
const QUIET: Duration = Duration::from_millis(800);
/// From one message to the next.
const PACE: Duration = Duration::from_millis(60);

/// Messages before the receiver is killed, while it is away, and after it has come back.
const PHASES: [usize; 3] = [4, 3, 3];

/// Plays it.
pub(crate) async fn script(session: &mut Session<'_>) -> Result<()> {
    if !session.listen(PATIENCE, Session::complete).await {
        bail!("the roles did not join within {} s", PATIENCE.as_secs());
    }
    let kind = match session.entry().pattern {
        Pattern::OneWay => "receiver-0",
        Pattern::RequestReply => "responder-1",
        Pattern::PubSub | Pattern::Durable => "subscriber-1",
        Pattern::Pipeline => "worker-1",
        Pattern::Queue => "consumer-1",
    };
    let victim = kind.to_owned();
    // One that works is killed in the middle of its work.
    let works =
        victim.rsplit_once('-').is_some_and(|(kind, _)| ["worker", "consumer", "responder"].contains(&kind));
    if works {
        act(session, Act::Slow { role: victim.clone() }).await?;
    }
    send(session, PHASES[0]).await;
    let before = received(session, &victim);
    let in_hand = |session: &Session<'_>| received(session, &victim) > 0;
    if works && before == 0 {
        // It may be that the others got everything: then it is killed all the same.
        session.listen(Duration::from_secs(3), in_hand).await;
    } else {
        session.listen(QUIET, |_| false).await;
    }
    act(session, Act::Kill { role: victim.clone() }).await?;
    send(session, PHASES[1]).await;
    session.listen(QUIET, |_| false).await;
    // Another one may have ended with it: a thread whose peer is gone.
    for role in session.gone() {
        act(session, Act::Restart { role }).await?;
    }
    if !session.listen(PATIENCE, Session::complete).await {
        session.note(&format!("{victim} did not join again within {} s", PATIENCE.as_secs()));
    }
    send(session, PHASES[2]).await;
    // Until nothing more comes: a lease has to end first.
    let mut quiet = 0;
    let end = if cast::keeps(session.entry()) { 5 } else { 2 };
    let mut seen = 0;
    for _ in 0..30 {
        session.listen(QUIET, |_| false).await;
        let now = session.recorder().numbers().1;
        quiet = if now == seen { quiet + 1 } else { 0 };
        seen = now;
        if quiet >= end {
            break;
        }
    }
    Ok(())
}

async fn send(session: &mut Session<'_>, messages: usize) {
    for _ in 0..messages {
        if let Err(why) = session.send("", None) {
            session.note(&format!("not sent: {why}"));
        }
        session.listen(PACE, |_| false).await;
    }
}

async fn act(session: &mut Session<'_>, act: Act) -> Result<()> {
    session.act(act).await.map_err(|why| anyhow::anyhow!(why))
}

/// How many messages a role has received.
fn received(session: &Session<'_>, role: &str) -> usize {
    let of = session.recorder().events().iter().filter(|(_, event)| event.lane == role);
    of.filter(|(_, event)| event.what == ReplayWhat::Received).count()
}
