use std::fs;
use std::path::Path;

use super::grid::grid;
use super::page::html;
use super::*;
use crate::results::{
    EventKind, FAULT_SCHEMA, FaultCounts, FaultEvent, FaultInterval, FaultRun, FaultSet, FaultTimes, Host,
    Injected, MessageFate, Positions, SCORED_FAULTS, Verdict, Versions, Witness, WitnessStep,
};

const MS: u64 = 1_000_000;

/// 500 messages a second for four seconds; nothing passes for a while after the fault.
fn series(away_ms: u64) -> Vec<FaultInterval> {
    let back = 20 + away_ms / 50;
    let interval = |n: u64| {
        let passing = if (20..back).contains(&n) { 0 } else { 25 };
        let burst = if n == back && away_ms > 0 { 25 * (back - 20) } else { 0 };
        FaultInterval { sent: 25, confirmed: passing + burst / 2, received: passing + burst }
    };
    (0..80).map(interval).collect()
}

fn run(lab: &str, guarantee: &str, fault: &str, verdict: Verdict) -> FaultRun {
    let (pattern, transport) = lab.split_once('-').expect("a lab");
    let length = if fault.contains("kill") || fault.contains("cut") { 0 } else { 500 };
    FaultRun {
        lab: lab.to_owned(),
        pattern: pattern.to_owned(),
        transport: transport.to_owned(),
        guarantee: guarantee.to_owned(),
        faults: vec![Injected {
            fault: fault.to_owned(),
            target: fault.split('-').next().map(|who| format!("{who}-0")).unwrap_or_default(),
            asked_ns: 1_000 * MS,
            began_ns: 1_000 * MS + 123_456,
            healed_ns: (1_000 + length) * MS + 123_456,
        }],
        seed: 1,
        rate_per_s: 500.0,
        size: 64,
        senders: 1,
        receivers: if fault == "receiver-kill" { 2 } else { 1 },
        command: format!("lab break {lab} --fault {fault} --seed 1"),
        times: FaultTimes {
            detect_ns: Some(1_200_000),
            without_service_ns: Some(640 * MS),
            recover_ns: (verdict != Verdict::CannotTell).then_some(140 * MS),
            backlog: Some(320),
            drain_ns: Some(151 * MS),
        },
        counts: FaultCounts {
            sent: 2_000,
            confirmed: 2_000,
            received: 2_000,
            reconnects: 2,
            ..FaultCounts::default()
        },
        series: series(640),
        verdict,
        why: match verdict {
            Verdict::Kept => "no confirmed message was lost",
            Verdict::Broke => "3 messages were confirmed and never received",
            Verdict::CannotTell => "nothing was confirmed during or after the fault",
            Verdict::NotPromised => "it holds while what stores the messages lives",
            Verdict::DoesNotApply => "its peers talk to each other directly",
        }
        .to_owned(),
        ..FaultRun::default()
    }
}

/// A lab that broke a promise, with its witness.
fn broken(lab: &str, fault: &str) -> FaultRun {
    let message = MessageFate {
        sequence: 499,
        due: 998 * MS,
        sent: Some(998 * MS + 60_000),
        confirmed: Some(998 * MS + 310_000),
        ..MessageFate::default()
    };
    let step = |at: u64, what: &str| WitnessStep { at, what: what.to_owned() };
    let mut run = run(lab, "durable", fault, Verdict::Broke);
    run.counts.received = 1_997;
    run.counts.confirmed_lost = Positions { beginning: 3, middle: 0, end: 0 };
    run.witness = Some(Witness {
        what: run.why.clone(),
        steps: vec![
            step(message.due, "the message was due"),
            step(998 * MS + 60_000, "sender 0 handed it to its client"),
            step(998 * MS + 310_000, "it was confirmed"),
            step(1_000 * MS + 123_456, "broker killed"),
            step(4_000 * MS, "the run was over, and it had not been received"),
        ],
        message,
    });
    run.events =
        vec![FaultEvent { at: 1, who: "broker".to_owned(), what: EventKind::Killed, detail: String::new() }];
    run
}

