//! The event record: the messages that a reader wants to see.

use super::deliveries::Span;
use crate::results::{MOST_MESSAGES, MessageFate};

/// At most 200 messages: first those that were not simply received once, then those that were due
/// nearest to the fault's begin. In the order in which they were due.
pub(super) fn record(messages: &[MessageFate], span: Option<Span>) -> Vec<MessageFate> {
    let began = span.map_or(0, |span| span.began);
    let is_plain = |message: &MessageFate| message.receipts.len() == 1 && !message.refused;
    let mut chosen: Vec<&MessageFate> = messages.iter().collect();
    chosen.sort_by_key(|message| message.due.abs_diff(began));
    let (plain, odd): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|message| is_plain(message));
    // Half of the record shows what is normal.
    let odd_count = odd.len().min(MOST_MESSAGES - plain.len().min(MOST_MESSAGES / 2));
    let mut chosen: Vec<MessageFate> =
        odd[..odd_count].iter().chain(&plain).take(MOST_MESSAGES).map(|message| (*message).clone()).collect();
    chosen.sort_by_key(|message| (message.due, message.producer, message.sequence));
    chosen
}
