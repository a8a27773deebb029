//! Records a run while its roles report.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::model::{Head, Lane, MOST_MESSAGES, Replay, ReplayEvent, ReplayWhat};
use crate::roles::protocol::{Event, What};

/// Reports of several roles arrive in any order: they wait so long until they are put in the
/// order of their own times, ns.
const SETTLE: u64 = 40_000_000;
/// Messages of which everything is kept until the end of a run.
const MOST_KEPT: usize = 4_000;
/// The most events of a replay that is saved: as a file it must stay small.
const MOST_EVENTS: usize = 1_800;
/// How a role that is played by hand tells of its connection.
const LOST: &str = "the connection was lost";
const BACK: &str = "the connection is open again";
/// What the probes of a subscription begin with. They are not messages of the run.
pub(crate) const PROBE: &str = "probe";

/// Which messages are kept while a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The last 200: of a run that has no end, and is looked at meanwhile.
    Last,
    /// The first 4,000. In the end, those are chosen that something happened to.
    First,
}

/// Makes a [`Replay`].
#[derive(Debug)]
pub(crate) struct Recorder {
    replay: Replay,
    keep: Keep,
    /// Where the run began, ns of the clock.
    start: u64,
    /// A subscriber is there when it has received a probe, not when it says so.
    probed: bool,
    waits_for_probe: BTreeSet<String>,
    /// Not yet in order.
    pending: Vec<ReplayEvent>,
    /// In order, each with its number.
    events: Vec<(usize, ReplayEvent)>,
    /// The number of the next one.
    next: usize,
    /// All that were dropped have smaller numbers.
    dropped: usize,
    /// The messages of these events, oldest first.
    messages: VecDeque<String>,
    known: BTreeSet<String>,
    /// Short names of messages, by their texts.
    names: BTreeMap<String, String>,
    last: u64,
    /// Messages that senders have begun to send.
    sent: usize,
}

impl Recorder {
    pub(crate) fn new(head: Head, keep: Keep, probed: bool, start: u64) -> Self {
        Self {
            replay: Replay::new(head),
            keep,
            start,
            probed,
            waits_for_probe: BTreeSet::new(),
            pending: Vec::new(),
            events: Vec::new(),
            next: 0,
            dropped: 0,
            messages: VecDeque::new(),
            known: BTreeSet::new(),
            names: BTreeMap::new(),
            last: 0,
            sent: 0,
        }
    }

    pub(crate) fn lane(&mut self, lane: Lane) {
        self.replay.lane(lane);
    }

    /// From now on a message with this text has this short name.
    pub(crate) fn name(&mut self, text: &str, name: &str) {
        self.names.insert(text.to_owned(), name.to_owned());
    }

    /// The subscribers that still wait for a probe.
    pub(crate) fn waiting_for_probe(&self) -> &BTreeSet<String> {
        &self.waits_for_probe
    }

    /// How many messages senders have begun to send.
    pub(crate) const fn sent(&self) -> usize {
        self.sent
    }

    /// Something happens to a lane now, or happened at this time of the clock.
    pub(crate) fn add(&mut self, at: u64, lane: &str, what: ReplayWhat, text: &str) {
        let at = at.saturating_sub(self.start);
        self.pending.push(ReplayEvent::new(at, lane, what).saying(text));
    }

    /// The broker says how many messages it holds.
    pub(crate) fn depth(&mut self, at: u64, broker: &str, count: u64, asked: &str) {
        let at = at.saturating_sub(self.start);
        let event = ReplayEvent::new(at, broker, ReplayWhat::Depth).saying(asked);
        self.pending.push(ReplayEvent { count: Some(count), ..event });
    }

    /// A role has joined.
    pub(crate) fn joined(&mut self, at: u64, role: &str) {
        self.lane(Lane::of_role(role));
        if self.probed && role.starts_with("subscriber") {
            self.waits_for_probe.insert(role.to_owned());
        } else {
            self.add(at, role, ReplayWhat::Joined, "");
        }
    }

    /// A role is gone.
    pub(crate) fn gone(&mut self, at: u64, role: &str, what: ReplayWhat, text: &str) {
        self.waits_for_probe.remove(role);
        self.add(at, role, what, text);
    }

    /// What a role has reported.
    pub(crate) fn heard(&mut self, at: u64, role: &str, event: &Event) {
        let text = event.text.to_string();
        if text.starts_with(PROBE) && event.what != What::Failed {
            if event.what == What::Received && self.waits_for_probe.remove(role) {
                self.add(at, role, ReplayWhat::Joined, "");
            }
            return;
        }
        let Some((what, message)) = self.meaning(role, event, &text) else { return };
        let made = ReplayEvent::new(at.saturating_sub(self.start), role, what);
        let mut made = match &message {
            Some(message) => made.about_message(message),
            None => made,
        };
        // The text of a message is written once, where it is sent.
        if what == ReplayWhat::Sent || message.is_none() || what == ReplayWhat::Failed {
            made = made.saying(&text);
        }
        if what == ReplayWhat::Sent {
            self.sent += usize::from(!role.starts_with("worker"));
            made.topic.clone_from(&event.topic);
            made.about = event.about.as_deref().map(|about| self.named(about));
        }
        made.attempt = event.attempt.filter(|attempt| *attempt > 0);
        self.pending.push(made);
    }

