use labs::catalog::Pattern;
use labs::lab::Guarantee;

use super::*;
use crate::fault::Covered;
use crate::results::{EventKind, FaultEvent, Injected, MOST_MESSAGES, MessageFate, Received, Verdict};

mod figures;
mod naive;

const MS: u64 = 1_000_000;
const BEGAN: u64 = 1_000 * MS;
const HEALED: u64 = 1_500 * MS;

/// 500 messages a second for three seconds, each confirmed and received after 1 ms, and a pause of
/// the broker from 1 s to 1.5 s that does nothing.
fn steady(guarantee: Guarantee, pattern: Pattern) -> Observed {
    let receivers = if pattern.is_fan_out() { 2 } else { 1 };
    let message = |n: u64| {
        let due = n * 2 * MS;
        let receipt =
            |receiver| Received { receiver, at: due + MS, marked: false, acked: Some(due + 2 * MS) };
        MessageFate {
            sequence: n,
            due,
            sent: Some(due),
            confirmed: Some(due + MS),
            receipts: (0..receivers).map(receipt).collect(),
            ..MessageFate::default()
        }
    };
    Observed {
        guarantee,
        pattern,
        confirms: guarantee != Guarantee::AtMostOnce,
        covered: Covered::Yes,
        receivers,
        gone: Vec::new(),
        injections: vec![injected("broker-pause", BEGAN, HEALED)],
        messages: (0..1_500).map(message).collect(),
        events: vec![event("engine", BEGAN, EventKind::Began), event("engine", HEALED, EventKind::Healed)],
        failures: Vec::new(),
        drained: true,
    }
}

fn injected(fault: &str, began_ns: u64, healed_ns: u64) -> Injected {
    Injected { fault: fault.to_owned(), target: String::new(), asked_ns: began_ns, began_ns, healed_ns }
}

fn event(who: &str, at: u64, what: EventKind) -> FaultEvent {
    FaultEvent { at, who: who.to_owned(), what, detail: String::new() }
}

/// The messages that are due in a time, in ms.
fn due(observed: &mut Observed, from_ms: u64, to_ms: u64) -> impl Iterator<Item = &mut MessageFate> {
    observed.messages.iter_mut().filter(move |message| (from_ms * MS..to_ms * MS).contains(&message.due))
}

fn lose(observed: &mut Observed, from_ms: u64, to_ms: u64) {
    due(observed, from_ms, to_ms).for_each(|message| message.receipts.clear());
}

fn unconfirm(observed: &mut Observed, from_ms: u64, to_ms: u64) {
    due(observed, from_ms, to_ms).for_each(|message| message.confirmed = None);
}

/// One behaviour: what was changed of a steady run, and what is to be found.
type Case = (&'static str, Guarantee, Pattern, fn(&mut Observed), Verdict, &'static str);

use Guarantee::{AtLeastOnce, AtMostOnce, Durable};
use Pattern::{OneWay, PubSub, Queue, RequestReply};
use Verdict::{Broke, CannotTell, Kept, NotPromised};

