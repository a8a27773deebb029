//! A replay of a finished run under faults.

use labs::catalog::Entry;

use super::model::{Head, Lane, Replay, ReplayEvent, ReplayWhat};
use crate::results::{EventKind, FaultRun};
use crate::roles::protocol::kinds;

/// The replay of a run's event record: at most 200 messages, those at the fault first.
pub(crate) fn of_fault_run(run: &FaultRun, entry: &Entry) -> Replay {
    let title = format!("{} under {}: {}", run.lab, run.fault(), run.verdict);
    let mut replay = Replay::new(Head::of(entry, title, run.command.clone(), run.broker.clone()));
    replay.head.guarantee = Some(run.guarantee.replace('-', " "));
    let (first, last) = (kinds(entry.pattern)[0], kinds(entry.pattern)[kinds(entry.pattern).len() - 1]);
    // A request ends where it began: with its requester.
    let asks = entry.pattern == labs::catalog::Pattern::RequestReply;
    (0..run.senders).for_each(|index| replay.lane(Lane::of_role(&format!("{first}-{index}"))));
    let broker = run.broker.as_deref().and_then(|broker| broker.split(' ').next()).map(str::to_owned);
    if let Some(broker) = &broker {
        replay.lane(Lane::of_broker(broker));
    }
    let receivers = if entry.pattern == labs::catalog::Pattern::Pipeline { 1 } else { run.receivers };
    (0..receivers).for_each(|index| replay.lane(Lane::of_role(&format!("{last}-{index}"))));
    let joined = |lane: &Lane| ReplayEvent::new(0, &lane.name, ReplayWhat::Joined);
    let mut events: Vec<ReplayEvent> = replay.lanes.iter().map(joined).collect();
    for fate in &run.messages {
        let message = format!("{}.{}", fate.producer, fate.sequence);
        let sender = format!("{first}-{}", fate.producer);
        let event = |at, lane: &str, what| ReplayEvent::new(at, lane, what).about_message(&message);
        events.push(event(fate.due, &sender, ReplayWhat::Due));
        events.extend(fate.sent.map(|at| event(at, &sender, ReplayWhat::Sent)));
        events.extend(fate.confirmed.map(|at| event(at, &sender, ReplayWhat::Confirmed)));
        for receipt in &fate.receipts {
            let lane = if asks { sender.clone() } else { format!("{last}-{}", receipt.receiver) };
            let what = if asks { ReplayWhat::Answered } else { ReplayWhat::Received };
            let attempt = receipt.marked.then_some(2);
            events.push(ReplayEvent { attempt, ..event(receipt.at, &lane, what) });
            events.extend(receipt.acked.map(|at| event(at, &lane, ReplayWhat::Acked)));
        }
    }
    for event in &run.events {
        let is_broker = event.who == "broker";
        let lane = match (&broker, event.who.as_str()) {
            (Some(broker), "broker") => broker.as_str(),
            (_, "engine" | "link" | "broker") => "lab",
            (_, role) => role,
        };
        let what = match event.what {
            EventKind::Killed => ReplayWhat::Killed,
            EventKind::StartedAgain if is_broker => ReplayWhat::Started,
            EventKind::StartedAgain => ReplayWhat::Joined,
            EventKind::Paused => ReplayWhat::Paused,
            EventKind::Resumed => ReplayWhat::Resumed,
            EventKind::Noticed => ReplayWhat::ConnectionLost,
            EventKind::Reconnected => ReplayWhat::Reconnected,
            EventKind::Failed => ReplayWhat::Failed,
            EventKind::Began if event.detail.starts_with("link-cut") => ReplayWhat::Cut,
            EventKind::Began | EventKind::Healed | EventKind::Other => ReplayWhat::Note,
        };
        let text = match event.what {
            EventKind::Began => format!("fault began: {}", event.detail),
            EventKind::Healed => format!("fault over: {}", event.detail),
            _ => event.detail.clone(),
        };
        events.push(ReplayEvent::new(event.at, lane, what).saying(&text));
    }
    if let Some(witness) = &run.witness {
        let end = events.iter().map(|event| event.at).max().unwrap_or_default();
        events.push(ReplayEvent::new(end, "lab", ReplayWhat::Note).saying(&witness.what));
    }
    events.sort_by_key(|event| event.at);
    replay.events = events;
    let all = run.counts.sent;
    replay.counted = all.saturating_sub(run.messages.len() as u64);
    replay
}
