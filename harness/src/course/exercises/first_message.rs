//! First message: read messages from a stream of bytes.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::course::exercise::Exercise;
use crate::course::history::{History, What};
use crate::course::plan::Transport;
use crate::course::session::{PATIENCE, Session};
use crate::course::tcp::frame;

pub(super) static EXERCISE: Exercise = Exercise {
    name: "first-message",
    title: "First message",
    minutes: 15,
    transport: Transport::Tcp,
    checks: &[
        ("whole", "every message that the program reports is one that was sent: none is cut, none is joined"),
        ("complete", "each message is reported exactly once"),
        ("in-order", "messages are reported in the order in which they were sent"),
    ],
    anomaly: "whole",
    messages: 60,
    faults: &["pieces", "together"],
    page: "patterns/oneway.md",
    play: |session| play(session).boxed_local(),
};

async fn play(session: &mut Session) -> anyhow::Result<()> {
    session.begin("barrier");
    let program = session.join("receiver", 0, &[]).await?;
    let connected = |history: &History| history.0.iter().any(|event| matches!(event.what, What::Opened));
    if !session.until(PATIENCE, connected).await? {
        session.check("whole", false, "the program connects to the endpoint", "it never did");
        return Ok(());
    }

    session.begin("load");
    let mut sent = Vec::new();
    let mut stream = Vec::new();
    for number in 0..session.plan.messages {
        // Some are longer than what one read returns, and not all letters are one byte.
        let filler =
            if session.below(5) == 0 { "ü🐎x".repeat(session.below(1_500)) } else { String::new() };
        let body = format!("{}{filler}", session.body());
        stream.extend_from_slice(&frame(&body));
        session.note(What::Frame { connection: 0, own: true, body: body.clone() });
        sent.push(body);
        let together = session.fault("together") && session.below(2) == 0;
        if together && number + 1 < session.plan.messages {
            continue;
        }
        if session.fault("pieces") && (number == 0 || session.below(2) == 0) {
            // The program has read everything before, so that a piece comes alone.
            let before = sent.len() - 1;
            session
                .until(Duration::from_millis(200), |history| history.said("recv").count() >= before)
                .await?;
            // Also inside the length.
            let inside = number == 0 || session.below(2) == 0;
            let cut = 1 + if inside { session.below(3) } else { session.below(stream.len() - 1) };
            let rest = stream.split_off(cut.min(stream.len()));
            session.did(&format!("sends {} of it alone, and the rest 20 ms later", bytes(stream.len())));
            session.tcp.write(0, &stream).await;
            session.listen(Duration::from_millis(20)).await?;
            stream = rest;
        }
        session.tcp.write(0, &stream).await;
        stream.clear();
        if !session.fault("together") {
            let so_far = sent.len();
            session
                .until(Duration::from_millis(50), |history| history.said("recv").count() >= so_far)
                .await?;
        }
    }

    session.begin("drain");
    session.tcp.finish(0).await;
    let all = sent.len();
    session.until(Duration::from_secs(3), |history| history.said("recv").count() >= all).await?;
    session.stop(program).await?;

    session.begin("check");
    let got: Vec<String> = session.history.texts("recv", "body").map(str::to_owned).collect();
    let strange = got.iter().find(|body| !sent.contains(body));
    let shown =
        |body: &String| format!("`{}` ({} bytes)", body.chars().take(40).collect::<String>(), body.len());
    session.check(
        "whole",
        strange.is_none(),
        "every reported body is one that was sent",
        strange.map_or_else(String::new, |body| format!("the body {}, which was never sent", shown(body))),
    );
    let wrong = sent.iter().find(|body| got.iter().filter(|other| other == body).count() != 1);
    session.check(
        "complete",
        wrong.is_none(),
        format!("all {} messages once", sent.len()),
        wrong.map_or_else(String::new, |body| {
            format!(
                "{} was reported {} times",
                shown(body),
                got.iter().filter(|other| *other == body).count()
            )
        }),
    );
    let order: Vec<usize> =
        got.iter().filter_map(|body| sent.iter().position(|other| other == body)).collect();
    let late = order.windows(2).find(|pair| pair[0] > pair[1]);
    session.check(
        "in-order",
        late.is_none(),
        "the order in which they were sent",
        late.map_or_else(String::new, |pair| {
            format!("message {} after message {}", pair[1] + 1, pair[0] + 1)
        }),
    );
    Ok(())
}

fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}