const CASES: [Case; 32] = [
    ("nothing is felt", AtMostOnce, OneWay, |_| {}, Kept, "window"),
    ("nothing is felt", AtLeastOnce, Queue, |_| {}, Kept, "no confirmed message"),
    ("nothing is felt", Durable, Pattern::Durable, |_| {}, Kept, "no confirmed message"),
    ("losses in the window", AtMostOnce, OneWay, |o| lose(o, 950, 1_600), Kept, "window"),
    ("a loss long before", AtMostOnce, OneWay, |o| lose(o, 500, 502), Broke, "1 message was lost"),
    ("losses long after", AtMostOnce, OneWay, |o| lose(o, 2_000, 2_010), Broke, "5 messages were lost"),
    ("a subscriber's loss", AtMostOnce, PubSub, lose_of_second, Broke, "1 message was lost"),
    ("lost until it connected", AtMostOnce, PubSub, connects_late, Kept, "window"),
    ("comes twice", AtMostOnce, OneWay, |o| again(o, false), Broke, "1 message was received more"),
    ("comes twice", AtLeastOnce, Queue, |o| again(o, true), Kept, "no confirmed message"),
    (
        "a subscriber stays away",
        AtMostOnce,
        PubSub,
        second_is_away,
        Broke,
        "nothing was received by subscriber 1",
    ),
    ("a killed subscriber", AtMostOnce, PubSub, second_is_killed, Kept, "window"),
    ("nobody comes back", AtMostOnce, OneWay, |o| lose(o, 1_200, 9_000), CannotTell, "after the fault"),
    ("old ones alone come", AtMostOnce, OneWay, old_ones_come, Broke, "that was sent after the fault"),
    ("a role ends", AtMostOnce, OneWay, fails, Broke, "receiver-0 ended: reset"),
    ("no reply to some", AtMostOnce, RequestReply, |o| lose(o, 990, 1_520), Kept, "window"),
    ("refused ones are no losses", AtMostOnce, OneWay, refuses, Kept, "window"),
    (
        "a confirmed loss before",
        Durable,
        Queue,
        |o| lose(o, 900, 902),
        Broke,
        "1 message was confirmed and never",
    ),
    ("a confirmed loss in it", AtLeastOnce, Queue, |o| lose(o, 1_100, 1_104), Broke, "2 messages were"),
    ("a confirmed loss after", AtLeastOnce, Queue, |o| lose(o, 2_500, 2_502), Broke, "1 message was"),
    ("a durable subscriber's", Durable, Pattern::Durable, lose_of_second, Broke, "1 message was"),
    ("unconfirmed losses", AtLeastOnce, Queue, unconfirmed_losses, Kept, "no confirmed"),
    ("in flight at a kill", AtLeastOnce, Queue, in_flight, Kept, "no confirmed"),
    ("the drain fails", AtLeastOnce, Queue, drain_fails, CannotTell, "perhaps still stored"),
    ("the drain fails", AtMostOnce, OneWay, drain_fails, CannotTell, "outside"),
    (
        "nothing confirmed again",
        Durable,
        Queue,
        |o| unconfirm(o, 998, 9_000),
        CannotTell,
        "nothing was confirmed",
    ),
    ("little confirmed again", Durable, Queue, |o| unconfirm(o, 998, 2_980), CannotTell, "only 10 messages"),
    ("little before", Durable, Queue, |o| unconfirm(o, 0, 990), CannotTell, "before the fault"),
    ("a loss is found in little", Durable, Queue, loses_and_ends, Broke, "1 message was confirmed"),
    ("no promise", Durable, Queue, not_covered, NotPromised, "because"),
    ("the only sender is killed", AtLeastOnce, Queue, sender_is_killed, Kept, "no confirmed"),
    ("no fault", Durable, Queue, |o| o.injections.clear(), CannotTell, "no fault"),
];

fn lose_of_second(observed: &mut Observed) {
    due(observed, 500, 502).for_each(|message| message.receipts.truncate(1));
}

fn connects_late(observed: &mut Observed) {
    // One message came through at once, and the connection was lost after that.
    due(observed, 1_510, 1_700).for_each(|message| message.receipts.truncate(1));
    observed.events.push(event("subscriber-1", 1_710 * MS, EventKind::Reconnected));
}

fn again(observed: &mut Observed, marked: bool) {
    due(observed, 1_100, 1_102).for_each(|message| {
        message.receipts.push(Received { receiver: 0, at: 1_600 * MS, marked, acked: None });
    });
}

fn second_is_away(observed: &mut Observed) {
    due(observed, 1_100, 9_000).for_each(|message| message.receipts.truncate(1));
}

fn second_is_killed(observed: &mut Observed) {
    second_is_away(observed);
    observed.gone = vec![1];
}

fn old_ones_come(observed: &mut Observed) {
    due(observed, 1_400, 1_500).for_each(|message| message.receipts[0].at = 1_550 * MS);
    lose(observed, 1_500, 9_000);
}

