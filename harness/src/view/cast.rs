//! Who plays in a lab that is looked at, and what can be done to each.

use std::collections::BTreeMap;

use labs::catalog::{Entry, Pattern};
use labs::lab::Guarantee;

use crate::roles::protocol::Kind;

/// The most roles of a view.
pub(super) const MOST_ROLES: usize = 9;

/// One role.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its newest process.
    pub(super) number: usize,
    pub(super) kind: Kind,
    pub(super) index: usize,
    pub(super) state: State,
    pub(super) slow: bool,
}

/// What a role is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    There,
    Paused,
    Gone,
}

impl State {
    /// As the page reads it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::There => "there",
            Self::Paused => "paused",
            Self::Gone => "away",
        }
    }
}

/// The roles by their names.
pub(super) type Cast = BTreeMap<String, Member>;

/// Who is there from the beginning, in the order of joining: receivers come first, so that the first
/// message is not missed.
pub(super) fn first(pattern: Pattern) -> &'static [(Kind, usize)] {
    match pattern {
        Pattern::OneWay => &[(Kind::Receiver, 0), (Kind::Sender, 0)],
        Pattern::RequestReply => &[(Kind::Responder, 0), (Kind::Responder, 1), (Kind::Requester, 0)],
        Pattern::PubSub | Pattern::Durable => {
            &[(Kind::Publisher, 0), (Kind::Subscriber, 0), (Kind::Subscriber, 1)]
        }
        Pattern::Pipeline => &[(Kind::Sink, 0), (Kind::Ventilator, 0), (Kind::Worker, 0), (Kind::Worker, 1)],
        Pattern::Queue => &[(Kind::Producer, 0), (Kind::Consumer, 0), (Kind::Consumer, 1)],
    }
}

/// The kind of role that joins late. Where a receiver binds, there is one of it.
pub(super) fn joins(entry: &Entry) -> Kind {
    match entry.pattern {
        Pattern::OneWay => Kind::Sender,
        Pattern::RequestReply if entry.broker.is_none() => Kind::Requester,
        Pattern::RequestReply => Kind::Responder,
        Pattern::PubSub | Pattern::Durable => Kind::Subscriber,
        Pattern::Pipeline => Kind::Worker,
        Pattern::Queue => Kind::Consumer,
    }
}

/// Whether a role takes time for each message, and can be told how much.
pub(super) fn works(entry: &Entry, kind: Kind) -> bool {
    match kind {
        Kind::Responder | Kind::Worker | Kind::Consumer => true,
        Kind::Subscriber => entry.pattern == Pattern::Durable,
        _ => false,
    }
}

/// Whether a queue or a broker keeps messages until somebody has settled them.
pub(super) fn keeps(entry: &Entry) -> bool {
    entry.guarantee != Guarantee::AtMostOnce
}

/// What can be done to a role; `Err` says why not.
pub(super) type Possible = BTreeMap<&'static str, Result<(), String>>;

pub(super) fn possible(entry: &Entry, member: &Member) -> Possible {
    let name = member.kind;
    let alive = matches!(member.state, State::There | State::Paused);
    let there = || match member.state {
        State::Starting => Err("it is starting".to_owned()),
        State::Gone => Err("it is not there; restart it first".to_owned()),
        _ => Ok(()),
    };
    let process = || match entry.in_process() {
        true => Err(format!("the roles of {} are threads of one process", entry.name)),
        false => Ok(()),
    };
    let work = || match works(entry, name) {
        true => Ok(()),
        false if name.sends() => Err(format!("a {name} has no work to slow down")),
        false => Err(format!("a {name} only receives; pause it instead")),
    };
    let not = |so: bool, why: &str| if so { Err(why.to_owned()) } else { Ok(()) };
    let paused = member.state == State::Paused;
    [
        ("kill", there()),
        (
            "restart",
            not(alive, "it is there").and_then(|()| not(member.state == State::Starting, "it is starting")),
        ),
        ("pause", there().and_then(|()| process()).and_then(|()| not(paused, "it is paused"))),
        ("resume", not(!paused, "it is not paused")),
        ("slow", there().and_then(|()| work()).and_then(|()| not(member.slow, "it is slow already"))),
        ("quick", there().and_then(|()| work()).and_then(|()| not(!member.slow, "it is not slow"))),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use labs::catalog::entries;

    use super::*;

    #[test]
    fn what_cannot_be_done_has_a_reason() {
        let entries = entries();
        let of = |lab: &str| entries.iter().find(|entry| entry.name == lab).expect("a lab");
        let member = |kind, state| Member { number: 0, kind, index: 0, state, slow: false };
        let told = |lab: &str, kind, state, act: &str| match &possible(of(lab), &member(kind, state))[act] {
            Ok(()) => "yes".to_owned(),
            Err(why) => why.clone(),
        };
        for (lab, kind, state, act, expected) in [
            ("pubsub-redis", Kind::Subscriber, State::There, "kill", "yes"),
            (
                "pubsub-redis",
                Kind::Subscriber,
                State::There,
                "slow",
                "a subscriber only receives; pause it instead",
            ),
            ("pubsub-redis", Kind::Publisher, State::There, "slow", "a publisher has no work to slow down"),
            ("pubsub-redis", Kind::Subscriber, State::Gone, "kill", "it is not there; restart it first"),
            ("pubsub-redis", Kind::Subscriber, State::Gone, "restart", "yes"),
            ("pubsub-redis", Kind::Subscriber, State::Starting, "restart", "it is starting"),
            (
                "pubsub-inproc",
                Kind::Subscriber,
                State::There,
                "pause",
                "the roles of pubsub-inproc are threads of one process",
            ),
            ("pubsub-inproc", Kind::Subscriber, State::There, "kill", "yes"),
            ("queue-redis", Kind::Consumer, State::There, "slow", "yes"),
            ("queue-redis", Kind::Consumer, State::Paused, "resume", "yes"),
            ("durable-redis-stream", Kind::Subscriber, State::There, "slow", "yes"),
        ] {
            assert_eq!(told(lab, kind, state, act), expected, "{lab} {kind} {act}");
        }
    }
}
