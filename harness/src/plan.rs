//! What a benchmark is to measure: the built-in plans, plan files, and what the
//! command line changes in them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use labs::catalog::Pattern;
use labs::topic::glob;
use serde::Deserialize;

use crate::account::MOST_ENTRIES;
use crate::bundle::{Arrivals, Load, LoadKind, Objective, Plan};
use crate::fault;
use crate::load::check_rate;
use crate::role::Handle;
use crate::stamp::HEADER;

/// Longest message, bytes: every transport of the catalog carries it.
pub const MAX_SIZE: u64 = 8 << 20;
/// Most messages in flight in a closed loop.
pub const WINDOW: u64 = 32_768;

/// Most cells of one lab: more is a slip of the keyboard.
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
                nearest(other, BUILT_IN).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            bail!(
                "there is no plan `{other}`{hint} Plans are quick, standard and full, or a file such as `plans/mine.toml`"
            );
        }
    })
}

/// How scheduled times are spaced, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spacing {
    /// How.
    pub arrivals: Arrivals,
    /// Messages in a burst, for bursts.
    pub burst: Option<u64>,
}

/// Messages of a burst, where no number was given.
const BURST: u64 = 100;
/// Messages of a backlog, where no number was given.
const BACKLOG: u64 = 20_000;
/// Most messages in a burst or a backlog.
const MOST: u64 = 10_000_000;

/// `constant`, `poisson`, `burst`, `burst:50`, `ramp`.
pub fn parse_arrivals(text: &str) -> Result<Spacing> {
    let plain = |arrivals| Ok(Spacing { arrivals, burst: None });
    match text.split_once(':').unwrap_or((text, "")) {
        ("constant", "") => plain(Arrivals::Constant),
        ("poisson", "") => plain(Arrivals::Poisson),
        ("ramp", "") => plain(Arrivals::Ramp),
        ("burst", messages) => {
            let burst = Some(amount(messages, BURST).with_context(|| format!("`{text}` is no burst"))?);
            Ok(Spacing { arrivals: Arrivals::Burst, burst })
        }
        _ => {
            let near = nearest(text, ["constant", "poisson", "burst", "ramp"]);
            let hint = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            bail!("`{text}` are no arrivals{hint} Give constant, poisson, burst, burst:MESSAGES or ramp")
        }
    }
}

/// A number of messages; the usual one for an empty text.
fn amount(text: &str, usual: u64) -> Result<u64> {
    if text.is_empty() {
        return Ok(usual);
    }
    let number = text.replace('_', "").parse().ok().filter(|number| (1..=MOST).contains(number));
    number.with_context(|| format!("`{text}` is not a number of messages from 1 to {MOST}"))
}

/// `max`, messages a second, `drain`, `drain:5000`, `capacity`, `sweep`. What
/// searches for a limit has Poisson arrivals unless others are asked for:
/// constant ones queue so little that a limit found with them is of little use.
pub fn parse_load(text: &str, spacing: Option<Spacing>) -> Result<Load> {
    let spaced = |load: Load, usual: Arrivals| {
        let spacing = spacing.unwrap_or(Spacing { arrivals: usual, burst: None });
        Load { arrivals: Some(spacing.arrivals), burst: spacing.burst, ..load }
    };
    let search = |kind| {
        let load = spaced(Load { kind, ..Load::max() }, Arrivals::Poisson);
        ensure!(
            load.arrivals != Some(Arrivals::Ramp),
            "`{text}` looks for a rate that can be kept, and a ramp keeps none; leave out `--arrivals ramp`"
        );
        Ok(load)
    };
    match text.split_once(':').unwrap_or((text, "")) {
        ("max", "") => Ok(Load::max()),
        ("capacity", "") => search(LoadKind::Capacity),
        ("sweep", "") => search(LoadKind::Sweep),
        ("drain", messages) => {
            let messages = amount(messages, BACKLOG).with_context(|| format!("`{text}` is no backlog"))?;
            Ok(Load { kind: LoadKind::Drain, messages: Some(messages), ..Load::max() })
        }
        _ => {
            let Ok(per_s) = text.replace('_', "").parse::<f64>() else {
                let near = nearest(text, ["max", "capacity", "sweep", "drain"]);
                let hint = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                bail!(
                    "`{text}` is not a load{hint} Give `max`, messages a second as in `--load 1000`, `capacity`, `sweep`, `drain` or `drain:MESSAGES`"
                );
            };
            Ok(spaced(Load::rate(check_rate(per_s)?, Arrivals::Constant), Arrivals::Constant))
        }
    }
}