fn fails(observed: &mut Observed) {
    observed.failures.push(("receiver-0".to_owned(), "reset".to_owned()));
}

fn refuses(observed: &mut Observed) {
    lose(observed, 2_000, 2_100);
    due(observed, 2_000, 2_100).for_each(|message| message.refused = true);
}

fn unconfirmed_losses(observed: &mut Observed) {
    lose(observed, 1_000, 1_300);
    unconfirm(observed, 1_000, 1_300);
}

fn in_flight(observed: &mut Observed) {
    unconfirmed_losses(observed);
    due(observed, 1_000, 1_300).for_each(|message| message.indeterminate = true);
}

fn drain_fails(observed: &mut Observed) {
    lose(observed, 2_000, 2_010);
    observed.drained = false;
}

fn loses_and_ends(observed: &mut Observed) {
    lose(observed, 900, 902);
    unconfirm(observed, 998, 9_000);
}

fn not_covered(observed: &mut Observed) {
    lose(observed, 0, 9_000);
    observed.covered = Covered::No("because".to_owned());
}

fn sender_is_killed(observed: &mut Observed) {
    observed.injections = vec![injected("sender-kill", BEGAN, BEGAN)];
    observed.messages.retain(|message| message.due < BEGAN);
}

#[test]
fn each_behaviour_gets_its_verdict() {
    for (name, guarantee, pattern, change, verdict, words) in CASES {
        let mut observed = steady(guarantee, pattern);
        change(&mut observed);
        let account = account(&observed);
        let what = format!("{name}, {guarantee}: {} ({})", account.verdict, account.why);
        assert_eq!(account.verdict, verdict, "{what}");
        assert!(account.why.contains(words), "{what}");
        assert_eq!(account.witness.is_some(), verdict == Broke, "{what}");
    }
}

/// A witness is the first message that proves it, with what was done around it, in order.
#[test]
fn a_witness_tells_the_message_and_what_was_done() {
    let mut observed = steady(Durable, Queue);
    lose(&mut observed, 1_100, 1_200);
    due(&mut observed, 1_102, 1_104).for_each(|message| message.confirmed = None);
    observed.messages.reverse();
    let witness = account(&observed).witness.expect("a witness");
    assert_eq!((witness.message.sequence, witness.message.due), (550, 1_100 * MS));
    let steps: Vec<(u64, &str)> =
        witness.steps.iter().map(|step| (step.at / MS, step.what.as_str())).collect();
    assert_eq!(
        steps,
        [
            (1_000, "engine fault began"),
            (1_100, "the message was due"),
            (1_100, "sender 0 handed it to its client"),
            (1_101, "it was confirmed"),
            (1_500, "engine fault over"),
            (2_999, "the run was over, and it had not been received"),
        ]
    );
    // Without the loss, a subscriber's receipts are told.
    let mut observed = steady(AtMostOnce, PubSub);
    again(&mut observed, true);
    let witness = account(&observed).witness.expect("a witness");
    let told = |words: &str| witness.steps.iter().any(|step| step.what.contains(words));
    assert!(told("subscriber 0 received it, marked as a redelivery") && told("subscriber 1 acknowledged it"));
}

#[test]
fn the_record_has_what_was_odd_and_what_was_near() {
    let mut observed = steady(AtLeastOnce, Queue);
    lose(&mut observed, 1_800, 1_820);
    let record = account(&observed).messages;
    assert_eq!(record.len(), MOST_MESSAGES);
    assert_eq!(record.iter().filter(|message| message.receipts.is_empty()).count(), 10);
    assert!(record.is_sorted_by_key(|message| message.due));
    let near = record.iter().filter(|message| message.due.abs_diff(BEGAN) <= 190 * MS).count();
    assert_eq!(near, 190);
    // Of many odd ones, only so many.
    lose(&mut observed, 0, 9_000);
    assert_eq!(account(&observed).messages.len(), MOST_MESSAGES);
    observed.messages.truncate(5);
    assert_eq!(account(&observed).messages.len(), 5);
}
