//! Plans of a benchmark: the built-in plans, plan files, and changes by the command line.

mod knobs;
mod select;
mod value;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
pub use knobs::{check_knobs, of_labs as knobs_of_labs, of_loops as knobs_of_loops};
pub use select::{built_in, lab, nearest, select};
use serde::Deserialize;
pub use words::{
    Spacing, objective, parse_arrivals, parse_cpus, parse_load, parse_setting, set, usable_cpus,
};

use crate::measure::header::HEADER;
use crate::measure::schedule::check_rate;
use crate::measure::trace::MOST_ENTRIES;
use crate::results::{self, Arrivals, Load, LoadKind, MOST_PLAN, Plan};
use crate::supervisor::Launch;
use crate::trial::pause;
use crate::units;
use value::{Value, Values};

/// Longest message, bytes: every transport of the catalog carries it.
pub const MAX_SIZE: u64 = 8 << 20;
/// Most messages in flight in a closed loop.
pub const WINDOW: u64 = 32_768;

/// The maximum number of cases of one lab; more is probably a typing error.
const MOST_CELLS: usize = 1000;

/// The names of the built-in plans.
pub const BUILT_IN: [&str; 3] = ["quick", "standard", "full"];

/// A built-in plan, or the one in a file.
pub fn load(name: &str) -> Result<Plan> {
    let base = Plan {
        name: name.to_owned(),
        sizes: vec![64],
        loads: vec![Load::max(), Load::rate(1000.0, Arrivals::Constant)],
        trials: 3,
        warmup_s: 0.3,
        seconds: 1.2,
        drain_s: 5.0,
        senders: vec![1],
        receivers: vec![1],
        window: Some(WINDOW),
        floor: true,
        ..Plan::default()
    };
    Ok(match name {
        "quick" => base,
        "standard" => Plan { trials: 5, warmup_s: 0.5, seconds: 2.0, ..base },
        "full" => {
            Plan { sizes: vec![32, 1024, 65_536, 1 << 20], trials: 10, warmup_s: 1.0, seconds: 5.0, ..base }
        }
        file if file.contains(['.', '/']) => from_file(Path::new(file), base)?,
        other => {
            let hint =
                nearest(other, BUILT_IN).map_or(".".to_owned(), |name| format!("; did you mean `{name}`?"));
            bail!(
                "there is no plan `{other}`{hint} Plans are quick, standard and full, or a file such as `plans/mine.toml`"
            );
        }
    })
}

/// A plan file. Missing values are those of the quick plan.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PlanFile {
    labs: Option<Vec<String>>,
    sizes: Option<Values>,
    loads: Option<Vec<toml::Value>>,
    arrivals: Option<String>,
    trials: Option<Value>,
    warmup_s: Option<Value>,
    seconds: Option<Value>,
    drain_s: Option<Value>,
    senders: Option<Values>,
    receivers: Option<Values>,
    /// 0: no window.
    window: Option<Value>,
    knobs: Option<BTreeMap<String, Values>>,
    objective_ms: Option<Value>,
    floor: Option<bool>,
    cpus: Option<String>,
    record: Option<bool>,
    pause_broker: Option<String>,
    launch: Option<BTreeMap<String, String>>,
    launch_program: Option<String>,
    listen: Option<String>,
}

fn from_file(path: &Path, base: Plan) -> Result<Plan> {
    let text = results::read_text(path, MOST_PLAN).with_context(|| {
        format!("cannot read the plan {}; the built-in plans are quick, standard and full", path.display())
    })?;
    parse(&text, path, base)
}

