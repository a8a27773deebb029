use super::*;
use crate::fault::ALL;

fn fault(name: &str) -> Fault {
    name.parse().expect("a fault")
}

#[test]
fn the_usual_plan_has_one_fault_after_a_second() {
    for (name, for_s) in [("link-cut", 0.0), ("broker-pause", 1.0), ("broker-restart", 0.5)] {
        let plan = FaultPlan::of(fault(name));
        plan.check().expect(name);
        assert_eq!((plan.injections[0].at_s, plan.injections[0].for_s), (1.0, for_s), "{name}");
        assert_eq!((plan.load_s(), plan.drain_s), (2.0 + for_s, 10.0));
    }
}

#[test]
fn a_plan_file_says_what_differs_from_the_usual_plan() {
    let plan = parse(
        "steady_s = '500ms'\nheal_s = 2\n[[fault]]\nname = 'link-cut'\nat_s = '3s'\n[[fault]]\n\
         name = 'broker-pause'\nfor_s = 0.25\n[[fault]]\nname = 'link-blackhole'\nat_s = 1\nwhich = 1",
    )
    .expect("a plan");
    let injection = |name, at_s, for_s, which| Injection { fault: fault(name), at_s, for_s, which };
    assert_eq!(
        plan,
        FaultPlan {
            steady_s: 0.5,
            heal_s: 2.0,
            drain_s: 10.0,
            injections: vec![
                injection("broker-pause", 0.5, 0.25, 0),
                injection("link-blackhole", 1.0, 1.0, 1),
                injection("link-cut", 3.0, 0.0, 0),
            ],
        }
    );
    assert_eq!(plan.load_s(), 5.0);
    assert_eq!(parse(&plan.to_string()).expect("what is printed can be read"), plan);
}

#[test]
fn what_cannot_be_run_is_refused_by_value() {
    for (text, words) in [
        ("", "no fault in the plan"),
        ("[[fault]]", "name"),
        ("[[fault]]\nname = 'link-cat'", "`link-cat`; did you mean `link-cut`?"),
        ("[[fault]]\nname = 'link-cut'\nat_s = -1", "begin at -1 s; give a time of 0 to 120"),
        ("[[fault]]\nname = 'link-cut'\nat_s = 121", "begin at 121 s"),
        ("[[fault]]\nname = 'link-cut'\nat_s = nan", "begin at NaN s"),
        ("[[fault]]\nname = 'link-cut'\nat_s = inf", "begin at inf s"),
        ("[[fault]]\nname = 'link-cut'\nat_s = 'soon'", "`soon` is not a time"),
        ("[[fault]]\nname = 'link-cut'\nfor_s = 1", "cannot last 1 s"),
        ("[[fault]]\nname = 'broker-pause'\nfor_s = 0", "needs a length"),
        ("[[fault]]\nname = 'broker-pause'\nfor_s = -2", "cannot last -2 s"),
        ("[[fault]]\nname = 'broker-pause'\nat_s = 100\nfor_s = 30", "a run of 131 s is too long"),
        ("[[fault]]\nname = 'broker-restart'\nfor_s = 1", "down for 0.5 s, not 1 s"),
        ("[[fault]]\nname = 'broker-kill'\nwhich = 1", "number 1; give 0 to 0"),
        ("[[fault]]\nname = 'sender-kill'\nwhich = 64", "number 64; give 0 to 63"),
        ("[[fault]]\nname = 'link-blackhole'\nwhich = 2", "number 2"),
        ("steady_s = 0\n[[fault]]\nname = 'link-cut'", "steady time of 0 s"),
        ("heal_s = -1\n[[fault]]\nname = 'link-cut'", "-1 s is out of range"),
        ("drain_s = 1e9\n[[fault]]\nname = 'link-cut'", "drain deadline of 1000000000 s"),
        ("stedy_s = 1\n[[fault]]\nname = 'link-cut'", "stedy_s"),
        ("[[fault]]\nname = 'link-cut'\nwhen = 1", "when"),
        (&"[[fault]]\nname = 'link-cut'\n".repeat(101), "101 faults are too many"),
        ("steady_s =", ""),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("mine.toml");
        std::fs::write(&path, text).expect("a file");
        let error = format!("{:#}", FaultPlan::load(&path).expect_err(text));
        assert!(error.contains(words) && error.contains("mine.toml"), "{text}: {error}");
    }
    let error = format!("{:#}", FaultPlan::load(Path::new("/nowhere/x.toml")).expect_err("missing"));
    assert!(error.contains("/nowhere/x.toml"), "{error}");
}

#[test]
fn a_seed_gives_the_same_schedule_and_it_is_printed_exactly() {
    let faults =
        [fault("broker-pause"), fault("receiver-kill"), fault("link-blackhole"), fault("sender-restart")];
    let mut begins = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let plan = FaultPlan::from_seed(seed, &faults, 1.0);
        assert_eq!(plan, FaultPlan::from_seed(seed, &faults, 1.0));
        plan.check().expect("it can be run");
        assert_eq!(plan.injections.iter().map(|injection| injection.fault).collect::<Vec<_>>(), faults);
        let pairs = plan.injections.windows(2);
        assert!(pairs.into_iter().all(|pair| pair[1].at_s >= pair[0].end_s() + 0.5 - 1e-9), "{plan}");
        let first = &plan.injections[0];
        assert!((0.5..=1.5).contains(&first.at_s) && (0.5..=1.5).contains(&first.for_s), "{plan}");
        begins.insert((first.at_s * 1e3) as u64);
        // A printed broker has no number.
        assert_eq!(parse(&plan.to_string()).expect("what is printed can be read"), plan);
    }
    assert!(begins.len() > 100, "moments differ: {}", begins.len());
    for each in ALL {
        FaultPlan::from_seed(7, &[each], 1.0).check().expect("each fault can be scheduled");
    }
}

#[test]
fn fuzz_fault_plans() {
    let seeds = [
        "steady_s = '500ms'\nheal_s = 2\n[[fault]]\nname = 'link-cut'\nat_s = '3s'\n[[fault]]\nname = 'broker-pause'\nfor_s = 0.25",
        "drain_s = 3.5\n[[fault]]\nname = 'link-blackhole'\nat_s = 1\nwhich = 1\n[[fault]]\nname = 'sender-restart'",
    ];
    fuzz::Target::new("fault_plans").memory(4 << 20).seeds(seeds).run(|input| {
        let Ok(plan) = parse(&String::from_utf8_lossy(input)) else { return false };
        assert_eq!(parse(&plan.to_string()).expect("what is printed can be read"), plan);
        true
    });
}
