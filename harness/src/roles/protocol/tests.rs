//! Control lines survive being written and read, and strange ones are refused.

use super::*;
use serde::de::DeserializeOwned;

/// What is read of a line, written again; it must read the same. Some of a role's maps have an
/// order, so that texts can be compared.
fn again<T: Serialize + DeserializeOwned>(line: &[u8]) -> bool {
    let Ok(read) = serde_json::from_slice::<T>(line) else { return false };
    let written = serde_json::to_string(&read).expect("JSON");
    let read: T = serde_json::from_str(&written).expect("it reads what it writes");
    assert_eq!(serde_json::to_string(&read).expect("JSON"), written);
    true
}

#[test]
fn fuzz_role_lines() {
    let measure = Measure {
        accounts: "/dev/shm/a".into(),
        load: Load::rate(1000.0, crate::results::Arrivals::Poisson),
        size: 64,
        seed: 1,
        warmup_ns: 2,
        measure_ns: 3,
        window: Some(4),
        threads: false,
        record: true,
        lockstep: false,
    };
    let init = Init {
        lab: "oneway-tcp".to_owned(),
        kind: Kind::Sender,
        index: 0,
        senders: 1,
        receivers: 1,
        run: 7,
        name: "lab-1".to_owned(),
        address: None,
        knobs: [("batch".to_owned(), 64)].into(),
        bind: BTreeMap::new(),
        filter: Some("all".to_owned()),
        measure: Some(measure),
        brief: false,
        clock_ahead_ns: 0,
        restarted: true,
    };
    let text = "hello".into();
    let to = [
        ToRole::Init(Box::new(init)),
        ToRole::Peers { peers: [("tasks".to_owned(), vec!["127.0.0.1:1".to_owned()])].into() },
        ToRole::Go { start: 17 },
        ToRole::Command(RoleCommand::Say { text, topic: None }),
        ToRole::Command(RoleCommand::Auto { work_ms: 5 }),
        ToRole::Stop,
    ];
    let report = Report { series: vec![Interval::default()], span: Some((1, 2)), ..Report::default() };
    let from = [
        FromRole::Bound { namespace: String::new(), address: "127.0.0.1:1".to_owned() },
        FromRole::Done { sent: 3 },
        FromRole::Event(Event::new(What::Received, "hello")),
        FromRole::Report(Box::new(report)),
        FromRole::Failed { error: "lost".to_owned() },
    ];
    let json = |line: &dyn Fn() -> serde_json::Result<String>| line().expect("JSON");
    let to = to.iter().map(|line| json(&|| serde_json::to_string(line)));
    let from = from.iter().map(|line| json(&|| serde_json::to_string(line)));
    fuzz::Target::new("role_lines")
        .seeds(to.chain(from))
        .run(|input| again::<ToRole>(input) | again::<FromRole>(input));
}