fn set(runs: Vec<FaultRun>) -> FaultSet {
    FaultSet {
        schema: FAULT_SCHEMA,
        host: Host { name: "quiet".to_owned(), cpu: "Some CPU".to_owned(), cores: 2, ..Host::default() },
        versions: Versions { lab: "0.1.0".to_owned(), profile: "release".to_owned(), ..Versions::default() },
        runs,
    }
}

fn small() -> FaultSet {
    set(vec![
        run("queue-redis", "durable", "link-cut", Verdict::Kept),
        broken("queue-redis", "broker-restart"),
        FaultRun { seed: 2, ..run("queue-redis", "durable", "broker-restart", Verdict::Kept) },
        run("oneway-tcp", "at-most-once", "link-cut", Verdict::CannotTell),
        FaultRun {
            series: Vec::new(),
            ..run("oneway-tcp", "at-most-once", "broker-restart", Verdict::DoesNotApply)
        },
        run("queue-mqtt", "at-least-once", "broker-restart", Verdict::NotPromised),
        run("queue-mqtt", "at-least-once", "link-delay", Verdict::Kept),
    ])
}

/// As large as a real one: every lab under every scored fault.
fn large() -> FaultSet {
    let labs = [
        ("oneway-tcp", "at-most-once"),
        ("oneway-redis", "at-most-once"),
        ("reqrep-zeromq-dealer", "at-most-once"),
        ("pubsub-nats", "at-most-once"),
        ("reqrep-redis-stream", "at-least-once"),
        ("pipeline-rabbitmq", "at-least-once"),
        ("queue-rabbitmq-quorum", "at-least-once"),
        ("queue-tcp", "durable"),
        ("queue-redis", "durable"),
        ("durable-jetstream", "durable"),
    ];
    let mut runs = Vec::new();
    for (row, (lab, guarantee)) in labs.into_iter().enumerate() {
        for (column, fault) in SCORED_FAULTS.into_iter().enumerate() {
            let verdict = match (fault.starts_with("broker"), lab.ends_with("tcp"), (row * 7 + column) % 13) {
                (true, true, _) => Verdict::DoesNotApply,
                (_, _, 5) => Verdict::Broke,
                (_, _, 9) => Verdict::CannotTell,
                (_, _, 11) => Verdict::NotPromised,
                _ => Verdict::Kept,
            };
            runs.push(run(lab, guarantee, fault, verdict));
            if fault == "link-cut" {
                let more = (2..=20).map(|seed| FaultRun {
                    seed,
                    ..run(lab, guarantee, fault, if seed == 7 && row == 3 { Verdict::Broke } else { verdict })
                });
                runs.extend(more);
            }
        }
    }
    set(runs)
}

#[test]
fn the_table_groups_labs_by_guarantee_and_leads_to_the_evidence() {
    insta::assert_snapshot!(table(&small(), "../results/faults/faults.html", "../docs").expect("a table"));
}