/// `KNOB=VALUE`, or an axis: `KNOB=VALUE,VALUE…`.
pub fn parse_setting(text: &str) -> Result<(String, Vec<usize>)> {
    let parsed = text.split_once('=').and_then(|(name, values)| {
        let values: Option<Vec<usize>> = values.split(',').map(|value| value.trim().parse().ok()).collect();
        Some((name.to_owned(), values?)).filter(|(name, _)| !name.is_empty())
    });
    parsed.with_context(|| {
        format!("`{text}` is not KNOB=VALUE with whole numbers, as in `--set batch=64` or `--set batch=1,64`")
    })
}

/// Turns a knob in a plan: one value for all cells, several as an axis.
pub fn set(plan: &mut Plan, knob: String, values: Vec<usize>) {
    match values[..] {
        [value] => {
            plan.axes.remove(&knob);
            plan.knobs.insert(knob, value);
        }
        _ => {
            plan.knobs.remove(&knob);
            plan.axes.insert(knob, values);
        }
    }
}

/// A plan file. What it does not say is as in the quick plan.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PlanFile {
    labs: Option<Vec<String>>,
    sizes: Option<Vec<u64>>,
    loads: Option<Vec<toml::Value>>,
    arrivals: Option<String>,
    trials: Option<usize>,
    warmup_s: Option<f64>,
    seconds: Option<f64>,
    drain_s: Option<f64>,
    senders: Option<OneOrMany>,
    receivers: Option<OneOrMany>,
    /// 0: no window.
    window: Option<u64>,
    knobs: Option<BTreeMap<String, OneOrMany>>,
    objective_ms: Option<f64>,
    floor: Option<bool>,
    cpus: Option<String>,
}

/// A number, or an axis of several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(usize),
    Many(Vec<usize>),
}

impl From<OneOrMany> for Vec<usize> {
    fn from(either: OneOrMany) -> Self {
        match either {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

/// An objective of so many milliseconds at the 99th percentile.
pub fn objective(p99_ms: f64) -> Result<Objective> {
    ensure!(
        p99_ms.is_finite() && (0.001..=3_600_000.0).contains(&p99_ms),
        "an objective of {p99_ms} ms makes no sense; give the response time at the 99th percentile in milliseconds, as in `--objective 10`"
    );
    Ok(Objective { p99_ns: (p99_ms * 1e6) as u64, ..Objective::default() })
}

fn from_file(path: &Path, base: Plan) -> Result<Plan> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read the plan {}; the built-in plans are quick, standard and full", path.display())
    })?;
    let file: PlanFile =
        toml::from_str(&text).with_context(|| format!("{} is not a plan", path.display()))?;
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
    let mut plan = Plan {
        name: path.file_stem().map_or_else(|| base.name.clone(), |stem| stem.to_string_lossy().into_owned()),
        labs: file.labs.unwrap_or(base.labs),
        sizes: file.sizes.unwrap_or(base.sizes),
        loads,
        trials: file.trials.unwrap_or(base.trials),
        warmup_s: file.warmup_s.unwrap_or(base.warmup_s),
        seconds: file.seconds.unwrap_or(base.seconds),
        drain_s: file.drain_s.unwrap_or(base.drain_s),
        senders: file.senders.map_or(base.senders, Vec::from),
        receivers: file.receivers.map_or(base.receivers, Vec::from),
        window: file.window.map_or(base.window, |window| (window > 0).then_some(window)),
        knobs: base.knobs,
        axes: base.axes,
        objective: file.objective_ms.map_or(Ok(base.objective), objective).with_context(named)?,
        cpus: file.cpus.or(base.cpus),
        floor: file.floor.unwrap_or(base.floor),
        ..base
    };
    for (knob, values) in file.knobs.unwrap_or_default() {
        set(&mut plan, knob, values.into());
    }
    Ok(plan)
}

