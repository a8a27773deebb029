//! What a recorder keeps, and in which order.

use super::*;

const MS: u64 = 1_000_000;

fn recorder(keep: Keep, probed: bool) -> Recorder {
    Recorder::new(Head { pattern: Some("pubsub".into()), ..Head::default() }, keep, probed, 100)
}

fn event(what: What, text: &str) -> Event {
    Event::new(what, text)
}

fn told(recorder: &Recorder) -> Vec<String> {
    let replay = recorder.replay();
    let one = |event: &ReplayEvent| {
        let message = event.message.as_deref().unwrap_or_default();
        format!("{} {:?} {message}", event.lane, event.what).trim_end().to_owned()
    };
    replay.events.iter().map(one).collect()
}

#[test]
fn reports_are_put_in_the_order_of_their_times() {
    let mut recorder = recorder(Keep::First, false);
    recorder.heard(100 + 2 * MS, "subscriber-0", &event(What::Received, "one"));
    recorder.heard(100 + MS, "publisher-0", &event(What::Written, "one"));
    recorder.release(100 + 3 * MS, false);
    assert!(told(&recorder).is_empty(), "both are too young");
    recorder.release(100 + SETTLE + 3 * MS, false);
    assert_eq!(told(&recorder), ["publisher-0 Sent one", "subscriber-0 Received one"]);
    recorder.heard(150, "publisher-0", &event(What::Written, "late"));
    recorder.release(0, true);
    let replay = recorder.replay();
    assert_eq!(replay.events[2].at, 2 * MS, "time does not go back");
}

#[test]
fn a_subscriber_that_is_probed_is_there_with_its_first_probe() {
    let mut recorder = recorder(Keep::First, true);
    recorder.joined(200, "subscriber-0");
    assert_eq!(recorder.waiting_for_probe().len(), 1);
    recorder.heard(300, "publisher-0", &event(What::Written, "probe-1"));
    recorder.heard(400, "subscriber-0", &event(What::Received, "probe-1"));
    recorder.heard(500, "subscriber-0", &event(What::Received, "probe-2"));
    recorder.release(0, true);
    assert!(recorder.waiting_for_probe().is_empty());
    assert_eq!(told(&recorder), ["subscriber-0 Joined"]);
    assert_eq!(recorder.replay().events[0].at, 300);
}

#[test]
fn a_connection_is_lost_and_open_again() {
    let mut recorder = recorder(Keep::First, false);
    recorder.heard(101, "publisher-0", &event(What::Incident, "the connection was lost: reset"));
    recorder.heard(102, "publisher-0", &event(What::Incident, "the connection is open again: …"));
    recorder.heard(103, "publisher-0", &event(What::Incident, "a message was skipped"));
    recorder.release(0, true);
    assert_eq!(
        told(&recorder),
        ["publisher-0 ConnectionLost", "publisher-0 Reconnected", "publisher-0 Note"]
    );
}

#[test]
fn results_and_replies_belong_to_their_messages() {
    let mut recorder = recorder(Keep::First, false);
    recorder.name("3 count", "3");
    recorder.heard(101, "ventilator-0", &event(What::Written, "3 count"));
    let result = Event { about: Some("3 count".into()), ..event(What::Written, "worker-0 did: 3 count") };
    recorder.heard(102, "worker-0", &result);
    recorder.heard(103, "sink-0", &event(What::Received, "worker-0 did: 3 count"));
    recorder.heard(104, "requester-0", &event(What::Requested, "why?"));
    let reply = Event { about: Some("why?".into()), ..event(What::Replied, "because") };
    recorder.heard(105, "responder-0", &reply);
    recorder.heard(106, "requester-0", &reply);
    recorder.release(0, true);
    assert_eq!(
        told(&recorder),
        [
            "ventilator-0 Sent 3",
            "worker-0 Sent 3r",
            "sink-0 Received 3r",
            "requester-0 Sent why?",
            "responder-0 Replied why?",
            "requester-0 Answered why?"
        ]
    );
    assert_eq!(recorder.replay().events[1].about.as_deref(), Some("3"));
}

#[test]
fn of_a_run_without_end_the_last_messages_are_kept() {
    let mut recorder = recorder(Keep::Last, false);
    for number in 0..500 {
        recorder.heard(100 + number, "publisher-0", &event(What::Written, &number.to_string()));
        recorder.heard(101 + number, "subscriber-0", &event(What::Received, &number.to_string()));
        recorder.release(0, true);
    }
    let replay = recorder.replay();
    assert_eq!((replay.counted, replay.events.len()), (300, 400));
    assert_eq!(recorder.numbers(), (600, 1_000));
    assert_eq!(replay.events[0].message.as_deref(), Some("300"));
}

#[test]
fn who_came_and_went_is_never_dropped() {
    let mut recorder = recorder(Keep::Last, false);
    recorder.joined(100, "subscriber-0");
    recorder.add(101, "lab", ReplayWhat::Note, "a remark");
    recorder.gone(102, "subscriber-0", ReplayWhat::Killed, "");
    for number in 0..300 {
        recorder.heard(103 + number, "publisher-0", &event(What::Written, &number.to_string()));
    }
    recorder.release(0, true);
    assert_eq!(told(&recorder)[..3], ["subscriber-0 Joined", "subscriber-0 Killed", "publisher-0 Sent 100"]);
}

#[test]
fn of_many_messages_those_are_drawn_that_something_happened_to() {
    let mut recorder = recorder(Keep::First, false);
    for number in 0..5_000_u64 {
        let text = number.to_string();
        recorder.heard(100 + number, "publisher-0", &event(What::Written, &text));
        if number != 3_000 {
            recorder.heard(101 + number, "subscriber-0", &event(What::Received, &text));
        }
    }
    recorder.release(0, true);
    let replay = recorder.replay();
    let sent = replay.events.iter().filter(|event| event.what == ReplayWhat::Sent).count();
    assert_eq!((sent, replay.counted), (MOST_MESSAGES, 4_800));
    assert!(replay.events.iter().any(|event| event.message.as_deref() == Some("3000")), "the lost one");
    assert!(replay.events.len() <= MOST_EVENTS);
}
