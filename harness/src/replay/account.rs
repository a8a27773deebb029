//! What became of each message of a replay.

use std::collections::{BTreeMap, BTreeSet};

use labs::catalog::Pattern;
use labs::lab::Guarantee;
use serde::Serialize;

use super::model::{Replay, ReplayEvent, ReplayWhat, Side};

/// The state of a message at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It was received; a request: its reply was.
    Delivered,
    /// The subscriber was not there when it was sent, and nothing keeps it for that one.
    Missed,
    /// It was owed, and did not come.
    Lost,
    /// Somebody still holds it: it may come.
    Waiting,
}

/// One message and one receiver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Fate {
    /// The message.
    pub(crate) message: String,
    /// The receiver; empty where receivers share the messages and none got this one.
    pub(crate) to: String,
    /// What became of it.
    pub(crate) state: State,
    /// How often it was received there.
    pub(crate) attempts: u32,
}

/// The fates of all messages, by message and receiver.
pub(crate) fn fates(replay: &Replay) -> Vec<Fate> {
    let events = &replay.events;
    let mut sent: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events.iter().filter(|event| event.what == ReplayWhat::Sent) {
        if let Some(message) = &event.message {
            sent.entry(message).or_insert(event.at);
        }
    }
    // A request is delivered when its reply is there.
    let asks = replay.head.pattern.as_deref() == Some(Pattern::RequestReply.as_str());
    let answered: BTreeSet<&str> = events
        .iter()
        .filter(|event| event.what == ReplayWhat::Answered)
        .filter_map(|event| event.message.as_deref())
        .collect();
    let mut got: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for event in events.iter().filter(|event| event.what == ReplayWhat::Received) {
        if let Some(message) = &event.message {
            *got.entry((message, &event.lane)).or_default() += 1;
        }
    }
    let messages: BTreeSet<&str> =
        sent.keys().copied().chain(got.keys().map(|(message, _)| *message)).collect();
    let receivers: Vec<&str> =
        replay.lanes.iter().filter(|lane| lane.place == Side::To).map(|lane| lane.name.as_str()).collect();
    let mut fates = Vec::new();
    for message in messages {
        let fate = |to: &str, state, attempts| Fate {
            message: message.to_owned(),
            to: to.to_owned(),
            state,
            attempts,
        };
        let by: Vec<(&str, u32)> = got
            .range((message, "")..)
            .take_while(|((which, _), _)| *which == message)
            .map(|((_, lane), times)| (*lane, *times))
            .collect();
        let state = if asks && !answered.contains(message) { State::Waiting } else { State::Delivered };
        fates.extend(by.iter().map(|(lane, times)| fate(lane, state, *times)));
        if replay.is_fan_out() {
            let at = sent.get(message).copied().unwrap_or_default();
            let without = receivers.iter().filter(|lane| !by.iter().any(|(who, _)| who == *lane));
            fates.extend(without.map(|lane| fate(lane, not_received(replay, lane, at), 0)));
        } else if by.is_empty() {
            let nobody_keeps =
                replay.head.guarantee.as_deref() == Some(&*Guarantee::AtMostOnce.as_str().replace('-', " "));
            fates.push(match (asks, answered.contains(message)) {
                (true, true) => fate("", State::Delivered, 0),
                (false, _) if nobody_keeps => fate("", State::Lost, 0),
                _ => fate("", State::Waiting, 0),
            });
        }
    }
    fates.sort();
    fates
}

/// Why a subscriber has not received what was published at this time.
fn not_received(replay: &Replay, lane: &str, at: u64) -> State {
    let of_lane = |event: &&ReplayEvent| event.lane == lane;
    let joined = |event: &ReplayEvent| event.what == ReplayWhat::Joined;
    let gone = |event: &ReplayEvent| matches!(event.what, ReplayWhat::Left | ReplayWhat::Killed);
    let first = replay.events.iter().filter(of_lane).find(|event| joined(event)).map(|event| event.at);
    if replay.head.pattern.as_deref() == Some(Pattern::Durable.as_str()) {
        return match first {
            Some(first) if first <= at => State::Waiting,
            _ => State::Missed,
        };
    }
    let last = replay.events.iter().filter(of_lane).filter(|event| joined(event) || gone(event));
    match last.take_while(|event| event.at <= at).last() {
        Some(event) if joined(event) => State::Lost,
        _ => State::Missed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Head, Lane};
    use super::*;
    use ReplayWhat::{Answered, Joined, Killed, Received, Sent};

    fn replay(
        pattern: &str,
        guarantee: &str,
        lanes: &[&str],
        events: &[(u64, &str, ReplayWhat, &str)],
    ) -> Replay {
        let head =
            Head { pattern: Some(pattern.into()), guarantee: Some(guarantee.into()), ..Head::default() };
        let mut replay = Replay::new(head);
        lanes.iter().for_each(|lane| replay.lane(Lane::of_role(lane)));
        for (at, lane, what, message) in events {
            let event = ReplayEvent::new(*at, lane, *what);
            replay.events.push(if message.is_empty() { event } else { event.about_message(message) });
        }
        replay
    }

    fn told(replay: &Replay) -> Vec<String> {
        let one = |fate: Fate| format!("{} {} {:?} {}", fate.message, fate.to, fate.state, fate.attempts);
        fates(replay).into_iter().map(one).collect()
    }

    #[test]
    fn a_subscriber_misses_what_came_while_it_was_away() {
        let lanes = ["publisher-0", "subscriber-0", "subscriber-1"];
        let events = [
            (0, "subscriber-0", Joined, ""),
            (5, "publisher-0", Sent, "1"),
            (6, "subscriber-0", Received, "1"),
            (7, "subscriber-1", Joined, ""),
            (8, "subscriber-0", Killed, ""),
            (9, "publisher-0", Sent, "2"),
            (12, "subscriber-0", Joined, ""),
        ];
        let of = |pattern| told(&replay(pattern, "at most once", &lanes, &events));
        assert_eq!(
            of("pubsub"),
            [
                "1 subscriber-0 Delivered 1",
                "1 subscriber-1 Missed 0",
                "2 subscriber-0 Missed 0",
                "2 subscriber-1 Lost 0"
            ]
        );
        assert_eq!(
            of("durable")[1..],
            ["1 subscriber-1 Missed 0", "2 subscriber-0 Waiting 0", "2 subscriber-1 Waiting 0"]
        );
    }

    #[test]
    fn shared_messages_are_received_by_somebody_or_wait_or_are_lost() {
        let lanes = ["producer-0", "consumer-0", "consumer-1"];
        let events = [
            (1, "producer-0", Sent, "1"),
            (2, "consumer-0", Received, "1"),
            (3, "consumer-1", Received, "1"),
            (4, "producer-0", Sent, "2"),
        ];
        let of = |guarantee| told(&replay("queue", guarantee, &lanes, &events));
        assert_eq!(of("durable"), ["1 consumer-0 Delivered 1", "1 consumer-1 Delivered 1", "2  Waiting 0"]);
        assert_eq!(of("at most once")[2], "2  Lost 0");
        let events =
            [(1, "requester-0", Sent, "1"), (2, "responder-0", Received, "1"), (3, "requester-0", Sent, "2")];
        let mut asked = replay("reqrep", "at most once", &["requester-0", "responder-0"], &events);
        assert_eq!(told(&asked), ["1 responder-0 Waiting 1", "2  Waiting 0"], "no reply is there");
        asked.events.push(ReplayEvent::new(4, "requester-0", Answered).about_message("1"));
        assert_eq!(told(&asked), ["1 responder-0 Delivered 1", "2  Waiting 0"]);
    }
}