/// Refuses what cannot be measured, naming the value.
pub fn check(plan: &Plan) -> Result<()> {
    ensure!(!plan.sizes.is_empty() && !plan.loads.is_empty(), "a plan needs at least one size and one load");
    for &size in &plan.sizes {
        ensure!(
            size >= HEADER as u64,
            "a message of {size} bytes has no room for the {HEADER}-byte header every measured message carries; use --size {HEADER} or more"
        );
        ensure!(
            size <= MAX_SIZE,
            "a message of {size} bytes is longer than the {MAX_SIZE} bytes that all transports carry"
        );
    }
    for load in &plan.loads {
        load.rate.map(check_rate).transpose()?;
    }
    ensure!((1..=1000).contains(&plan.trials), "{} trials cannot be made; give 1 to 1000", plan.trials);
    ensure!(
        plan.seconds.is_finite() && (0.1..=600.0).contains(&plan.seconds),
        "a trial of {} s cannot be measured; give 0.1 to 600 seconds",
        plan.seconds
    );
    ensure!(
        plan.warmup_s.is_finite() && (0.0..=600.0).contains(&plan.warmup_s),
        "a warm-up of {} s makes no sense; give 0 to 600 seconds",
        plan.warmup_s
    );
    ensure!(
        plan.drain_s.is_finite() && (0.1..=600.0).contains(&plan.drain_s),
        "a drain deadline of {} s makes no sense; give 0.1 to 600 seconds",
        plan.drain_s
    );
    ensure!(
        plan.axes.values().all(|values| !values.is_empty())
            && !plan.senders.is_empty()
            && !plan.receivers.is_empty(),
        "an axis needs at least one value"
    );
    let cells = plan.axes.values().map(Vec::len).product::<usize>()
        * (plan.senders.len() * plan.receivers.len() * plan.sizes.len() * plan.loads.len());
    ensure!(
        cells <= MOST_CELLS,
        "{cells} cells for each lab are too many ({MOST_CELLS}); give fewer values on the axes"
    );
    ensure!(
        plan.window != Some(0),
        "a window of 0 lets nothing through; give at least 1, or `--window none`"
    );
    if let Some(pause) = &plan.pause {
        fault::check(pause, plan.seconds)?;
        let other = plan.loads.iter().find(|load| !matches!(load.kind, LoadKind::Max | LoadKind::Rate));
        ensure!(
            other.is_none(),
            "the broker cannot stand still under the load `{}`; give `max` or a rate, or leave out --pause-broker",
            other.map(Load::label).unwrap_or_default()
        );
    }
    let rates = plan.loads.iter().filter_map(|load| load.rate);
    // Each subscriber keeps its own receipts, and each sender its share of the sends.
    let most = rates.fold(0.0, f64::max) * (plan.warmup_s + plan.seconds);
    ensure!(
        !plan.record || most <= MOST_ENTRIES as f64,
        "{most:.0} messages in one trial cannot be recorded one by one; the most are {MOST_ENTRIES}: give fewer --seconds or a lower --load"
    );
    Ok(())
}

/// The labs that names, globs and patterns ask for, in catalog order; all of
/// them for no names at all.
pub fn select(handles: &[Handle], wanted: &[String]) -> Result<Vec<Handle>> {
    let mut chosen = vec![wanted.is_empty(); handles.len()];
    for want in wanted {
        let is_pattern = Pattern::ALL.iter().any(|pattern| pattern.as_str() == want);
        let mut found = false;
        for (handle, chosen) in handles.iter().zip(&mut chosen) {
            let hit = glob(want, &handle.entry.name) || (is_pattern && handle.entry.pattern.as_str() == want);
            *chosen |= hit;
            found |= hit;
        }
        if !found {
            return Err(unknown(handles, want));
        }
    }
    Ok(handles.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(handle, _)| handle.clone()).collect())
}

