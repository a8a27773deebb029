//! When faults begin and end: from options, a plan file, or a seed.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Deserialize;

use super::name::{Fault, What, Who};
use crate::results::{self, MOST_PLAN};
use crate::units;

/// Steady load before the first fault, seconds.
pub const STEADY_S: f64 = 1.0;
/// How long a fault lasts that has a length, seconds.
pub const FAULT_S: f64 = 1.0;
/// How long a process is down that is started again, seconds.
pub const RESTART_S: f64 = 0.5;
/// Load after the end of the last fault, seconds.
pub const HEAL_S: f64 = 1.0;
/// Longest wait for what is in flight at the end, seconds.
pub const DRAIN_S: f64 = 10.0;

/// The longest load, seconds: every message of it is kept in memory.
const MOST_S: f64 = 120.0;
/// The most faults of one run.
const MOST_FAULTS: usize = 100;

/// One fault at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    /// The fault.
    pub fault: Fault,
    /// When it begins, seconds from the common start.
    pub at_s: f64,
    /// How long it lasts, seconds; 0 for faults without a length.
    pub for_s: f64,
    /// Which of several roles it hits, from 0 on. Of a black hole, the direction: 0 swallows what goes
    /// to the broker (or the peer that binds), 1 what comes from there.
    pub which: u32,
}

/// All faults of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPlan {
    /// Load before the first fault, where it does not say when it begins, seconds.
    pub steady_s: f64,
    /// Load after the end of the last fault, seconds.
    pub heal_s: f64,
    /// Longest wait for what is in flight at the end, seconds.
    pub drain_s: f64,
    /// The faults, in the order of time.
    pub injections: Vec<Injection>,
}

impl Injection {
    /// A fault with its usual length.
    pub fn new(fault: Fault, at_s: f64) -> Self {
        Self { fault, at_s, for_s: usual_length(fault), which: 0 }
    }

    /// When it is over, seconds from the common start.
    pub fn end_s(&self) -> f64 {
        self.at_s + self.for_s
    }
}

/// How long a fault lasts if nobody says so, seconds.
fn usual_length(fault: Fault) -> f64 {
    match fault.what {
        What::Restart => RESTART_S,
        _ if fault.has_length() => FAULT_S,
        _ => 0.0,
    }
}

impl FaultPlan {
    /// The usual run: steady load, one fault, heal, drain.
    pub fn of(fault: Fault) -> Self {
        Self::with(vec![Injection::new(fault, STEADY_S)])
    }

    fn with(injections: Vec<Injection>) -> Self {
        Self { steady_s: STEADY_S, heal_s: HEAL_S, drain_s: DRAIN_S, injections }
    }

    /// A random schedule of these faults, in this order, one after the other: the first begins between
    /// half and one and a half of `steady_s` seconds, each lasts between half and one and a half of its
    /// usual length, and hits one of the first two roles. All times are whole milliseconds. The same
    /// seed gives the same schedule.
    pub fn from_seed(seed: u64, faults: &[Fault], steady_s: f64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut from = 0.0;
        let mut injections = Vec::new();
        for &fault in faults {
            let mut around = |usual: f64| {
                let ms = (usual * 1e3) as u64;
                random.random_range(ms / 2..=ms + ms / 2) as f64 / 1e3
            };
            let at_s = rounded(from + around(steady_s));
            let usual = usual_length(fault);
            let for_s = if fault.has_length() { around(usual) } else { usual };
            let which = random.random_range(0..2).min(most_which(fault));
            injections.push(Injection { fault, at_s, for_s, which });
            from = at_s + for_s;
        }
        Self { steady_s, ..Self::with(injections) }
    }

    /// How long load is offered, seconds from the common start.
    pub fn load_s(&self) -> f64 {
        let last = self.injections.iter().map(Injection::end_s).fold(self.steady_s, f64::max);
        last + self.heal_s
    }

