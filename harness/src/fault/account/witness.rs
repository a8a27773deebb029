//! The witness of a broken promise: one message, and what happened around it.

use labs::catalog::Pattern;

use super::deliveries::Delivery;
use super::observed::Observed;
use crate::results::{Received, Witness, WitnessStep};

/// The most events in a witness: those nearest to its message.
const MOST_EVENTS: usize = 60;

/// `what` says what the message proves.
pub(super) fn witness(observed: &Observed, delivery: &Delivery<'_>, what: String) -> Witness {
    let message = delivery.message;
    let step = |at: u64, what: String| WitnessStep { at, what };
    let mut steps = vec![step(message.due, "the message was due".to_owned())];
    steps.extend(
        message.sent.map(|at| step(at, format!("sender {} handed it to its client", message.producer))),
    );
    steps.extend(message.confirmed.map(|at| step(at, "it was confirmed".to_owned())));
    let receiver = receiver(observed.pattern);
    for Received { receiver: number, at, marked, acked } in &message.receipts {
        let again = if *marked { ", marked as a redelivery" } else { "" };
        steps.push(step(*at, format!("{receiver} {number} received it{again}")));
        steps.extend(acked.map(|at| step(at, format!("{receiver} {number} acknowledged it"))));
    }
    let mut events: Vec<_> = observed.events.iter().collect();
    events.sort_by_key(|event| event.at.abs_diff(message.due));
    for event in events.into_iter().take(MOST_EVENTS) {
        let detail = if event.detail.is_empty() { String::new() } else { format!(": {}", event.detail) };
        steps.push(step(event.at, format!("{} {}{detail}", event.who, event.what.as_str())));
    }
    steps.sort_by_key(|step| step.at);
    if delivery.receipts.is_empty() {
        let messages = observed.messages.iter();
        let last = messages.flat_map(|message| &message.receipts).map(|received| received.at).max();
        let end = steps.last().map_or(0, |step| step.at).max(last.unwrap_or_default());
        let whom = delivery.to.map_or(String::new(), |to| format!(" by {receiver} {to}"));
        steps.push(step(end, format!("the run was over, and it had not been received{whom}")));
    }
    Witness { what, message: message.clone(), steps }
}

/// The name of those who receive.
const fn receiver(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::OneWay => "receiver",
        Pattern::RequestReply => "requester",
        Pattern::PubSub | Pattern::Durable => "subscriber",
        Pattern::Pipeline => "sink",
        Pattern::Queue => "consumer",
    }
}
