//! Tests with recordings made by hand, whose true values are known.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::methods::{
    by_second, last_of_batches, lockstep, milliseconds, quantile, responses, samples, sorted,
    weighted_quantile,
};
use super::model::Sample;
use super::*;
use crate::measure::trace::{MessageTrace, Record};
use crate::results::{Counts, Host, Noise, Pause, Versions};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// The latency of a message without a pause, ns.
const CALM: u64 = 100_000;

fn record(sequence: u64, due: u64, received: Option<u64>) -> Record {
    Record { receiver: Some(0), producer: 0, sequence, due, sent: due, received }
}

/// A thousand messages a second for `seconds`; what is due in `stop` comes at
/// its end, 1 µs after the one before.
fn event(seconds: u64, stop: std::ops::Range<u64>) -> MessageTrace {
    let records = (0..seconds * 1_000).map(|n| {
        let due = n * MS;
        let waits = stop.contains(&due);
        let received = if waits { stop.end + (due - stop.start) / 1_000 } else { due + CALM };
        record(n, due, Some(received))
    });
    MessageTrace { records: records.collect(), cut: 0 }
}

/// What a sender makes of the same event that waits for each message.
fn in_lockstep(seconds: u64, stop: std::ops::Range<u64>) -> MessageTrace {
    let all = event(seconds, stop.clone()).records;
    let unsent = |due: u64| stop.contains(&due) && due != stop.start;
    MessageTrace { records: all.into_iter().filter(|record| !unsent(record.due)).collect(), cut: 0 }
}

fn recorded(seconds: f64) -> RecordedTrial {
    RecordedTrial {
        file: "a.csv".to_owned(),
        warmup_s: 0.0,
        seconds,
        counts: Counts::default(),
        paused: None,
        flags: Vec::new(),
    }
}

fn recordings() -> Recordings {
    let stop = 7 * SECOND..8 * SECOND;
    let runs: Vec<MessageTrace> = (1..=3)
        .map(|n| {
            let slow = |record: Record| Record { received: Some(record.due + n * CALM), ..record };
            MessageTrace { records: event(2, 0..0).records.into_iter().map(slow).collect(), cut: 0 }
        })
        .collect();
    let made = Made {
        created: "2026-11-24T00:00:00+00:00".to_owned(),
        host: Host::default(),
        versions: Versions { brokers: BTreeMap::new(), ..Versions::default() },
        noise: Noise::default(),
        lab: "pubsub-redis".to_owned(),
        size: 64,
        rate: 1000.0,
        pause: Pause { at_s: 7.0, for_s: 1.0 },
        open: recorded(15.0),
        closed: recorded(15.0),
        runs: vec![recorded(2.0); 3],
        flood: Flood {
            lab: "pubsub-zeromq".to_owned(),
            seconds: 2.0,
            counts: Counts { sent: 2_000_000, received: 500_000, lost: 1_500_000, ..Counts::default() },
            received_per_s: 250_000.0,
        },
    };
    Recordings { made, open: event(15, stop.clone()), closed: in_lockstep(15, stop), runs }
}

#[test]
fn each_view_says_what_it_must_of_a_known_event() {
    let views = recordings().views().expect("views").views;
    let of = |name: &str| {
        let view = views.iter().find(|view| view.name == name).expect("the view");
        (view.wrong.value, view.truth.value)
    };
    // 15,000 messages, of which 1,000 wait from 1 s down to 1 ms: 15 lie beyond
    // p99.9, 150 beyond p99. The message due n ms into the pause waits 1000 - n ms.
    let waits = |n: u64| SECOND - n * MS + n * 1_000;
    assert_eq!(of("closed-loop"), (CALM, waits(15)));
    // One in ten of the calm ones counts, as 1 ms: 1,400 of 2,400.
    assert_eq!(of("millisecond-clock"), (MS, CALM));
    // Fourteen seconds of 0.1 ms and one of 990 ms.
    assert_eq!(of("averaged-percentiles"), ((14 * CALM + waits(10)) / 15, waits(150)));
    assert_eq!(of("one-sample-a-batch"), (CALM, waits(150)));
    // The farthest by ratio: 1 of 2 is farther than 3 of 2.
    assert_eq!(of("single-run"), (CALM, 2 * CALM));
    assert_eq!(of("senders-rate"), (1_000_000, 250_000));
    let rate = views.last().expect("a view");
    assert!((rate.factor - 4.0).abs() < 1e-9, "{}", rate.factor);
}

#[test]
fn the_thinned_recording_is_what_a_lockstep_sender_would_have_sent() {
    let stop = 7 * SECOND..8 * SECOND;
    let open = samples(&event(15, stop.clone()), &recorded(15.0));
    let closed = samples(&in_lockstep(15, stop), &recorded(15.0));
    // Sent as the pause ends, nothing is outstanding again but what was not sent.
    assert_eq!(lockstep(&open), responses(&closed));
    // A sender in lockstep cannot tell: thinning what it sent takes nothing away.
    assert_eq!(lockstep(&closed), responses(&closed));
}