    /// Reads a plan file, and checks it.
    ///
    /// # Errors
    /// When it cannot be read, is not a plan, or names what cannot be; the file, the value and what to
    /// do are named.
    pub fn load(path: &Path) -> Result<Self> {
        let text = results::read_text(path, MOST_PLAN)
            .with_context(|| format!("cannot read the fault plan {}", path.display()))?;
        parse(&text).with_context(|| format!("{} is not a plan of faults", path.display()))
    }

    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// The value, and what is possible.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.injections.is_empty(), "there is no fault in the plan; add `[[fault]]` with a `name`");
        ensure!(
            self.injections.len() <= MOST_FAULTS,
            "{} faults are too many for one run; give at most {MOST_FAULTS}",
            self.injections.len()
        );
        for (name, value, least) in [
            ("the steady time", self.steady_s, 0.1),
            ("the time after the last fault", self.heal_s, 0.1),
            ("the drain deadline", self.drain_s, 0.1),
        ] {
            ensure!(
                value.is_finite() && (least..=MOST_S).contains(&value),
                "{name} of {value} s is out of range; give {least} to {MOST_S} seconds"
            );
        }
        for injection in &self.injections {
            injection.check()?;
        }
        ensure!(
            self.load_s() <= MOST_S,
            "a run of {} s is too long; let the last fault end {} s after the start at the latest",
            rounded(self.load_s()),
            MOST_S - self.heal_s
        );
        Ok(())
    }
}

impl Injection {
    fn check(&self) -> Result<()> {
        let Self { fault, at_s, for_s, which } = *self;
        ensure!(
            at_s.is_finite() && (0.0..=MOST_S).contains(&at_s),
            "{fault} cannot begin at {at_s} s; give a time of 0 to {MOST_S} seconds from the start"
        );
        ensure!(
            for_s.is_finite() && (0.0..=MOST_S).contains(&for_s),
            "{fault} cannot last {for_s} s; give 0 to {MOST_S} seconds"
        );
        if fault.has_length() {
            ensure!(for_s > 0.0, "{fault} needs a length; give more than 0 seconds");
        } else if fault.what == What::Restart {
            ensure!(
                for_s == RESTART_S,
                "a process of {fault} is always down for {RESTART_S} s, not {for_s} s; leave the length out"
            );
        } else {
            ensure!(for_s == 0.0, "{fault} happens at once and cannot last {for_s} s; leave the length out");
        }
        let most = most_which(fault);
        ensure!(which <= most, "{fault} cannot hit number {which}; give 0 to {most}");
        Ok(())
    }
}

/// The highest number that a fault can hit.
const fn most_which(fault: Fault) -> u32 {
    match (fault.who, fault.what) {
        (Who::Link, What::Blackhole) => 1,
        (Who::Broker | Who::Disk | Who::Link, _) => 0,
        (Who::Sender | Who::Worker | Who::Receiver, _) => 63,
    }
}

/// To whole microseconds, so that sums print as they are read.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// The plan as a plan file, which gives the same plan when it is read.
impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steady_s, heal_s, drain_s, injections } = self;
        writeln!(f, "steady_s = {steady_s:?}\nheal_s = {heal_s:?}\ndrain_s = {drain_s:?}")?;
        for Injection { fault, at_s, for_s, which } in injections {
            writeln!(f, "\n[[fault]]\nname = \"{fault}\"\nat_s = {at_s:?}")?;
            if fault.has_length() {
                writeln!(f, "for_s = {for_s:?}")?;
            }
            if *which > 0 {
                writeln!(f, "which = {which}")?;
            }
        }
        Ok(())
    }
}

/// A plan file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    steady_s: Option<Seconds>,
    heal_s: Option<Seconds>,
    drain_s: Option<Seconds>,
    #[serde(default)]
    fault: Vec<FileFault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFault {
    name: Fault,
    at_s: Option<Seconds>,
    for_s: Option<Seconds>,
    which: Option<u32>,
}

/// A number of seconds, or a text with its unit, as on the command line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    fn read(&self) -> Result<f64> {
        match self {
            Self::Number(seconds) => Ok(*seconds),
            Self::Text(text) => units::seconds(text),
        }
    }
}

fn parse(text: &str) -> Result<FaultPlan> {
    let file: File = toml::from_str(text)?;
    let or = |value: &Option<Seconds>, usual: f64| value.as_ref().map_or(Ok(usual), Seconds::read);
    let steady_s = or(&file.steady_s, STEADY_S)?;
    let injection = |fault: &FileFault| {
        Ok(Injection {
            fault: fault.name,
            at_s: or(&fault.at_s, steady_s)?,
            for_s: or(&fault.for_s, usual_length(fault.name))?,
            which: fault.which.unwrap_or(0),
        })
    };
    let mut plan = FaultPlan {
        steady_s,
        heal_s: or(&file.heal_s, HEAL_S)?,
        drain_s: or(&file.drain_s, DRAIN_S)?,
        injections: file.fault.iter().map(injection).collect::<Result<_>>()?,
    };
    plan.check()?;
    plan.injections.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    Ok(plan)
}

#[cfg(test)]
mod tests;