/// The plan in the text of a file; `path` names it.
fn parse(text: &str, path: &Path, base: Plan) -> Result<Plan> {
    let file: PlanFile = toml::from_str(text).with_context(|| format!("{} is not a plan", path.display()))?;
    let named = || format!("in {}", path.display());
    let spacing = file.arrivals.as_deref().map(parse_arrivals).transpose().with_context(named)?;
    let loads = match file.loads {
        None => base.loads,
        Some(loads) => loads
            .iter()
            .map(|load| parse_load(&load.as_str().map_or_else(|| load.to_string(), str::to_owned), spacing))
            .collect::<Result<_>>()
            .with_context(named)?,
    };
    let seconds =
        |value: Option<Value>, base: f64| value.map_or(Ok(base), |value| value.read(units::seconds));
    let counts = |values: Option<Values>, base: Vec<usize>| {
        values.map_or(Ok(base), |values| values.read(units::count))
    };
    let window = file.window.map(|window| window.read(units::whole)).transpose().with_context(named)?;
    let objective = file.objective_ms.map(|ms| objective(ms.read(units::milliseconds)?)).transpose();
    let mut plan = Plan {
        name: path.file_stem().map_or_else(|| base.name.clone(), |stem| stem.to_string_lossy().into_owned()),
        labs: file.labs.unwrap_or(base.labs),
        sizes: file.sizes.map_or(Ok(base.sizes), |sizes| sizes.read(units::bytes)).with_context(named)?,
        loads,
        trials: file
            .trials
            .map_or(Ok(base.trials), |trials| trials.read(units::count))
            .with_context(named)?,
        warmup_s: seconds(file.warmup_s, base.warmup_s).with_context(named)?,
        seconds: seconds(file.seconds, base.seconds).with_context(named)?,
        drain_s: seconds(file.drain_s, base.drain_s).with_context(named)?,
        senders: counts(file.senders, base.senders).with_context(named)?,
        receivers: counts(file.receivers, base.receivers).with_context(named)?,
        window: window.map_or(base.window, |window| (window > 0).then_some(window)),
        knobs: base.knobs,
        axes: base.axes,
        objective: objective.with_context(named)?.unwrap_or(base.objective),
        cpus: file.cpus.or(base.cpus),
        floor: file.floor.unwrap_or(base.floor),
        record: file.record.unwrap_or(base.record),
        pause: file.pause_broker.as_deref().map(pause::parse).transpose().with_context(named)?.or(base.pause),
        launch: file.launch.unwrap_or(base.launch),
        launch_program: file.launch_program.or(base.launch_program),
        listen: file.listen.or(base.listen),
    };
    for (knob, values) in file.knobs.unwrap_or_default() {
        let read = values.read(|value| units::knob(&knob, value)).with_context(named)?;
        set(&mut plan, knob, read);
    }
    remove_repeats(&mut plan);
    Ok(plan)
}

/// Leaves out values that are on an axis already: each combination is measured once.
pub fn remove_repeats(plan: &mut Plan) {
    fn unique<T: PartialEq>(values: &mut Vec<T>) {
        let mut kept = Vec::with_capacity(values.len());
        for value in values.drain(..) {
            if !kept.contains(&value) {
                kept.push(value);
            }
        }
        *values = kept;
    }
    unique(&mut plan.sizes);
    unique(&mut plan.loads);
    unique(&mut plan.senders);
    unique(&mut plan.receivers);
    plan.axes.values_mut().for_each(unique);
    // An axis of one value is a setting.
    let single: Vec<String> =
        plan.axes.iter().filter(|(_, values)| values.len() == 1).map(|(knob, _)| knob.clone()).collect();
    for knob in single {
        let values = plan.axes.remove(&knob).unwrap_or_default();
        set(plan, knob, values);
    }
}

