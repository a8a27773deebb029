use labs::catalog::entries;

use super::*;
use crate::fault::SCORED;

fn entry(lab: &str) -> Entry {
    entries().into_iter().find(|entry| entry.name == lab).expect("a lab")
}

fn fault(name: &str) -> Fault {
    name.parse().expect("a fault")
}

/// One row for each kind of lab, one column for each scored fault: what its own guarantee covers.
/// `+`: covered, `-`: applies and is not covered, `.`: does not apply.
#[test]
fn what_each_guarantee_covers() {
    for (lab, expected) in [
        ("oneway-inproc", "........."),
        ("oneway-tcp", "++-+..+++"),
        ("oneway-redis", "++-++++++"),
        ("reqrep-tcp", "++++..+++"),
        ("reqrep-redis-stream", "++++-++++"),
        ("pubsub-tcp", "-+++..+++"),
        ("pubsub-redis", "+++++++++"),
        ("pipeline-tcp", "-+-+..+++"),
        ("pipeline-redis", "++-+-++++"),
        ("pipeline-redis-stream", "++-++++++"),
        ("queue-tcp", "-+++..+++"),
        ("queue-zeromq", "++++..+++"),
        ("queue-redis", "+++++++++"),
        ("queue-mqtt", "++++-++++"),
        ("durable-redis-stream", "+++++++++"),
        ("durable-mqtt", "++++-++++"),
    ] {
        let entry = entry(lab);
        let found: String = SCORED
            .iter()
            .map(|fault| match (why_not(*fault, &entry, BrokerSource::Private), &entry.guarantee) {
                (Some(_), _) => '.',
                (None, guarantee) if covered(*guarantee, *fault, &entry) == Covered::Yes => '+',
                (None, _) => '-',
            })
            .collect();
        assert_eq!(found, expected, "{lab}");
    }
}

#[test]
fn what_no_guarantee_covers_has_a_reason() {
    for (guarantee, name, lab, words) in [
        (Guarantee::AtMostOnce, "broker-kill", "pubsub-redis", Some("the only broker")),
        (Guarantee::AtLeastOnce, "broker-kill", "queue-redis", Some("the only broker")),
        (Guarantee::Durable, "broker-kill", "queue-redis", Some("the only broker")),
        (Guarantee::AtLeastOnce, "broker-restart", "queue-redis", Some("while what stores")),
        (Guarantee::Durable, "broker-restart", "queue-redis", None),
        (Guarantee::Durable, "sender-restart", "queue-tcp", None),
        (Guarantee::Durable, "sender-kill", "queue-tcp", Some("not started again")),
        (Guarantee::AtLeastOnce, "sender-restart", "queue-tcp", Some("while what stores")),
        (Guarantee::AtMostOnce, "receiver-kill", "oneway-tcp", Some("the only receiver")),
        (Guarantee::AtMostOnce, "worker-kill", "pipeline-tcp", None),
        (Guarantee::Durable, "worker-kill", "pipeline-jetstream", None),
        (Guarantee::Durable, "receiver-pause", "pipeline-jetstream", None),
        (Guarantee::Durable, "link-throttle", "queue-redis", None),
        (Guarantee::Durable, "disk-full", "queue-redis", Some("disk")),
        (Guarantee::AtMostOnce, "disk-full", "pubsub-redis", None),
    ] {
        let found = covered(guarantee, fault(name), &entry(lab));
        match (&found, words) {
            (Covered::Yes, None) => {}
            (Covered::No(reason), Some(words)) => assert!(reason.contains(words), "{name}: {reason}"),
            _ => panic!("{guarantee} {name} {lab}: {found:?}"),
        }
    }
    let entry = entry("queue-mqtt");
    let both = [fault("link-cut"), fault("broker-restart")];
    assert_eq!(covers_all(entry.guarantee, &both[..1], &entry), Covered::Yes);
    assert!(matches!(covers_all(entry.guarantee, &both, &entry), Covered::No(_)));
}

#[test]
fn what_does_not_apply_is_refused_with_what_does() {
    use BrokerSource::{Embedded, Private, Url};
    for (name, lab, source, words) in [
        ("broker-kill", "oneway-tcp", Private, "has no broker"),
        ("broker-kill", "queue-redis", Url, "not killed"),
        ("broker-pause", "queue-redis", Url, "not paused"),
        ("broker-restart", "queue-redis", Url, "not restarted"),
        ("worker-kill", "queue-redis", Private, "no workers"),
        ("disk-full", "queue-redis", Private, "file system of its own"),
    ] {
        let error = check_applies(fault(name), &entry(lab), source).expect_err(name).to_string();
        assert!(error.contains(words) && error.contains("link-cut, "), "{error}");
        assert!(!error.contains("The faults of") || !error.contains(&format!(" {name},")), "{error}");
    }
    for name in ["sender-kill", "link-cut", "receiver-pause"] {
        let error = check_applies(fault(name), &entry("queue-redis"), Url);
        assert!(error.is_ok(), "{name}");
        let error = check_applies(fault(name), &entry("pubsub-inproc"), Private).expect_err(name).to_string();
        assert!(error.contains("share one process") && error.contains("No fault applies"), "{error}");
    }
    assert!(check_applies(fault("broker-restart"), &entry("queue-mqtt"), Embedded).is_ok());
    assert!(check_applies(fault("worker-restart"), &entry("pipeline-tcp"), Private).is_ok());
}

#[test]
fn somebody_is_left_where_the_pattern_can_have_two() {
    for (name, lab, senders, receivers) in [
        ("receiver-kill", "queue-redis", 1, 2),
        ("receiver-kill", "pubsub-tcp", 1, 2),
        ("receiver-kill", "oneway-tcp", 1, 1),
        ("receiver-kill", "pipeline-tcp", 1, 1),
        ("worker-kill", "pipeline-tcp", 1, 2),
        ("sender-kill", "oneway-tcp", 2, 1),
        ("sender-kill", "pubsub-tcp", 1, 1),
        ("sender-kill", "pubsub-redis", 2, 1),
        ("sender-kill", "pipeline-redis", 1, 1),
        ("receiver-restart", "queue-redis", 1, 1),
        ("broker-kill", "queue-redis", 1, 1),
    ] {
        assert_eq!(shape(fault(name), &entry(lab)), Shape { senders, receivers }, "{name} {lab}");
    }
}
