use super::*;
use crate::report::cases_of_tests as build;
use crate::results::{Arrivals, Flag, Load, Widening};

fn rate() -> Load {
    Load::rate(1_000.0, Arrivals::Constant)
}

/// Two runs with one lab, which is so much faster and its p99 so much longer in the second.
fn pair(change: impl FnOnce(&mut Run, &mut Run)) -> Diff {
    let [mut a, mut b] = [1.0, 2.0].map(|factor| {
        let mut run = build::run();
        run.cells.push(build::measured("oneway-tcp", Load::max(), 1e6 * factor));
        run.cells.push(build::measured("oneway-tcp", rate(), 200_000.0 * factor));
        run
    });
    change(&mut a, &mut b);
    let [a, b] =
        [(a, 1), (b, 1_000)].map(|(run, from)| Measured { figures: build::figures(&run, from), run });
    diff(&a, &b).expect("they are compared")
}

#[track_caller]
fn verdicts(diff: &Diff, expected: &[(Figure, Verdict)]) {
    let found: Vec<(Figure, Verdict)> = diff.compared.iter().map(|one| (one.figure, one.verdict)).collect();
    assert_eq!(found, expected);
}

const ALL_DIFFER: [(Figure, Verdict); 5] = [
    (Figure::Throughput, Verdict::Better),
    (Figure::Cpu, Verdict::Better),
    (Figure::P50, Verdict::Worse),
    (Figure::P99, Verdict::Worse),
    (Figure::Cpu, Verdict::Better),
];

#[test]
fn more_is_better_for_messages_and_worse_for_times() {
    let found = pair(|_, _| {});
    verdicts(&found, &ALL_DIFFER);
    let ratio = found.compared[0].ratio.expect("an interval");
    assert!((ratio.median - 2.0).abs() < 0.01 && ratio.low > 1.9 && ratio.high < 2.1, "{ratio:?}");
    assert!(found.differs.is_empty(), "{:?}", found.differs);
    // The other way round, everything is the other way round.
    let back = pair(std::mem::swap);
    assert!((back.compared[0].ratio.expect("an interval").median - 0.5).abs() < 0.01);
    assert_eq!((back.better, back.worse), (2, 3));
}

#[test]
fn it_cannot_tell_where_nothing_can_be_told() {
    let cannot = |change: fn(&mut Run, &mut Run), why: &str| {
        let found = pair(change);
        let one = &found.compared[0];
        assert_eq!(one.verdict, Verdict::CannotTell, "{one:?}");
        let explained = one.notes.iter().any(|note| note.contains(why));
        assert_eq!(explained, !why.is_empty(), "{one:?}");
    };
    cannot(|a, b| b.cells = a.cells.clone(), "");
    cannot(|_, b| b.cells[0].trials.truncate(1), "one trial");
    cannot(|_, b| b.cells[0].guarantee = "durable".to_owned(), "A promises at-most-once, B durable");
    cannot(
        |_, b| b.cells[0].summary.as_mut().expect("a summary").flags = vec![Flag::HarnessCpu],
        "harness-cpu",
    );
    // At a rate: the first figure of the second case is p50.
    for flag in [Flag::NegativeLatency, Flag::UncertainClock, Flag::GeneratorLimited] {
        let found = pair(|_, b| b.cells[1].summary.as_mut().expect("a summary").flags = vec![flag]);
        let p50 = found.compared.iter().find(|one| one.figure == Figure::P50).expect("a p50");
        assert_eq!(p50.verdict, Verdict::CannotTell, "{flag:?}");
        assert!(p50.notes[0].contains(flag.as_str()), "{:?}", p50.notes);
    }
    // Runs of this machine were seen to differ by more than this.
    cannot(|a, _| a.widening = Some(Widening { factor: 90.0, ..Widening::default() }), "");
}

#[test]
fn the_share_of_the_baseline_takes_the_machine_out() {
    // The second machine is twice as fast: so are its raw sockets.
    let found = pair(|a, b| {
        for (run, factor) in [(a, 1.0), (b, 2.0)] {
            let mut baseline = build::measured("floor-tcp", Load::max(), 4e6 * factor);
            baseline.pattern = crate::results::FLOOR.to_owned();
            run.cells[0].floor = Some(baseline.id.clone());
            run.cells.push(baseline);
            run.host.name = format!("host-{factor}");
        }
    });
    let one = &found.compared[0];
    assert_eq!((one.verdict, one.baseline_verdict), (Verdict::Better, Some(Verdict::CannotTell)));
    assert!(
        one.by_baseline.is_some_and(|[a, b]| (a - 0.25).abs() < 0.01 && (b - 0.25).abs() < 0.01),
        "{one:?}"
    );
    assert!((one.of_baseline.expect("an interval").median - 1.0).abs() < 0.01);
    assert_eq!(found.differs, ["machine: host-1, 2 × CPU and host-2, 2 × CPU"]);
    assert_eq!(found.compared.len(), 5, "a baseline is no case of its own");
}

/// Whatever is recorded of the machine and its programs, and may explain a difference, is said.
#[test]
fn what_may_explain_a_difference_is_said() {
    let found = |change: fn(&mut Run)| pair(|_, b| change(b)).differs;
    let set = |run: &mut Run, value: &str| {
        let settings = [("appendfsync".to_owned(), value.to_owned())];
        run.versions.settings = [("redis".to_owned(), settings.into())].into();
    };
    let settings = pair(|a, b| {
        set(a, "no");
        set(b, "always");
    });
    assert_eq!(settings.differs, ["settings, redis, appendfsync: no and always"]);
    assert_eq!(found(|run| run.host.memory_bytes = 7 << 30), ["host, memory: 0 GiB and 7 GiB"]);
    assert_eq!(found(|run| run.complete = false), ["run: complete and not finished"]);
    assert_eq!(found(|run| run.host.load[0] = 2.0), ["load average at the start: 0.0 and 2.0"]);
    let noisy = pair(|a, b| (a.noise.oversleep_p50_ns, b.noise.oversleep_p50_ns) = (20_000, 30_000));
    assert!(noisy.differs[0].starts_with("an idle thread woke up late by"), "{:?}", noisy.differs);
    // What one of them did not have is no difference.
    assert!(found(|run| run.host.governor = Some("performance".to_owned())).is_empty());
    let of_one = found(|run| run.versions.crates = [("redis".to_owned(), "1".to_owned())].into());
    assert!(of_one.is_empty(), "{of_one:?}");
}

#[test]
fn what_only_one_has_is_named_and_settings_that_differ_are_said() {
    let found = pair(|a, b| {
        a.cells.remove(0);
        b.cells[1].knobs.insert("batch".to_owned(), 64);
        b.plan.window = Some(7);
    });
    assert_eq!(found.only, [vec![], vec!["oneway-tcp, 64\u{202f}B, 1 → 1, max".to_owned()]]);
    assert_eq!(found.differs, ["plan, window: none and 7"]);
    assert_eq!(found.compared[0].notes, ["batch: A not known, B 64"]);
    let text = markdown(&found);
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| bars(line) == 12), "{text}");
    assert!(text.contains("Only in B: oneway-tcp"), "{text}");
}