    /// What an event means, and which message it is about.
    fn meaning(&self, role: &str, event: &Event, text: &str) -> Option<(ReplayWhat, Option<String>)> {
        let asks = role.starts_with("requester");
        let what = match event.what {
            What::Written | What::Sent => ReplayWhat::Sent,
            What::Requested if asks => ReplayWhat::Sent,
            What::Requested | What::Received => ReplayWhat::Received,
            What::Replied if asks => ReplayWhat::Answered,
            What::Replied => ReplayWhat::Replied,
            What::Confirmed => ReplayWhat::Confirmed,
            What::Acked | What::Finished => ReplayWhat::Acked,
            What::Nacked => ReplayWhat::Nacked,
            What::Effect => ReplayWhat::Done,
            What::Failed => ReplayWhat::Failed,
            What::ConnectionLost => ReplayWhat::ConnectionLost,
            What::Reconnected => ReplayWhat::Reconnected,
            What::Incident if text.starts_with(LOST) => ReplayWhat::ConnectionLost,
            What::Incident if text.starts_with(BACK) => ReplayWhat::Reconnected,
            What::Again | What::Incident | What::Ended => ReplayWhat::Note,
        };
        let message = match (what, &event.about) {
            (ReplayWhat::Replied | ReplayWhat::Answered | ReplayWhat::Failed, Some(about)) => {
                Some(self.named(about))
            }
            (ReplayWhat::Failed | ReplayWhat::ConnectionLost | ReplayWhat::Reconnected, _) => None,
            (ReplayWhat::Note, _) if event.what != What::Again => None,
            (ReplayWhat::Sent, Some(about)) => Some(format!("{}r", self.named(about))),
            _ => Some(self.named(text)),
        };
        Some((what, message))
    }

    /// The short name of a message. The result of a task has that of the task, with an `r`.
    fn named(&self, text: &str) -> String {
        if let Some(name) = self.names.get(text) {
            return name.clone();
        }
        match text.split_once(" did: ") {
            Some((worker, task)) if worker.starts_with("worker-") => format!("{}r", self.named(task)),
            _ => text.to_owned(),
        }
    }

    /// Puts in order what is old enough; with `all`, everything.
    pub(crate) fn release(&mut self, now: u64, all: bool) {
        let until = if all { u64::MAX } else { now.saturating_sub(self.start).saturating_sub(SETTLE) };
        let (mut ready, pending): (Vec<_>, Vec<_>) =
            self.pending.drain(..).partition(|event| event.at <= until);
        self.pending = pending;
        // Of one time, in the order in which they came.
        ready.sort_by_key(|event| event.at);
        for mut event in ready {
            // One that comes much too late stands where it is heard.
            event.at = event.at.max(self.last);
            self.last = event.at;
            if self.keeps(&event) {
                self.events.push((self.next, event));
                self.next += 1;
            }
        }
        while self.keep == Keep::Last && self.messages.len() > MOST_MESSAGES {
            self.drop_oldest();
        }
    }

    /// Whether an event is kept; notes the messages that are new.
    fn keeps(&mut self, event: &ReplayEvent) -> bool {
        let Some(message) = &event.message else { return true };
        if self.known.contains(message) {
            return true;
        }
        if event.what != ReplayWhat::Sent && event.what != ReplayWhat::Received {
            // Of a message that is counted only, or a failure before it was sent.
            return event.what == ReplayWhat::Failed;
        }
        if self.keep == Keep::First && self.messages.len() >= MOST_KEPT {
            self.replay.counted += u64::from(event.what == ReplayWhat::Sent);
            return false;
        }
        self.known.insert(message.clone());
        self.messages.push_back(message.clone());
        true
    }

    /// Drops the oldest message, and remarks that are older than the next one. Who came and went
    /// stays: it says who is there now.
    fn drop_oldest(&mut self) {
        let Some(oldest) = self.messages.pop_front() else { return };
        self.known.remove(&oldest);
        self.names.retain(|_, name| *name != oldest);
        self.replay.counted += 1;
        let next = self.messages.front();
        let next = self
            .events
            .iter()
            .position(|(_, event)| event.message.is_some() && event.message.as_ref() == next);
        let (next, dropped) = (next.unwrap_or(0), &mut self.dropped);
        let mut at = 0;
        self.events.retain(|(number, event)| {
            at += 1;
            let remark = matches!(event.what, ReplayWhat::Depth | ReplayWhat::Note) && at <= next;
            let drop = event.message.as_ref() == Some(&oldest) || remark;
            if drop {
                *dropped = (*dropped).max(number + 1);
            }
            !drop
        });
    }

    /// The number behind the last event that was dropped, and that of the next one to come.
    pub(crate) const fn numbers(&self) -> (usize, usize) {
        (self.dropped, self.next)
    }

    /// The events that are there, with their numbers.
    pub(crate) fn events(&self) -> &[(usize, ReplayEvent)] {
        &self.events
    }

    /// The replay without its events.
    pub(crate) const fn head(&self) -> &Replay {
        &self.replay
    }

    /// The replay so far.
    pub(crate) fn replay(&self) -> Replay {
        let mut replay = self.replay.clone();
        replay.events = self.events.iter().map(|(_, event)| event.clone()).collect();
        replay.thinned(MOST_MESSAGES, MOST_EVENTS)
    }
}

#[cfg(test)]
mod tests;
