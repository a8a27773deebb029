//! Runs one check and evaluates it.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::check::Check;
use super::checker::{self, Backlog, Figure, Findings};
use super::expected::{Expected, Setting};
use super::fault::Harm;
use super::simulated;
use super::transport::{self, Registered};
use crate::measure::{clock, schedule};
use crate::results::Trial;
use crate::supervisor::Placement;
use crate::trial::{self, Outcome, Spec, TrialOptions};

/// Message size, bytes.
pub(super) const SIZE: usize = 64;
/// Longest wait while nothing arrives, seconds. Where messages stay away for
/// good, this is how long a check waits for them.
const DRAIN: f64 = 1.5;

/// The verdict of a check.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// The check.
    pub name: &'static str,
    /// The faults of the transport.
    pub about: &'static str,
    /// The pattern.
    pub pattern: &'static str,
    /// The seed of the lots.
    pub seed: u64,
    /// The number of messages affected, by fault.
    pub harmed: BTreeMap<Harm, u64>,
    /// Whether every figure was found.
    pub found: bool,
    /// Every figure.
    pub figures: Vec<Figure>,
    /// Why nothing can be said, where the transport itself failed.
    pub error: Option<String>,
    /// How often it was tried. More than once only if times were wrong on a machine that
    /// paused; wrong counts are never tried again.
    pub attempts: usize,
    /// The longest that an idle thread overslept meanwhile, ns.
    pub held_up_ns: u64,
    /// The names of the figures that the check is about.
    #[serde(skip)]
    pub headline: &'static [&'static str],
}

/// A check that was run, before it is evaluated.
pub struct CheckRun {
    check: Check,
    truth: Result<Expected>,
    harmed: BTreeMap<Harm, u64>,
    outcome: Outcome,
    backlog: Backlog,
}

impl CheckRun {
    /// The results of the harness.
    pub fn trial(&self) -> &Trial {
        &self.outcome.trial
    }

    /// All figures for these results; an error if the transport did not apply its faults.
    pub fn figures(&self, trial: &Trial) -> Result<Vec<Figure>, String> {
        let findings = Findings { trial, raw: &self.outcome.raw, backlog: self.backlog };
        match &self.truth {
            Ok(truth) => Ok(checker::compare(&self.check, truth, findings)),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

/// Evaluates a check.
pub(super) fn evaluate(check_run: &CheckRun, seed: u64, attempts: usize) -> Verdict {
    let check = &check_run.check;
    let (figures, error) = match check_run.figures(check_run.trial()) {
        Ok(figures) => (figures, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    Verdict {
        name: check.name,
        about: check.about,
        pattern: check.pattern.as_str(),
        seed,
        harmed: check_run.harmed.clone(),
        found: error.is_none() && figures.iter().all(|figure| figure.good),
        figures,
        error,
        attempts,
        held_up_ns: check_run.outcome.trial.noise.oversleep_max_ns,
        headline: check.headline,
    }
}

/// Runs the trial of a check, once.
///
/// # Errors
/// If the trial could not be run at all.
pub async fn run_trial(check: &Check, seed: u64) -> Result<CheckRun> {
    // Checks of the same share are not to harm the same messages.
    let lots = seed ^ u64::from(crc32c::crc32c(check.name.as_bytes()));
    let registered = Registered::new(check.faults.clone(), lots);
    let spec = Spec {
        handle: simulated::handle(check.pattern),
        size: SIZE,
        load: check.load.clone(),
        senders: check.senders,
        receivers: check.receivers,
        warmup: check.warmup,
        seconds: check.seconds,
        drain: DRAIN,
        window: check.window,
        knobs: BTreeMap::from([(transport::KNOB.name.to_owned(), registered.number)]),
        seed,
        placement: Placement { threads: true, ..Placement::default() },
        null_rate: schedule::null_rate(SIZE)?,
        options: TrialOptions::default(),
    };
    let mut backlog = Backlog::default();
    let outcome = trial::run(&spec, None, 0, 0, |watch| {
        let messages = watch.sent.saturating_sub(watch.received);
        if messages > backlog.messages {
            backlog = Backlog { at: watch.at, messages };
        }
    })
    .await?;
    let pages = registered.transport.event_log.pages();
    let setting = Setting {
        pattern: check.pattern,
        senders: check.senders,
        receivers: check.receivers,
        load: check.load.clone(),
        start: outcome.start.unwrap_or_default(),
        warmup_ns: clock::seconds(check.warmup),
        measured_ns: clock::seconds(check.seconds),
    };
    let truth = Expected::of(&setting, &pages);
    Ok(CheckRun { check: check.clone(), truth, harmed: pages.harms, outcome, backlog })
}