/// Refuses what cannot be measured, naming the value.
pub fn check(plan: &Plan) -> Result<()> {
    ensure!(!plan.sizes.is_empty() && !plan.loads.is_empty(), "a plan needs at least one size and one load");
    for &size in &plan.sizes {
        ensure!(
            size >= HEADER as u64,
            "a message of {size} bytes is too short for the {HEADER}-byte header of every measured message; \
             use --size {HEADER} or more"
        );
        ensure!(
            size <= MAX_SIZE,
            "a message of {size} bytes is longer than the {MAX_SIZE} bytes that all transports carry"
        );
    }
    for load in &plan.loads {
        load.rate.map(check_rate).transpose()?;
    }
    ensure!((1..=1000).contains(&plan.trials), "{} trials are out of range; give 1 to 1000", plan.trials);
    ensure!(
        plan.seconds.is_finite() && (0.1..=600.0).contains(&plan.seconds),
        "a trial of {} s is out of range; give 0.1 to 600 seconds",
        plan.seconds
    );
    ensure!(
        plan.warmup_s.is_finite() && (0.0..=600.0).contains(&plan.warmup_s),
        "a warm-up of {} s is out of range; give 0 to 600 seconds",
        plan.warmup_s
    );
    ensure!(
        plan.drain_s.is_finite() && (0.1..=600.0).contains(&plan.drain_s),
        "a drain deadline of {} s is out of range; give 0.1 to 600 seconds",
        plan.drain_s
    );
    ensure!(
        plan.axes.values().all(|values| !values.is_empty())
            && !plan.senders.is_empty()
            && !plan.receivers.is_empty(),
        "an axis needs at least one value"
    );
    let axes = [plan.senders.len(), plan.receivers.len(), plan.sizes.len(), plan.loads.len()];
    let axes = plan.axes.values().map(Vec::len).chain(axes);
    let cells = axes.fold(1, usize::saturating_mul);
    ensure!(
        cells <= MOST_CELLS,
        "{cells} cases per lab are too many (at most {MOST_CELLS}); give fewer values for the axes"
    );
    ensure!(
        plan.window != Some(0),
        "with a window of 0 nothing can be sent; give at least 1, or `--window none`"
    );
    if let Some(pause) = &plan.pause {
        pause::check(pause, plan.seconds)?;
        let other = plan.loads.iter().find(|load| !matches!(load.kind, LoadKind::Max | LoadKind::Rate));
        ensure!(
            other.is_none(),
            "the broker cannot be paused under the load `{}`; give `max` or a rate, or leave out \
             --pause-broker",
            other.map(Load::label).unwrap_or_default()
        );
    }
    launch(plan)?;
    let rates = plan.loads.iter().filter_map(|load| load.rate);
    // Each subscriber keeps its own receipts, and each sender its share of the sends.
    let most = rates.fold(0.0, f64::max) * (plan.warmup_s + plan.seconds);
    ensure!(
        !plan.record || most <= MOST_ENTRIES as f64,
        "{most:.0} messages in one trial are too many to record (at most {MOST_ENTRIES}); give fewer \
         --seconds or a lower --load"
    );
    Ok(())
}

