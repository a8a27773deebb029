//! Counts of messages, and their number in each interval.

use std::collections::BTreeMap;

use super::deliveries::{Delivery, Fate, Span};
use super::observed::Observed;
use crate::results::{EventKind, FAULT_INTERVAL_NS, FaultCounts, FaultInterval};

/// The most intervals of a series: a quarter of an hour.
const MOST_INTERVALS: usize = 18_000;

pub(super) fn counts(observed: &Observed, deliveries: &[Delivery<'_>], span: Option<Span>) -> FaultCounts {
    let messages = &observed.messages;
    let reconnects = observed.events.iter().filter(|event| event.what == EventKind::Reconnected);
    let mut counts = FaultCounts {
        sent: messages.iter().filter(|message| message.sent.is_some()).count() as u64,
        confirmed: messages.iter().filter(|message| message.confirmed.is_some()).count() as u64,
        refused: messages.iter().filter(|message| message.refused).count() as u64,
        reconnects: reconnects.count() as u64,
        reordered: reordered(deliveries),
        ..FaultCounts::default()
    };
    for delivery in deliveries {
        match delivery.fate(observed.drained) {
            Fate::Received => counts.received += 1,
            Fate::NotSent | Fate::Refused => {}
            Fate::Indeterminate => counts.indeterminate += 1,
            Fate::Unaccounted => counts.unaccounted += 1,
            Fate::Lost(None) => counts.unconfirmed_lost += 1,
            Fate::Lost(Some(confirmed)) => {
                let lost = &mut counts.confirmed_lost;
                match span {
                    Some(span) if confirmed < span.began => lost.beginning += 1,
                    Some(span) if confirmed > span.healed => lost.end += 1,
                    _ => lost.middle += 1,
                }
            }
        }
        let again = delivery.receipts.iter().skip(1);
        counts.duplicated += again.clone().count() as u64;
        counts.duplicated_marked += again.filter(|received| received.marked).count() as u64;
    }
    counts
}

/// First receipts that came after that of a later message of the same sender, at the same receiver.
fn reordered(deliveries: &[Delivery<'_>]) -> u64 {
    // By receiver and sender, in the order of time.
    let mut firsts: BTreeMap<(u32, u32), Vec<(u64, u64)>> = BTreeMap::new();
    for delivery in deliveries {
        if let Some(first) = delivery.receipts.first() {
            let message = delivery.message;
            let key = (first.receiver, message.producer);
            firsts.entry(key).or_default().push((first.at, message.sequence));
        }
    }
    let late = |mut receipts: Vec<(u64, u64)>| {
        receipts.sort_unstable();
        let mut latest = 0;
        let overtaken = receipts.into_iter().filter(|(_, sequence)| {
            let late = *sequence < latest;
            latest = latest.max(*sequence);
            late
        });
        overtaken.count() as u64
    };
    firsts.into_values().map(late).sum()
}

/// What each interval saw.
pub(super) fn series(observed: &Observed) -> Vec<FaultInterval> {
    let mut series: Vec<FaultInterval> = Vec::new();
    let mut add = |at: u64, count: fn(&mut FaultInterval)| {
        let index = (at / FAULT_INTERVAL_NS) as usize;
        if index < MOST_INTERVALS {
            if series.len() <= index {
                series.resize(index + 1, FaultInterval::default());
            }
            count(&mut series[index]);
        }
    };
    for message in &observed.messages {
        message.sent.into_iter().for_each(|at| add(at, |interval| interval.sent += 1));
        message.confirmed.into_iter().for_each(|at| add(at, |interval| interval.confirmed += 1));
        message.receipts.iter().for_each(|received| add(received.at, |interval| interval.received += 1));
    }
    series
}
