//! What became of every message of a run under faults, from the files that its roles kept.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::measure::account::{Bitmap, Set};
use crate::measure::trace::{MARKED, Subject, TraceFile, of_key};
use crate::results::{MessageFate, Received};

/// Whose files are read.
pub(super) struct Roles<'a> {
    /// The folder of the accounts.
    pub(super) accounts: &'a Path,
    /// The names of the senders, by number.
    pub(super) senders: &'a [String],
    /// The names of the receivers, by number.
    pub(super) receivers: &'a [String],
}

/// Every message that a sender has accounted for, in the order of senders and sequence numbers.
/// Times are ns from the common start. `killed` says when senders were killed, by their number:
/// what such a sender had sent and nobody had confirmed is indeterminate.
///
/// # Errors
/// When a file is there and cannot be read.
pub(super) fn gather(roles: &Roles<'_>, killed: &[(u32, u64)]) -> Result<Vec<MessageFate>> {
    let mut receipts: BTreeMap<(u32, u64), Vec<Received>> = BTreeMap::new();
    for (receiver, role) in (0..).zip(roles.receivers) {
        let Some(file) = TraceFile::existing(roles.accounts, role, Subject::Receipts)? else { continue };
        let mut acks: BTreeMap<(u32, u64), u64> = BTreeMap::new();
        if let Some(acked) = TraceFile::existing(roles.accounts, role, Subject::Acks)? {
            acks.extend(acked.entries().map(|(key, at)| (of_key(key), at)));
        }
        for (key, at) in file.entries() {
            let message = of_key(key);
            // One that came again before it was acked was acked once, at its last receipt.
            let acked = acks.get(&message).copied().filter(|acked| *acked >= at);
            let receipt = Received { receiver, at, marked: key & MARKED != 0, acked };
            receipts.entry(message).or_default().push(receipt);
        }
    }
    let mut messages = Vec::new();
    for (producer, role) in (0..).zip(roles.senders) {
        let Some(sends) = TraceFile::existing(roles.accounts, role, Subject::Sends)? else { continue };
        let refused = Bitmap::existing(roles.accounts, role, Set::Refused, producer as usize)?;
        let mut confirms: BTreeMap<u64, u64> = BTreeMap::new();
        if let Some(file) = TraceFile::existing(roles.accounts, role, Subject::Confirms)? {
            confirms.extend(file.entries());
        }
        for (sequence, (due, sent)) in (0..).zip(sends.entries()) {
            let mut receipts = receipts.remove(&(producer, sequence)).unwrap_or_default();
            receipts.sort_by_key(|receipt| receipt.at);
            let confirmed = confirms.get(&sequence).copied();
            let in_flight = |(who, at): &(u32, u64)| *who == producer && sent <= *at;
            messages.push(MessageFate {
                producer,
                sequence,
                due,
                // A message that was counted and not noted: its sender was killed in between.
                sent: (sent > 0).then_some(sent),
                confirmed,
                refused: refused.as_ref().is_some_and(|refused| refused.contains(sequence)),
                indeterminate: confirmed.is_none() && receipts.is_empty() && killed.iter().any(in_flight),
                receipts,
            });
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::account;
    use crate::measure::trace::key;

    #[test]
    fn what_was_noted_is_put_together() {
        let dir = account::new_dir().expect("a folder");
        let accounts = dir.path();
        let note = |role: &str, subject, pairs: &[(u64, u64)]| {
            let file = TraceFile::open(accounts, role, subject).expect("a file");
            pairs.iter().for_each(|pair| file.note(*pair));
        };
        note("p-0", Subject::Sends, &[(1, 2), (11, 12), (21, 22), (31, 32)]);
        note("p-0", Subject::Confirms, &[(0, 5), (1, 15)]);
        note("c-0", Subject::Receipts, &[(key(0, 0), 7)]);
        note("c-0", Subject::Acks, &[(key(0, 0), 8)]);
        note("c-1", Subject::Receipts, &[(key(0, 1), 17), (key(0, 1) | MARKED, 19)]);
        note("c-1", Subject::Acks, &[(key(0, 1), 20)]);
        Bitmap::open(accounts, "p-0", Set::Refused, 0).expect("a set").insert(3);
        let [senders, receivers] = [vec!["p-0".to_owned()], vec!["c-0".to_owned(), "c-1".to_owned()]];
        let roles = Roles { accounts, senders: &senders, receivers: &receivers };
        let messages = gather(&roles, &[(0, 25)]).expect("messages");
        let receipt = |receiver, at, marked, acked| Received { receiver, at, marked, acked };
        assert_eq!(messages.len(), 4);
        assert_eq!(messages[0].receipts, [receipt(0, 7, false, Some(8))]);
        assert_eq!(messages[1].confirmed, Some(15));
        assert_eq!(messages[1].receipts, [receipt(1, 17, false, Some(20)), receipt(1, 19, true, Some(20))]);
        assert!(messages[2].indeterminate && messages[2].receipts.is_empty());
        assert!(messages[3].refused && !messages[3].indeterminate);
    }
}