#[test]
fn cut_and_short_recordings_are_refused() {
    let mut cut = recordings();
    cut.open.cut = 7;
    assert!(cut.views().expect_err("refused").to_string().contains("7 entries"));
    let mut short = recordings();
    short.open.records.truncate(FEWEST - 1);
    assert!(short.views().expect_err("refused").to_string().contains("9999 messages"));
}

#[test]
fn only_what_was_due_in_the_measured_time_counts_and_only_once() {
    let records = vec![
        record(0, SECOND - 1, Some(SECOND)),
        record(1, SECOND, Some(SECOND + 5)),
        record(1, SECOND, Some(SECOND + 9)),
        record(2, SECOND + 1, None),
        record(3, 2 * SECOND, Some(2 * SECOND)),
    ];
    let second = RecordedTrial { warmup_s: 1.0, ..recorded(1.0) };
    let seen = samples(&MessageTrace { records, cut: 0 }, &second);
    assert_eq!(seen, [Sample { due: SECOND, sent: SECOND, received: SECOND + 5 }]);
}

#[test]
fn a_second_without_messages_has_no_percentile() {
    let at = |due: u64| Sample { due, sent: due, received: due + due / SECOND + 1 };
    let seen = [at(0), at(SECOND - 1), at(2 * SECOND)];
    assert_eq!(by_second(&seen, 0, 0.99), [1, 3]);
}

#[test]
fn a_batch_ends_where_the_receiver_waits() {
    let at = |due: u64, received: u64| Sample { due, sent: due, received };
    let together = [at(0, MS), at(1, MS + 99_999), at(2, 2 * MS), at(3, 3 * MS)];
    assert_eq!(last_of_batches(&together), [MS + 99_998, 2 * MS - 2, 3 * MS - 3]);
}

#[test]
fn pictures_and_page_are_drawn_of_every_view() {
    let recordings = recordings();
    let views = recordings.views().expect("views");
    let pictures = pictures(&recordings, &views).expect("pictures");
    assert_eq!(pictures.len(), 1 + views.views.len());
    let readme = views.readme();
    for (name, svg) in pictures {
        assert!(svg.starts_with("<svg") && svg.contains("prefers-color-scheme: dark"), "{name}");
        assert!(readme.contains(&format!("({name})")), "{name} is not shown");
    }
    assert!(readme.contains("\n## Averaged percentiles\n"), "{readme}");
}

proptest! {
    /// By its definition: the smallest value that so many do not exceed.
    #[test]
    fn a_quantile_is_the_smallest_value_that_enough_do_not_exceed(
        values in prop::collection::vec(0u64..100, 1..200), share in 0.001f64..1.0,
    ) {
        let values = sorted(values.into_iter());
        let found = quantile(&values, share);
        let reach = |limit: u64| values.iter().filter(|value| **value <= limit).count() as f64;
        let wanted = share * values.len() as f64 - 1e-9;
        prop_assert!(values.contains(&found) && reach(found) >= wanted);
        prop_assert!(values.iter().filter(|value| **value < found).all(|less| reach(*less) < wanted));
        // Where each counts once, weights change nothing.
        let weighted: Vec<(u64, f64)> = values.iter().map(|value| (*value, 1.0)).collect();
        prop_assert_eq!(weighted_quantile(&weighted, share), found);
    }

    /// No place of the ticks is left out: the mean of what all the clocks say is the
    /// time itself, and what is dropped is only what they take for zero.
    #[test]
    fn clocks_of_milliseconds_are_right_on_average(time in 0u64..10_000_000) {
        let seen = milliseconds(&[time]);
        let mean: f64 = seen.iter().map(|(ms, share)| *ms as f64 * 1e6 * share).sum();
        prop_assert!((mean - time as f64).abs() < 1e-3, "{mean}");
        let kept: f64 = seen.iter().map(|(_, share)| share).sum();
        prop_assert!((kept - (time as f64 / 1e6).min(1.0)).abs() < 1e-9);
    }

    /// What is kept never overlaps, and nothing that would have fitted is left out.
    #[test]
    fn lockstep_keeps_one_message_on_its_way(
        gaps in prop::collection::vec((1u64..50, 0u64..200), 1..100),
    ) {
        let mut due = 0;
        let seen: Vec<Sample> = gaps
            .into_iter()
            .map(|(gap, takes)| {
                due += gap;
                Sample { due, sent: due, received: due + takes }
            })
            .collect();
        let mut free = 0;
        let mut expected = Vec::new();
        while let Some(next) = seen.iter().find(|sample| sample.sent >= free) {
            expected.push(next.received - next.sent);
            // A message that takes no time makes room for the next, not for itself.
            free = next.received.max(next.sent + 1);
        }
        prop_assert_eq!(lockstep(&seen), sorted(expected.into_iter()));
    }
}