/// Without the pictures and the style.
#[test]
fn the_page_has_a_section_for_each_run() {
    let (html, _) = html(&small(), Some(DOCS)).expect("a page");
    let mut text = html;
    for (from, to) in [("<svg", "</svg>"), ("<style>", "</style>"), ("content=\"default-src", "\">")] {
        let mut from_at = 0;
        while let Some(start) = text[from_at..].find(from).map(|at| from_at + at) {
            let end = text[start..].find(to).map_or(text.len(), |at| start + at + to.len());
            text.replace_range(start..end, "…");
            from_at = start;
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn every_cell_leads_to_a_section_of_the_page() {
    let set = large();
    let (html, _) = html(&set, Some(DOCS)).expect("a page");
    let links = html.match_indices("href=\"#").map(|(at, found)| {
        let rest = &html[at + found.len()..];
        rest.split('"').next().unwrap_or_default().to_owned()
    });
    let links: Vec<String> = links.collect();
    assert_eq!(links.len(), 90);
    for link in links {
        assert_eq!(html.matches(&format!("id=\"{link}\"")).count(), 1, "{link}");
    }
    // In so large a set, a plot for each cell that ran and was not kept, and one scorecard; not one
    // for each of twenty seeds.
    let grid = grid(&set);
    let cells = grid.groups.iter().flat_map(|group| &group.rows).flat_map(|row| row.cells.iter().flatten());
    let plotted = cells.filter(|cell| !matches!(cell.verdict, Verdict::Kept | Verdict::DoesNotApply)).count();
    assert!(plotted > 10, "the fixture has some");
    assert_eq!(html.matches("<svg").count(), plotted + 1);
    for outside in ["src=", "<link", "@import", "url(", "<script"] {
        assert!(!html.contains(outside), "the page would load something: {outside}");
    }
}

#[test]
fn nothing_in_a_set_is_markup() {
    let evil = "x-<script>alert(1)</script>\"|`[a](b)";
    let mut bad = broken(evil, evil);
    let fields =
        [&mut bad.guarantee, &mut bad.why, &mut bad.command, &mut bad.pattern, &mut bad.faults[0].target];
    fields.into_iter().for_each(|field| *field = evil.to_owned());
    bad.guarantee_note = Some(evil.to_owned());
    if let Some(witness) = &mut bad.witness {
        witness.what = evil.to_owned();
        witness.steps[0].what = evil.to_owned();
    }
    let mut absent = run(evil, "durable", "link-tear", Verdict::DoesNotApply);
    absent.why = evil.to_owned();
    let mut set = set(vec![bad, absent]);
    (set.host.name, set.host.cpu, set.versions.lab) = (evil.to_owned(), evil.to_owned(), evil.to_owned());
    set.versions.git = Some(evil.to_owned());
    let (html, svg) = html(&set, Some(DOCS)).expect("a page");
    let table = table(&set, "faults.html", "../../docs").expect("a table");
    for text in [&html, &svg] {
        assert!(!text.contains("<script"), "markup of the set is in the page");
    }
    // In Markdown's code, nothing is markup.
    assert!(!table.replace("`x-<script>", "").contains("<script"), "{table}");
    assert!(!table.replace("[a](b)`", "").contains("[a](b)"), "{table}");
}

/// Left in `target/` to be looked at.
#[test]
fn a_large_set_is_drawn_into_its_folder() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/faults-example");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a folder");
    large().save(&dir).expect("written");
    let written = draw(&dir).expect("it draws");
    assert_eq!(written.len(), 3);
    for file in &written {
        assert!(fs::metadata(file).expect("it was written").len() > 1_000);
    }
    let first = fs::read(&written[0]).expect("the page");
    draw(&dir).expect("it draws again");
    assert!(first == fs::read(&written[0]).expect("the page"), "the same set gives the same page");
    // Two faults near each other, and one that is not in any list.
    let mut several = run("queue-redis", "durable", "broker-pause", Verdict::Kept);
    for (name, began, healed) in [("link-cut", 1_100, 1_100), ("receiver-restart", 1_700, 2_200)] {
        let (began_ns, healed_ns) = (began * MS, healed * MS);
        several.faults.push(Injected { fault: name.to_owned(), began_ns, healed_ns, ..Injected::default() });
    }
    let (alt, svg) = super::timeline::timeline(&several).expect("it draws").expect("a series");
    assert!(alt.contains("link-cut from 1.1\u{202f}s"), "{alt}");
    fs::write(dir.join("timeline.svg"), crate::report::canvas::standalone(&svg)).expect("written");
}

#[test]
fn an_empty_set_is_an_empty_page() {
    let (html, _) = html(&set(Vec::new()), Some(DOCS)).expect("a page");
    assert!(html.contains("0 labs, 0 faults, 0 runs; no promise was broken"));
    let nowhere = draw(Path::new("/nowhere")).expect_err("missing");
    assert!(format!("{nowhere:#}").contains("/nowhere"));
}
