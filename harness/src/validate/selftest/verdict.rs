//! One check carried out and judged.

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
    truth: Result<Expected>,
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
            Ok(truth) => Ok(checker::judge(&self.check, truth, findings)),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

/// What a check came to.
pub(super) fn judged(evidence: &Evidence, seed: u64, attempts: usize) -> Verdict {
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
        placement: Placement { threads: true, cpus: Vec::new() },
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
    Ok(Evidence { check: check.clone(), truth, harmed: pages.harms, outcome, backlog })
}