/// The lab of this name.
pub fn lab<'a>(handles: &'a [Handle], name: &str) -> Result<&'a Handle> {
    handles.iter().find(|handle| handle.entry.name == name).ok_or_else(|| unknown(handles, name))
}

fn unknown(handles: &[Handle], name: &str) -> anyhow::Error {
    let names = handles.iter().map(|handle| handle.entry.name.as_str());
    if name.contains(['*', '?', '[']) {
        return anyhow::anyhow!(
            "no lab matches `{name}`; `lab list` shows them all (quote the glob, or the shell expands it)"
        );
    }
    if let Some((_, why)) = labs::catalog::ABSENT.iter().find(|(absent, _)| *absent == name) {
        return anyhow::anyhow!("there is no lab `{name}`, on purpose: {why}");
    }
    match nearest(name, names) {
        Some(near) => {
            anyhow::anyhow!("there is no lab `{name}`; did you mean `{near}`? `lab list` shows them all")
        }
        None => anyhow::anyhow!("there is no lab `{name}`; `lab list` shows them all"),
    }
}

/// The name most like this one, if any is like it at all.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// CPUs as `0,2-3`.
pub fn parse_cpus(text: &str) -> Result<Vec<usize>> {
    let bad = || format!("`{text}` is not a list of CPUs; write it as `0,2-3`");
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) =
            (first.trim().parse().with_context(bad)?, last.trim().parse().with_context(bad)?);
        ensure!(first <= last && last < 4096, bad());
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Pause;

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
        bad(|plan| plan.sizes = vec![64; 600], "1200 cells");
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
    fn loads_and_cpus_are_read_or_refused() {
        let label = |text, spacing: Option<&str>| {
            let spacing = spacing.map(|text| parse_arrivals(text).expect("arrivals"));
            parse_load(text, spacing).map(|load| load.label())
        };
        for (text, spacing, expected) in [
            ("max", None, "max"),
            ("500", None, "500/s"),
            ("10_000", Some("poisson"), "10000/s poisson"),
            ("500", Some("burst:20"), "500/s burst 20"),
            ("500", Some("ramp"), "500/s ramp"),
            ("capacity", None, "capacity poisson"),
            ("sweep", Some("constant"), "sweep"),
            ("drain:5_000", None, "drain 5000"),
            ("drain", None, "drain 20000"),
        ] {
            assert_eq!(label(text, spacing).expect("a load"), expected);
        }
        for bad in ["0", "-3", "fast", "", "inf", "drain:0", "drain:x", "max:3", "capacity:1"] {
            assert!(label(bad, None).is_err(), "{bad}");
        }
        assert!(label("sweep", Some("ramp")).is_err());
        assert!(
            label("capasity", None).expect_err("unknown").to_string().contains("did you mean `capacity`?")
        );
        for bad in ["poison", "", "burst:0", "burst:-1", "constant:3"] {
            let error = format!("{:#}", parse_arrivals(bad).expect_err("refused"));
            assert!(error.contains(bad), "{error}");
        }
        assert_eq!(parse_cpus("0,2-3").expect("CPUs"), [0, 2, 3]);
        for bad in ["", "a", "3-1", "1-99999"] {
            assert!(parse_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_knob_with_several_values_is_an_axis() {
        let mut plan = load("quick").expect("quick");
        for text in ["batch=1, 64", "prefetch=5", "prefetch=7"] {
            let (knob, values) = parse_setting(text).expect("a setting");
            set(&mut plan, knob, values);
        }
        assert_eq!(
            (&plan.knobs, &plan.axes),
            (&[("prefetch".to_owned(), 7)].into(), &[("batch".to_owned(), vec![1, 64])].into())
        );
        for bad in ["batch", "batch=", "=3", "batch=1,,2", "batch=x", "batch=-1"] {
            assert!(parse_setting(bad).expect_err("refused").to_string().contains(bad));
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_one() {
        assert_eq!(nearest("standart", BUILT_IN), Some("standard"));
        assert_eq!(nearest("zzz", BUILT_IN), None);
        assert!(load("standart").expect_err("unknown").to_string().contains("did you mean `standard`?"));
    }
}
