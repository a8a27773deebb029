//! Messages as receivers expect them.

use super::observed::Observed;
use crate::results::{MessageFate, Received};

/// The time in which the faults were in effect, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) began: u64,
    pub(super) healed: u64,
}

impl Span {
    /// From the begin of the first fault to the end of the last; `None`: there was none.
    pub(super) fn of(observed: &Observed) -> Option<Self> {
        let began = observed.injections.iter().map(|injected| injected.began_ns).min()?;
        let healed = observed.injections.iter().map(|injected| injected.healed_ns).max()?;
        Some(Self { began, healed: healed.max(began) })
    }
}

/// One message, as one subscriber expects it; for other patterns, as the receivers expect it that
/// share all messages.
#[derive(Debug, Clone)]
pub(super) struct Delivery<'a> {
    pub(super) message: &'a MessageFate,
    /// The subscriber.
    pub(super) to: Option<u32>,
    /// In the order of time.
    pub(super) receipts: Vec<Received>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was received.
    Received,
    /// The sender never came to it.
    NotSent,
    /// The client said no.
    Refused,
    /// In flight when the sender was killed.
    Indeterminate,
    /// Missing when the drain failed.
    Unaccounted,
    /// Lost; whether it had been confirmed, and when.
    Lost(Option<u64>),
}

impl Delivery<'_> {
    /// When it was first received.
    pub(super) fn first(&self) -> Option<u64> {
        self.receipts.first().map(|received| received.at)
    }

    pub(super) fn fate(&self, drained: bool) -> Fate {
        let message = self.message;
        if !self.receipts.is_empty() {
            Fate::Received
        } else if message.refused {
            Fate::Refused
        } else if message.sent.is_none() && message.confirmed.is_none() {
            Fate::NotSent
        } else if message.indeterminate && message.confirmed.is_none() {
            Fate::Indeterminate
        } else if drained {
            Fate::Lost(message.confirmed)
        } else {
            Fate::Unaccounted
        }
    }
}

/// Every delivery that is expected, in the order of messages. Of a subscriber that was killed nothing
/// is expected; what it has received is listed too.
pub(super) fn deliveries(observed: &Observed) -> Vec<Delivery<'_>> {
    let mut all = Vec::new();
    for message in &observed.messages {
        let receipts = |wanted: Option<u32>| {
            let own = |received: &&Received| wanted.is_none_or(|wanted| received.receiver == wanted);
            let mut receipts: Vec<Received> = message.receipts.iter().filter(own).copied().collect();
            receipts.sort_by_key(|received| received.at);
            receipts
        };
        if !observed.pattern.is_fan_out() {
            all.push(Delivery { message, to: None, receipts: receipts(None) });
            continue;
        }
        for receiver in 0..observed.receivers {
            let delivery = Delivery { message, to: Some(receiver), receipts: receipts(Some(receiver)) };
            if !delivery.receipts.is_empty() || !observed.gone.contains(&receiver) {
                all.push(delivery);
            }
        }
    }
    all
}

/// A message, and when all receivers that expect it had it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Response {
    pub(super) due: u64,
    /// `None`: at least one of them never had it.
    pub(super) received: Option<u64>,
}

/// The responses of all messages, in the order in which they were due.
pub(super) fn responses(observed: &Observed, deliveries: &[Delivery<'_>]) -> Vec<Response> {
    let expected = |delivery: &&Delivery<'_>| delivery.to.is_none_or(|to| !observed.gone.contains(&to));
    let mut responses: Vec<Response> = deliveries
        .chunk_by(|a, b| std::ptr::eq(a.message, b.message))
        .map(|all| Response {
            due: all[0].message.due,
            received: all
                .iter()
                .filter(expected)
                .map(Delivery::first)
                .try_fold(0, |latest, first| Some(first?.max(latest)))
                // Nobody is left that expects it.
                .filter(|latest| *latest > 0),
        })
        .collect();
    responses.sort_by_key(|response| response.due);
    responses
}

/// When there was service: confirmations, or receipts where `confirmations` is not set. In order.
pub(super) fn services(deliveries: &[Delivery<'_>], confirmations: bool) -> Vec<u64> {
    let mut services: Vec<u64> = if confirmations {
        let mut messages = deliveries.to_vec();
        messages.dedup_by(|a, b| std::ptr::eq(a.message, b.message));
        messages.iter().filter_map(|delivery| delivery.message.confirmed).collect()
    } else {
        deliveries.iter().flat_map(|delivery| &delivery.receipts).map(|received| received.at).collect()
    };
    services.sort_unstable();
    services
}

/// The p99 of response before the fault, ns: of messages that were due and received by then. The
/// least value that 99 of 100 do not exceed.
pub(super) fn p99_before(responses: &[Response], span: Span) -> Option<u64> {
    let mut before: Vec<u64> = responses
        .iter()
        .filter_map(|response| Some((response.due, response.received?)))
        .filter(|(due, received)| *due < span.began && *received < span.began)
        .map(|(due, received)| received.saturating_sub(due))
        .collect();
    before.sort_unstable();
    let rank = (before.len() * 99).div_ceil(100);
    before.get(rank.checked_sub(1)?).copied()
}
