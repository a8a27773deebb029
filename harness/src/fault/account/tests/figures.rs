//! Times and counts of runs that are made by hand.

use super::*;

fn pause_of_service() -> Observed {
    let mut observed = steady(AtLeastOnce, Queue);
    // Nothing passes from 1 s to 1.7 s; then one message each 0.1 ms, in order.
    let late = due(&mut observed, 1_000, 1_700);
    for (n, message) in late.enumerate() {
        let at = 1_700 * MS + n as u64 * MS / 10;
        message.confirmed = Some(at);
        message.receipts[0].at = at;
    }
    observed
}

#[test]
fn times_of_a_pause() {
    let times = account(&pause_of_service()).times;
    // Confirmed at 999 ms, and then at 1,700 ms.
    assert_eq!(times.without_service_ns, Some(701 * MS));
    // No role noticed: the message due at 1,000 ms missed its deadline of 100 ms.
    assert_eq!(times.detect_ns, Some(100 * MS));
    // Messages that were due from 1,698 ms + 1 ns on were as fast as before.
    assert_eq!(times.recover_ns, Some(198 * MS + 1));
    // 350 were due; the one that is due at 1,700 ms comes before the first leaves.
    assert_eq!(times.backlog, Some(351));
    assert_eq!(times.drain_ns, Some(234_900_000));
    // Somebody noticed earlier.
    let mut observed = pause_of_service();
    observed.events.push(event("producer-0", 1_030 * MS, EventKind::Noticed));
    observed.events.push(event("producer-0", 900 * MS, EventKind::Noticed));
    assert_eq!(account(&observed).times.detect_ns, Some(30 * MS));
}

#[test]
fn times_of_a_fault_that_is_not_felt_and_of_one_that_never_ends() {
    let times = account(&steady(AtLeastOnce, Queue)).times;
    assert_eq!((times.detect_ns, times.recover_ns), (None, Some(0)));
    assert_eq!((times.without_service_ns, times.backlog, times.drain_ns), (Some(2 * MS), Some(1), Some(0)));
    let mut observed = steady(AtLeastOnce, Queue);
    lose(&mut observed, 1_000, 9_000);
    unconfirm(&mut observed, 1_000, 9_000);
    let times = account(&observed).times;
    assert_eq!((times.without_service_ns, times.recover_ns), (None, None));
    let mut none = steady(AtLeastOnce, Queue);
    none.messages.clear();
    let empty = account(&none);
    assert_eq!((empty.times, empty.verdict), (crate::results::FaultTimes::default(), CannotTell));
}

#[test]
fn what_still_arrives_after_a_cut_is_not_service_that_is_back() {
    let mut observed = steady(AtLeastOnce, Queue);
    observed.injections = vec![injected("link-cut", BEGAN, BEGAN)];
    // One confirmation was in the socket; the next comes over a new connection, 60 ms later.
    for message in due(&mut observed, 1_002, 1_060) {
        message.confirmed = Some(message.due.max(1_062 * MS));
        message.receipts[0].at = 1_062 * MS;
    }
    assert_eq!(account(&observed).times.without_service_ns, Some(60 * MS));
}

#[test]
fn counts_and_where_losses_lie() {
    let mut observed = steady(Durable, Pattern::Durable);
    observed.receivers = 2;
    lose(&mut observed, 100, 110);
    lose(&mut observed, 1_200, 1_206);
    due(&mut observed, 2_000, 2_002).for_each(|message| message.receipts.truncate(1));
    unconfirm(&mut observed, 1_300, 1_302);
    lose(&mut observed, 1_300, 1_302);
    again(&mut observed, true);
    // The second subscriber has two in the wrong order.
    let later = observed.messages[800].receipts[1].at;
    observed.messages[799].receipts[1].at = later + 1;
    observed.events.push(event("consumer-0", HEALED, EventKind::Reconnected));
    let counts = account(&observed).counts;
    let lost = counts.confirmed_lost;
    assert_eq!((lost.beginning, lost.middle, lost.end, lost.total()), (10, 6, 1, 17));
    assert_eq!((counts.sent, counts.confirmed, counts.unconfirmed_lost), (1_500, 1_499, 2));
    assert_eq!(counts.received, 3_000 - 17 - 2);
    assert_eq!((counts.duplicated, counts.duplicated_marked, counts.reordered), (1, 1, 1));
    assert_eq!(counts.reconnects, 1);
}

#[test]
fn a_series_has_every_interval() {
    let series = account(&steady(AtLeastOnce, Queue)).series;
    assert_eq!(series.len(), 60);
    assert!(series.iter().all(|interval| interval.sent == 25));
    assert_eq!(series.iter().map(|interval| interval.received).sum::<u64>(), 1_500);
    assert_eq!((series[0].confirmed, series[1].confirmed), (25, 25));
}
