//! The harness, put to the test: a transport whose truth is known, because it
//! makes it, is measured by the very loops and the very verdict that measure the
//! labs. What it did to each message it notes by itself, in full; the harness
//! must find all of it.
//!
//! In reading order: what is done to messages ([`fault`]), what is noted of each
//! ([`diary`]), the transport ([`wire`], [`rig`]) as a lab of every contract
//! ([`known`]), what its notes come to ([`truth`]), what a check is ([`check`]) and
//! all of them ([`list`]), and how the harness is held against it ([`judge`], [`search`]).

mod check;
mod diary;
mod fault;
mod judge;
mod known;
mod list;
mod rig;
mod search;
mod truth;
mod wire;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

pub use check::Check;
pub use fault::Harm;
pub use judge::{Figure, HAIR_NS, RANKS, SHARE, Value};
pub use list::all;

use crate::conduct::Housing;
use crate::load;
use crate::results::{LoadKind, Trial};
use crate::trial::{self, Outcome, Script, Spec};
use judge::{Backlog, Findings};
use rig::Mounted;
use truth::{Setting, Truth};

/// Message size, bytes.
const SIZE: usize = 64;
/// Longest wait while nothing arrives, seconds. Where messages stay away for
/// good, this is how long a check waits for them.
const DRAIN: f64 = 1.5;
/// An idle thread that woke this much too late, ns, says that the machine was
/// held up for longer than times may be off.
const HELD_UP: u64 = 500_000;

/// What came of a check.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// The check.
    pub name: &'static str,
    /// What the transport did.
    pub about: &'static str,
    /// The pattern.
    pub pattern: &'static str,
    /// The seed of the lots.
    pub seed: u64,
    /// How many messages suffered what.
    pub harmed: BTreeMap<Harm, u64>,
    /// Whether every figure was found.
    pub found: bool,
    /// Every figure.
    pub figures: Vec<Figure>,
    /// Why nothing can be said, where the transport itself failed.
    pub error: Option<String>,
    /// How often it was tried. More than once only where times were spoiled by a
    /// machine that was held up; counts get no second chance.
    pub attempts: usize,
    /// The longest that an idle thread overslept meanwhile, ns.
    pub held_up_ns: u64,
    /// The names of the figures that tell what the check is about.
    #[serde(skip)]
    pub headline: &'static [&'static str],
}

/// A check that was carried out, before it is judged.
pub struct Evidence {
    check: Check,
    truth: Result<Truth>,
    harmed: BTreeMap<Harm, u64>,
    outcome: Outcome,
    backlog: Backlog,
}

impl Evidence {
    /// What the harness found.
    pub fn trial(&self) -> &Trial {
        &self.outcome.trial
    }

    /// Every figure, found or not, had the harness found this; an error where the
    /// transport did not do what it was told.
    pub fn figures(&self, trial: &Trial) -> Result<Vec<Figure>, String> {
        let findings = Findings { trial, raw: &self.outcome.raw, backlog: self.backlog };
        match &self.truth {
            Ok(truth) => Ok(judge::judge(&self.check, truth, findings)),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

/// Carries a check out and judges it; again, up to `attempts` times, while its
/// counts are right, its times are not, and the machine was held up.
///
/// # Errors
/// When a trial could not be made at all. That the harness found something else
/// is no error but a verdict.
pub async fn run(check: &Check, seed: u64, attempts: usize) -> Result<Verdict> {
    let mut attempt = 1;
    loop {
        let verdict = match check.load.kind {
            LoadKind::Capacity => search::judged(check, seed, attempt).await?,
            _ => judged(&carry_out(check, seed).await?, seed, attempt),
        };
        let only_time = verdict.figures.iter().all(|figure| figure.good || figure.is_timed());
        let spoiled = !verdict.found && only_time && verdict.held_up_ns > HELD_UP;
        if !spoiled || attempt >= attempts {
            return Ok(verdict);
        }
        attempt += 1;
    }
}

fn judged(evidence: &Evidence, seed: u64, attempts: usize) -> Verdict {
    let check = &evidence.check;
    let (figures, error) = match evidence.figures(evidence.trial()) {
        Ok(figures) => (figures, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    Verdict {
        name: check.name,
        about: check.about,
        pattern: check.pattern.as_str(),
        seed,
        harmed: evidence.harmed.clone(),
        found: error.is_none() && figures.iter().all(|figure| figure.good),
        figures,
        error,
        attempts,
        held_up_ns: evidence.outcome.trial.noise.oversleep_max_ns,
        headline: check.headline,
    }
}

/// Runs the trial of a check, once.
///
/// # Errors
/// When the trial could not be made at all.
pub async fn carry_out(check: &Check, seed: u64) -> Result<Evidence> {
    // Checks of the same share are not to harm the same messages.
    let lots = seed ^ u64::from(crc32c::crc32c(check.name.as_bytes()));
    let mounted = Mounted::new(check.faults.clone(), lots);
    let spec = Spec {
        handle: known::handle(check.pattern),
        size: SIZE,
        load: check.load.clone(),
        senders: check.senders,
        receivers: check.receivers,
        warmup: check.warmup,
        seconds: check.seconds,
        drain: DRAIN,
        window: check.window,
        knobs: BTreeMap::from([(rig::KNOB.name.to_owned(), mounted.number)]),
        seed,
        housing: Housing { threads: true, cpus: Vec::new() },
        null_rate: load::null_rate(SIZE)?,
        script: Script::default(),
    };
    let mut backlog = Backlog::default();
    let outcome = trial::run(&spec, None, 0, 0, |watch| {
        let messages = watch.sent.saturating_sub(watch.received);
        if messages > backlog.messages {
            backlog = Backlog { at: watch.at, messages };
        }
    })
    .await?;
    let pages = mounted.rig.diary.pages();
    let setting = Setting {
        pattern: check.pattern,
        senders: check.senders,
        receivers: check.receivers,
        load: check.load.clone(),
        start: outcome.start.unwrap_or_default(),
        warmup_ns: crate::clock::seconds(check.warmup),
        measured_ns: crate::clock::seconds(check.seconds),
    };
    let truth = Truth::of(&setting, &pages);
    Ok(Evidence { check: check.clone(), truth, harmed: pages.harms, outcome, backlog })
}