/// Which roles of a plan are started elsewhere, and how.
///
/// # Errors
/// When a role, a prefix or an address is none; it is named.
pub fn launch(plan: &Plan) -> Result<Launch> {
    let prefixes: Vec<String> = plan.launch.iter().map(|(role, prefix)| format!("{role}={prefix}")).collect();
    let prefixes = prefixes.iter().map(String::as_str);
    Launch::parse(prefixes, plan.launch_program.as_deref(), plan.listen.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Pause;

    fn plan_file(text: &str) -> Result<Plan> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("mine.toml");
        std::fs::write(&path, text).expect("a file");
        load(path.to_str().expect("a path"))
    }

    #[test]
    fn a_plan_file_says_what_differs_from_quick() {
        let plan = plan_file("labs = ['pubsub']\nloads = ['max', 500, 2_000.5]\ntrials = 9\nwindow = 0")
            .expect("a plan");
        assert_eq!((plan.name.as_str(), plan.trials, plan.window), ("mine", 9, None));
        let labels: Vec<String> = plan.loads.iter().map(Load::label).collect();
        assert_eq!(labels, ["max", "500/s", "2000.5/s"]);
        assert_eq!(plan.sizes, load("quick").expect("quick").sizes);
    }

    #[test]
    fn a_value_that_is_given_twice_is_measured_once() {
        let mut plan = plan_file(
            "sizes = [64, 64]\nloads = [1000, '1e3', 'max', '1000.0', 'max']\nsenders = [1, 2, 1]\n\
             receivers = [3, 3]\nknobs = { batch = [4, 4], depth = [1, 2, 1] }",
        )
        .expect("a plan");
        let labels: Vec<String> = plan.loads.iter().map(Load::label).collect();
        assert_eq!(
            (plan.sizes.as_slice(), labels.as_slice()),
            (&[64][..], &["1000/s".to_owned(), "max".to_owned()][..])
        );
        assert_eq!((plan.senders.as_slice(), plan.receivers.as_slice()), (&[1, 2][..], &[3][..]));
        assert_eq!((plan.knobs.get("batch"), plan.axes.get("depth")), (Some(&4), Some(&vec![1, 2])));
        let before = plan.clone();
        remove_repeats(&mut plan);
        assert_eq!(plan, before);
    }

    #[test]
    fn a_plan_file_can_record_and_stop_the_broker() {
        let plan = plan_file("record = true\npause_broker = '0.2:0.5'").expect("a plan");
        assert_eq!((plan.record, plan.pause), (true, Some(Pause { at_s: 0.2, for_s: 0.5 })));
        let error = format!("{:#}", plan_file("pause_broker = 'soon'").expect_err("refused"));
        assert!(error.contains("mine.toml") && error.contains("soon"), "{error}");
    }

    #[test]
    fn a_plan_file_has_the_units_of_the_command_line() {
        let plan = plan_file(
            "sizes = [64, '1k']\nloads = ['10k', 'max']\nseconds = '30s'\nwarmup_s = '100ms'\ntrials = '2'\n\
             senders = '1,16'\nobjective_ms = '1s'\nwindow = '1k'\nknobs = { write-bytes = '64k' }",
        )
        .expect("a plan");
        assert_eq!((plan.sizes, plan.seconds, plan.warmup_s), (vec![64, 1024], 30.0, 0.1));
        assert_eq!((plan.trials, plan.senders, plan.window), (2, vec![1, 16], Some(1000)));
        assert_eq!((plan.objective.p99_ns, plan.knobs["write-bytes"]), (1_000_000_000, 65_536));
        for bad in ["sizes = ['64x']", "seconds = 'long'", "trials = 1.5", "senders = [-1]", "window = 'no'"]
        {
            let error = format!("{:#}", plan_file(bad).expect_err(bad));
            assert!(error.contains("mine.toml"), "{error}");
        }
    }

    #[test]
    fn a_wrong_key_is_named_with_those_that_exist() {
        let error = format!("{:#}", plan_file("trails = 9").expect_err("refused"));
        assert!(
            error.contains("trails") && error.contains("trials") && error.contains("mine.toml"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_measured_is_refused_by_value() {
        let bad = |change: fn(&mut Plan), value: &str| {
            let mut plan = load("quick").expect("quick");
            change(&mut plan);
            let error = check(&plan).expect_err("refused").to_string();
            assert!(error.contains(value), "{error}");
        };
        bad(|plan| plan.sizes = vec![31], "31");
        bad(|plan| plan.sizes = vec![MAX_SIZE + 1], "8388609");
        bad(|plan| plan.loads = vec![Load::rate(0.0, Arrivals::Constant)], "0");
        bad(|plan| plan.sizes = vec![64; 600], "1200 cases");
        bad(|plan| plan.senders = Vec::new(), "an axis");
        bad(|plan| plan.trials = 0, "0 trials");
        bad(|plan| plan.seconds = 0.0, "0 s");
        bad(|plan| plan.drain_s = f64::NAN, "NaN");
        bad(|plan| plan.window = Some(0), "window of 0");
        bad(|plan| plan.pause = Some(Pause { at_s: 1.0, for_s: 0.5 }), "0.5 s from 1 s");
        bad(
            |plan| (plan.record, plan.loads) = (true, vec![Load::rate(4e6, Arrivals::Constant)]),
            "6000000 messages",
        );
        for name in BUILT_IN {
            check(&load(name).expect("a plan")).expect("a plan that can be measured");
        }
    }

    #[test]
    fn fuzz_plan_files() {
        let seeds = [
            "labs = ['pubsub', '*-redis']\nsizes = [64]\nloads = ['max', 500, 2_000.5, 'drain:50']\ntrials = 9\nwindow = 0",
            "arrivals = 'burst:9'\nwarmup_s = 0.1\nseconds = 2.0\ndrain_s = 1.0\nsenders = 2\nreceivers = [1, 2]",
            "objective_ms = 10.0\nfloor = false\ncpus = '0,2-3'\nrecord = true\npause_broker = '0.2:0.5'\n[knobs]\nbatch = [1, 64]\nprefetch = 5",
        ];
        let quick = load("quick").expect("quick");
        fuzz::Target::new("plan_files").memory(4 << 20).seeds(seeds).run(|input| {
            let text = String::from_utf8_lossy(input);
            let Ok(plan) = parse(&text, Path::new("mine.toml"), quick.clone()) else { return false };
            if check(&plan).is_ok() {
                assert!(plan.seconds.is_finite() && plan.loads.iter().all(|load| !load.label().is_empty()));
            }
            true
        });
    }
}
