//! Measure it right: a benchmark that hides what happened, and has to be put right.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::time::Instant;

use crate::course::exercise::Exercise;
use crate::course::history::{History, number};
use crate::course::plan::Transport;
use crate::course::session::Session;
use crate::course::tcp::Reaction;

pub(super) static EXERCISE: Exercise = Exercise {
    name: "measure-right",
    title: "Measure it right: find the lie of a benchmark",
    minutes: 40,
    transport: Transport::Tcp,
    checks: &[
        ("keeps-the-rate", "all requests are sent, also those that were due while the server was stopped"),
        ("sees-the-stall", "p99 and max show how long requests waited from when they were due"),
        ("counts-deliveries", "`received` is what the server has answered"),
        ("honest-median", "p50 is the median, and not a mean that the stall has raised"),
    ],
    anomaly: "sees-the-stall",
    messages: 400,
    faults: &["stall", "drops"],
    page: "failures/coordinated-omission.md",
    play: |session| play(session).boxed_local(),
};

/// Requests a second.
const RATE: usize = 200;
/// How long the server is stopped.
const STALL: Duration = Duration::from_millis(500);
/// How many requests it never answers.
const DROPS: usize = 5;

async fn play(session: &mut Session) -> anyhow::Result<()> {
    session.begin("barrier");
    let program = session.join("benchmark", 0, &[]).await?;
    // Long enough that more than half of the requests do not wait in the stall.
    let wanted = session.plan.messages.max(RATE * 3 / 2);
    let seconds = wanted as f64 / RATE as f64;
    let stalls = session.fault("stall");
    let drops = if session.fault("drops") { DROPS } else { 0 };
    let stall_at = wanted / 3 + session.below(wanted / 10);
    let drop_from = wanted / 8;
    let seen = Rc::new(Cell::new(0));
    let until: Rc<Cell<Option<Instant>>> = Rc::default();
    session.tcp.on_frame(Rc::new(move |_: &str| {
        let now = seen.replace(seen.get() + 1);
        if stalls && now == stall_at {
            until.set(Some(Instant::now() + STALL));
        }
        if now >= drop_from && now < drop_from + drops {
            return Reaction::None;
        }
        // Everything behind it waits, too.
        Reaction::Echo(until.get())
    }));

    session.begin("load");
    let op = session.op(program, "measure", &[("rate", json!(RATE)), ("seconds", json!(seconds))]).await;
    let time = Duration::from_secs_f64(seconds) + Duration::from_secs(8);
    let answered = session.until(time, |history| history.answer(op).is_some()).await?;
    session.begin("drain");
    let sent = session.history.frames(false).count();
    let echoed = session.history.frames(true).count();
    session.stop(program).await?;

    session.begin("check");
    let fields =
        session.history.answer(op).filter(|(_, kind, _)| *kind == "ok").map(|(_, _, fields)| fields.clone());
    let Some(fields) = fields else {
        let got =
            if answered { "`fail`".to_owned() } else { format!("no answer within {} s", time.as_secs()) };
        session.check("keeps-the-rate", false, "an answer to `measure`", got);
        return Ok(());
    };
    let said = |name: &str| number(&fields, name).unwrap_or(-1);
    let (p50, p99, max) = (said("p50_us"), said("p99_us"), said("max_us"));
    let late = due_late(session, wanted, stalls.then_some(stall_at));
    session.check(
        "keeps-the-rate",
        sent == wanted && said("sent") == wanted as i64 && late.is_none(),
        format!("{wanted} requests, {RATE} a second"),
        late.unwrap_or_else(|| format!("{sent} requests came, and the program says {}", said("sent"))),
    );
    if stalls {
        let stall = STALL.as_micros() as i64;
        // A fifth of a second of requests and more waits in the stall: more than 1 % of all.
        let holds = p99 >= stall * 6 / 10 && max >= stall * 9 / 10 && max >= p99;
        session.check(
            "sees-the-stall",
            holds,
            format!(
                "p99 of at least {} µs and max of at least {} µs: the server stood still for {} µs",
                stall * 6 / 10,
                stall * 9 / 10,
                stall
            ),
            format!("p99 {p99} µs, max {max} µs"),
        );
        let busy = p50 >= stall / 10 && typically_late(&session.history) > STALL / 20;
        if busy {
            session.cannot_tell("this machine is too busy: more than half of the requests came late");
        }
        session.check(
            "honest-median",
            busy || p50 >= 0 && p50 < stall / 10,
            format!("p50 below {} µs: more than half of the requests did not wait", stall / 10),
            format!("p50 {p50} µs"),
        );
    }
    session.check(
        "counts-deliveries",
        said("received") == echoed as i64,
        format!("{echoed}, which the server has answered"),
        said("received").to_string(),
    );
    Ok(())
}

/// How much later than it was due a request may come.
const LATE: Duration = Duration::from_millis(300);

/// Whether many requests came late. Those that were due while the server stood still do not count: it
/// could not see when they came.
fn due_late(session: &mut Session, wanted: usize, stall_at: Option<usize>) -> Option<String> {
    let at: Vec<Duration> = session.history.frames(false).map(|(at, ..)| at).collect();
    let first = *at.first()?;
    let stood = stall_at.and_then(|number| at.get(number)).map(|began| (*began, *began + STALL + LATE));
    let due = |number: usize| due(first, number);
    let unseen = |number: usize| stood.is_some_and(|(from, to)| (from..to).contains(&due(number)));
    let late: Vec<usize> =
        (0..at.len()).filter(|number| !unseen(*number) && at[*number] > due(*number) + LATE).collect();
    if late.len() <= wanted / 10 {
        return None;
    }
    let late = late.into_iter().filter(|number| session.late(due(*number), at[*number], LATE)).count();
    (late > wanted / 10)
        .then(|| format!("{late} of {wanted} requests came more than {} ms late", LATE.as_millis()))
}

/// When a request is due, `first` being the moment of the first.
fn due(first: Duration, number: usize) -> Duration {
    first + Duration::from_secs_f64(number as f64 / RATE as f64)
}

/// How much later than it was due the median request came.
fn typically_late(history: &History) -> Duration {
    let at: Vec<Duration> = history.frames(false).map(|(at, ..)| at).collect();
    let Some(first) = at.first() else { return Duration::ZERO };
    let mut late: Vec<Duration> =
        at.iter().enumerate().map(|(number, at)| at.saturating_sub(due(*first, number))).collect();
    late.sort_unstable();
    late[late.len() / 2]
}
