//! A replay as a log for ShiViz, which draws space-time diagrams from vector clocks.
//!
//! The first line of the file is the regular expression that reads an event, the second one the
//! expression that separates runs; ShiViz takes both from there. An event has two lines: the role
//! with its vector clock, then the text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use labs::printable::printable;

use super::model::{Replay, ReplayEvent, ReplayWhat};

/// How ShiViz is to read an event, and where a run begins.
pub(super) const HEADER: &str = "(?<host>\\S*) (?<clock>{.*})\\n(?<event>.*)\n^=== (?<trace>.*) ===$\n";

type Clock = BTreeMap<String, u64>;

/// The events of one run.
pub(super) fn log(replay: &Replay) -> String {
    let mut log = format!("=== {} ===\n", one_line(&replay.head.title));
    let mut clocks: BTreeMap<&str, Clock> = BTreeMap::new();
    let mut sent: BTreeMap<(&str, bool), Clock> = BTreeMap::new();
    for event in &replay.events {
        let lane = event.lane.as_str();
        let mut clock = clocks.remove(lane).unwrap_or_default();
        let message = event.message.as_deref();
        // A reply goes the other way than its request.
        let back = matches!(event.what, ReplayWhat::Replied | ReplayWhat::Answered);
        if let (ReplayWhat::Received | ReplayWhat::Answered, Some(message)) = (event.what, message)
            && let Some(cause) = sent.get(&(message, back))
        {
            for (who, count) in cause {
                let known = clock.entry(who.clone()).or_default();
                *known = (*known).max(*count);
            }
        }
        *clock.entry(lane.to_owned()).or_default() += 1;
        if let (ReplayWhat::Sent | ReplayWhat::Replied, Some(message)) = (event.what, message) {
            sent.entry((message, back)).or_insert_with(|| clock.clone());
        }
        // Writing to a `String` cannot fail, nor can a map of numbers be no JSON.
        let json = serde_json::to_string(&clock).unwrap_or_default();
        let _ = writeln!(log, "{} {json}\n{}", lane.replace(char::is_whitespace, "_"), words(event));
        clocks.insert(lane, clock);
    }
    log
}

fn words(event: &ReplayEvent) -> String {
    let what = serde_json::to_value(event.what).ok();
    let mut words = what.as_ref().and_then(|what| what.as_str()).unwrap_or_default().to_owned();
    if let Some(message) = &event.message {
        words.push_str(&format!(" {message}"));
    }
    if let Some(attempt) = event.attempt.filter(|attempt| *attempt > 1) {
        words.push_str(&format!(" (delivery {attempt})"));
    }
    if let Some(count) = event.count {
        words.push_str(&format!(" {count}"));
    }
    if let Some(text) = &event.text {
        words.push_str(&format!(": {text}"));
    }
    format!("{} at {:.3} ms", one_line(&words), event.at as f64 / 1e6)
}

fn one_line(text: &str) -> String {
    printable(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::super::model::Head;
    use super::*;

    #[test]
    fn what_is_received_knows_what_its_sender_knew() {
        let mut replay = Replay::new(Head { title: "two\nlines".into(), ..Head::default() });
        let event =
            |at, lane: &str, what, message: &str| ReplayEvent::new(at, lane, what).about_message(message);
        replay.events = vec![
            event(1_000_000, "requester-0", ReplayWhat::Sent, "1"),
            event(2_000_000, "responder-0", ReplayWhat::Received, "1"),
            event(3_000_000, "responder-0", ReplayWhat::Replied, "1"),
            event(4_000_000, "requester-0", ReplayWhat::Answered, "1"),
        ];
        replay.events[0].text = Some("a\nb\u{1b}[31m".into());
        insta::assert_snapshot!(format!("{HEADER}{}", log(&replay)), @r#"
        (?<host>\S*) (?<clock>{.*})\n(?<event>.*)
        ^=== (?<trace>.*) ===$
        === two lines ===
        requester-0 {"requester-0":1}
        sent 1: a b\u{1b}[31m at 1.000 ms
        responder-0 {"requester-0":1,"responder-0":1}
        received 1 at 2.000 ms
        responder-0 {"requester-0":1,"responder-0":2}
        replied 1 at 3.000 ms
        requester-0 {"requester-0":2,"responder-0":2}
        answered 1 at 4.000 ms
        "#);
    }
}
