//! Parsers for the values of a plan, on the command line and in files.

use anyhow::{Context as _, Result, bail, ensure};

use super::nearest;
use crate::measure::schedule::check_rate;
use crate::results::{Arrivals, Load, LoadKind, Objective, Plan};
use crate::units;

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

/// Most CPUs, and the highest number of one.
const CPUS: usize = 4096;

/// `constant`, `poisson`, `burst`, `burst:50`, `ramp`.
pub fn parse_arrivals(text: &str) -> Result<Spacing> {
    let plain = |arrivals| Ok(Spacing { arrivals, burst: None });
    match text.split_once(':').unwrap_or((text, "")) {
        ("constant", "") => plain(Arrivals::Constant),
        ("poisson", "") => plain(Arrivals::Poisson),
        ("ramp", "") => plain(Arrivals::Ramp),
        ("burst", messages) => {
            let burst = Some(amount(messages, BURST).with_context(|| format!("`{text}` is not a burst"))?);
            Ok(Spacing { arrivals: Arrivals::Burst, burst })
        }
        _ => {
            let near = nearest(text, ["constant", "poisson", "burst", "ramp"]);
            let hint = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            bail!(
                "`{text}` is not a kind of arrivals{hint} Give constant, poisson, burst, burst:MESSAGES or \
                 ramp"
            )
        }
    }
}

/// A number of messages; the usual one for an empty text.
fn amount(text: &str, usual: u64) -> Result<u64> {
    if text.is_empty() {
        return Ok(usual);
    }
    let number = units::whole(text).ok().filter(|number| (1..=MOST).contains(number));
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
            "`{text}` searches for a sustainable rate, but a ramp has no fixed rate; leave out `--arrivals \
             ramp`"
        );
        Ok(load)
    };
    match text.split_once(':').unwrap_or((text, "")) {
        ("max", "") => Ok(Load::max()),
        ("capacity", "") => search(LoadKind::Capacity),
        ("sweep", "") => search(LoadKind::Sweep),
        ("drain", messages) => {
            let messages = amount(messages, BACKLOG).with_context(|| format!("`{text}` is not a backlog"))?;
            Ok(Load { kind: LoadKind::Drain, messages: Some(messages), ..Load::max() })
        }
        _ => {
            let Ok(per_s) = units::rate(text) else {
                let near = nearest(text, ["max", "capacity", "sweep", "drain"]);
                let hint = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                bail!(
                    "`{text}` is not a load{hint} Give `max`, messages a second as in `--load 1000` or `--load 10k`, `capacity`, `sweep`, `drain` or `drain:MESSAGES`"
                );
            };
            Ok(spaced(Load::rate(check_rate(per_s)?, Arrivals::Constant), Arrivals::Constant))
        }
    }
}

/// `KNOB=VALUE`, or an axis: `KNOB=VALUE,VALUE…`.
pub fn parse_setting(text: &str) -> Result<(String, Vec<usize>)> {
    let parsed = text.split_once('=').and_then(|(name, values)| {
        let values: Option<Vec<usize>> =
            values.split(',').map(|value| units::knob(name, value).ok()).collect();
        Some((name.to_owned(), values?)).filter(|(name, _)| !name.is_empty())
    });
    parsed.with_context(|| {
        format!("`{text}` is not KNOB=VALUE with whole numbers, as in `--set batch=64` or `--set batch=1,64`")
    })
}

/// Sets a knob in a plan: one value for all cases, several values as an axis.
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

/// An objective for the 99th percentile, in milliseconds.
pub fn objective(p99_ms: f64) -> Result<Objective> {
    ensure!(
        p99_ms.is_finite() && (0.001..=3_600_000.0).contains(&p99_ms),
        "an objective of {p99_ms} ms is not valid; give the response time at the 99th percentile in \
         milliseconds, as in `--objective 10`"
    );
    Ok(Objective { p99_ns: (p99_ms * 1e6) as u64, ..Objective::default() })
}

/// CPUs as `0,2-3`, all of which this process may use.
///
/// # Errors
/// When it is no such list, or one of them is not there; it is named with those that are.
pub fn usable_cpus(text: &str) -> Result<Vec<usize>> {
    let cpus = parse_cpus(text)?;
    let set = rustix::thread::sched_getaffinity(None).context("cannot find out which CPUs there are")?;
    let usable: Vec<usize> =
        (0..CPUS.min(rustix::thread::CpuSet::MAX_CPU)).filter(|cpu| set.is_set(*cpu)).collect();
    if let Some(missing) = cpus.iter().find(|cpu| !usable.contains(cpu)) {
        let list: Vec<String> = usable.iter().map(ToString::to_string).collect();
        bail!("this process may not use CPU {missing} of `--cpus {text}`; it may use {}", list.join(","));
    }
    Ok(cpus)
}

/// CPUs as `0,2-3`.
pub fn parse_cpus(text: &str) -> Result<Vec<usize>> {
    let bad = || format!("`{text}` is not a list of CPUs; write it as `0,2-3`");
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) =
            (first.trim().parse().with_context(bad)?, last.trim().parse().with_context(bad)?);
        ensure!(first <= last && last < CPUS, bad());
        cpus.extend(first..=last);
        ensure!(cpus.len() <= CPUS, bad());
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("10k", None, "10000/s"),
            ("1.5k/s", None, "1500/s"),
            ("drain:5k", None, "drain 5000"),
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
        let mut plan = crate::plan::load("quick").expect("quick");
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
    fn fuzz_plan_words() {
        let seeds = [
            "max",
            "10_000",
            "2000.5",
            "capacity",
            "sweep",
            "drain:5_000",
            "burst:20",
            "ramp",
            "batch=1, 64",
            "0,2-3",
            "1:0.3",
        ];
        fuzz::Target::new("plan_words").seeds(seeds).run(|input| {
            let text = &*String::from_utf8_lossy(input);
            let spacing = parse_arrivals(text).ok();
            let load = parse_load(text, spacing).ok();
            assert!(
                load.as_ref().is_none_or(|load| load.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0))
            );
            let setting = parse_setting(text).ok();
            let cpus = parse_cpus(text).ok();
            let pause = crate::trial::pause::parse(text).ok();
            if let Some(pause) = &pause
                && crate::trial::pause::check(pause, 2.0).is_ok()
            {
                assert!(pause.at_s + pause.for_s <= 2.0);
            }
            let objective = text.parse().ok().and_then(|ms| objective(ms).ok());
            assert!(objective.is_none_or(|objective| objective.p99_ns > 0));
            spacing.is_some() || load.is_some() || setting.is_some() || cpus.is_some() || pause.is_some()
        });
    }
}
