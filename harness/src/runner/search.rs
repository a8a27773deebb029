//! Loads that are found by measuring: the sustainable rate of a lab, and its latency from
//! far below that rate to just above it.
//!
//! Several short trials decide about each rate, and the rate never changes within a
//! trial: the searched quantity must not move while it is measured.

use anyhow::Result;
use rand::seq::SliceRandom as _;

use super::broker_slot::BrokerSlot;
use super::cases::{Setting, settings};
use super::limit::{LONGER, Limit, Votes, fault, is_search, rounded};
use super::progress::Progress;
use super::run::{Length, Work};
use super::schedule::{Step as Turn, need};
use crate::results::{
    Arrivals, Attempt, Capacity, Load, LoadKind, Part, Point, Purpose, Run, Step, Summary, Sweep,
};
use crate::stats::{self, queueing};

/// Where a search begins, when nothing is known of the lab, messages a second.
const START: f64 = 1_000.0;
/// The share of what a closed loop moves at which a search begins.
const CAUTION: f64 = 0.125;
/// The loads of a sweep, as shares of the sustainable rate.
const SHARES: [f64; 14] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05];
/// The approximate number of trials of a search, to estimate the time left.
const TRIALS: usize = 20;

impl<P: Progress> Work<'_, P> {
    /// Every search of the plan, one lab after the other.
    pub(super) async fn searches(&mut self) -> Result<()> {
        forget_unfinished(&mut self.run);
        let (handles, plan) = (self.handles.clone(), self.run.plan.clone());
        let wanted = settings(&handles, &plan, &mut Vec::new())?;
        let wanted: Vec<(&Setting<'_>, &Load)> = plan
            .loads
            .iter()
            .filter(|load| is_search(load.kind))
            .flat_map(|load| wanted.iter().map(move |setting| (setting, load)))
            .filter(|(setting, load)| !setting.handle.baseline && setting.bears(load.kind))
            .filter(|(setting, _)| !self.too_large.contains(&(setting.handle.entry.transport, setting.size)))
            .collect();
        let points = SHARES.len() * plan.trials;
        for (at, &(setting, load)) in wanted.iter().enumerate() {
            let about = |load: &Load| TRIALS + if load.kind == LoadKind::Sweep { points } else { 0 };
            let later: usize = wanted[at + 1..].iter().map(|(_, load)| about(load)).sum();
            self.forecast(later + about(load));
            let capacity = match self.known(setting, load) {
                Some(known) => known,
                None => self.capacity(setting, load).await?,
            };
            if load.kind == LoadKind::Sweep {
                self.forecast(later + points);
                self.sweep(setting, load, capacity).await?;
            }
        }
        if !wanted.is_empty() {
            self.forecast(0);
        }
        Ok(())
    }

    /// The estimated number of trials left.
    fn forecast(&mut self, left: usize) {
        self.total = self.made + left;
        self.progress.expect(self.total);
    }

    /// A search that was made already: for another load of the plan, or before an interruption.
    fn known(&self, setting: &Setting<'_>, load: &Load) -> Option<usize> {
        let subject = setting.subject();
        self.run
            .capacities
            .iter()
            .position(|known| known.subject == subject && Some(known.arrivals) == load.arrivals)
    }

    /// Searches for the sustainable rate; the place of the result.
    async fn capacity(&mut self, setting: &Setting<'_>, load: &Load) -> Result<usize> {
        let objective = self.run.plan.objective;
        let at = self.run.capacities.len();
        self.run.capacities.push(Capacity {
            subject: setting.subject(),
            arrivals: load.arrivals.unwrap_or(Arrivals::Poisson),
            objective,
            steps: Vec::new(),
            sustainable_per_s: None,
            highest_pass_per_s: None,
            lowest_fail_per_s: None,
            note: None,
            complete: false,
        });
        let mut slot = BrokerSlot::new(need(setting.handle));
        // The throughput of a closed loop is the starting point.
        let hint = self.cell(setting, &Load::max(), "");
        self.step(&mut slot, Turn { cell: hint, trial: 0 }, self.length(1.0)).await?;
        let flat_out = self.run.cells[hint].summary.as_ref().map(|summary| summary.throughput_per_s.median);
        let copies = copies(setting);
        let start = flat_out.map_or(START, |per_s| per_s / copies as f64 * CAUTION);
        // The generator must be able to do twice the load.
        let ceiling = rounded(self.null_rate(setting.handle, setting.size) / 2.0);
        let mut limit = Limit::new(start, ceiling);
        while let Some((rate, purpose)) = limit.next() {
            let load = Load { rate: Some(rate), kind: LoadKind::Rate, ..load.clone() };
            let step = self.attempt(&mut slot, setting, &load, purpose).await?;
            limit.tell(rate, purpose, step.passed);
            let capacity = &mut self.run.capacities[at];
            capacity.steps.push(step);
            capacity.highest_pass_per_s = limit.pass();
            capacity.lowest_fail_per_s = limit.fail();
            capacity.sustainable_per_s = limit.confirmed();
            self.result_set.save(&self.run)?;
        }
        slot.close().await?;
        let capacity = &mut self.run.capacities[at];
        (capacity.note, capacity.complete) = (limit.note(), true);
        let line = in_words(capacity);
        self.progress.note(&line);
        self.result_set.save(&self.run)?;
        Ok(at)
    }

    /// Tries one rate, until most of its trials have passed or failed.
    async fn attempt(
        &mut self,
        slot: &mut BrokerSlot,
        setting: &Setting<'_>,
        load: &Load,
        purpose: Purpose,
    ) -> Result<Step> {
        let confirms = purpose == Purpose::Confirm;
        let cell = self.cell(setting, load, if confirms { ".confirm" } else { "" });
        let length = self.length(if confirms { LONGER } else { 1.0 });
        let (objective, copies) = (self.run.plan.objective, copies(setting));
        let (mut trials, mut votes) = (Vec::new(), Votes::default());
        let passed = loop {
            let trial = self.run.cells[cell].trials.len();
            self.step(slot, Turn { cell, trial }, length).await?;
            let made = self.run.cells[cell].trials.iter().find(|made| made.index == trial);
            let why = made.map_or(Some("it was not run".to_owned()), |made| fault(made, &objective, copies));
            let decided = votes.cast(why.is_none());
            trials.push(Attempt { trial, why });
            if let Some(passed) = decided {
                break passed;
            }
        };
        let id = self.run.cells[cell].id.clone();
        Ok(Step { cell: id, rate: load.rate.unwrap_or_default(), purpose, passed, trials })
    }

    /// Latency against load, in random order, over the sustainable rate.
    async fn sweep(&mut self, setting: &Setting<'_>, load: &Load, capacity: usize) -> Result<()> {
        let subject = setting.subject();
        let arrivals = load.arrivals.unwrap_or(Arrivals::Poisson);
        if self.run.sweeps.iter().any(|sweep| sweep.subject == subject && sweep.arrivals == arrivals) {
            return Ok(());
        }
        let Some(sustainable) = self.run.capacities[capacity].sustainable_per_s else {
            self.progress.note(&format!("{} gets no sweep, because it has no sustainable rate", subject.lab));
            return Ok(());
        };
        let (mut points, mut turns) = (Vec::new(), Vec::new());
        for share in SHARES {
            let rate = rounded(sustainable * share);
            let load = Load { rate: Some(rate), kind: LoadKind::Rate, ..load.clone() };
            let cell = self.place(setting.cell(&load, Some(Part::Sweep)));
            points.push(Point { share, rate, cell: self.run.cells[cell].id.clone(), predicted_ns: None });
            turns.extend((0..self.run.plan.trials).map(|trial| Turn { cell, trial }));
        }
        turns.shuffle(&mut self.random);
        let mut slot = BrokerSlot::new(need(setting.handle));
        for turn in turns {
            self.step(&mut slot, turn, self.length(1.0)).await?;
        }
        slot.close().await?;
        let mut sweep = Sweep {
            subject,
            arrivals,
            sustainable_per_s: sustainable,
            points,
            knee: None,
            base_ns: None,
            service_scv: None,
        };
        self.explain(&mut sweep)?;
        self.run.sweeps.push(sweep);
        self.result_set.save(&self.run)
    }

    /// The knee, and what queueing theory says to it.
    fn explain(&self, sweep: &mut Sweep) -> Result<()> {
        let summary = |id: &str| -> Option<&Summary> {
            self.run.cells.iter().find(|cell| cell.id == id)?.summary.as_ref()
        };
        let means: Vec<(f64, f64)> = sweep
            .points
            .iter()
            .filter_map(|point| Some((point.share, summary(&point.cell)?.response_ns.mean? as f64)))
            .collect();
        sweep.knee = queueing::knee(&means);
        let Some(lowest) = sweep.points.first() else { return Ok(()) };
        let Some(&(_, base)) = means.first().filter(|(share, _)| *share == lowest.share) else {
            return Ok(());
        };
        let mut service = stats::new_histogram();
        let trials =
            self.run.cells.iter().filter(|cell| cell.id == lowest.cell).flat_map(|cell| &cell.trials);
        for trial in trials.filter(|trial| trial.failed.is_none()) {
            service.add(stats::decode(&self.result_set.raw(&lowest.cell, trial.index)?.service)?)?;
        }
        let scv = queueing::scv(service.mean(), service.stdev());
        (sweep.base_ns, sweep.service_scv) = (Some(base), scv);
        let arrivals = match sweep.arrivals {
            Arrivals::Constant => Some(0.0),
            Arrivals::Poisson => Some(1.0),
            // Gaps within and between bursts depend on each other: the formula does not hold.
            Arrivals::Burst | Arrivals::Ramp => None,
        };
        let one_ns = 1e9 / sweep.sustainable_per_s;
        for point in &mut sweep.points {
            let wait = arrivals.zip(scv).and_then(|(a, s)| queueing::waiting(point.share, a, s));
            point.predicted_ns = wait.map(|services| base + services * one_ns);
        }
        Ok(())
    }

    /// A case of a search, created if it does not exist yet.
    fn cell(&mut self, setting: &Setting<'_>, load: &Load, suffix: &str) -> usize {
        let mut cell = setting.cell(load, Some(Part::Capacity));
        cell.id.push_str(suffix);
        self.place(cell)
    }

    fn place(&mut self, cell: crate::results::BenchmarkCase) -> usize {
        if let Some(at) = self.run.cells.iter().position(|known| known.id == cell.id) {
            return at;
        }
        self.run.cells.push(cell);
        self.run.cells.len() - 1
    }

    fn length(&self, times: f64) -> Length {
        Length { warmup: self.run.plan.warmup_s, seconds: self.run.plan.seconds * times }
    }
}

/// How many receivers get each message.
fn copies(setting: &Setting<'_>) -> u64 {
    setting.handle.entry.pattern.copies(setting.receivers)
}

/// A search that was interrupted begins again: what it had found by then
/// depends on trials that were made at another time.
fn forget_unfinished(run: &mut Run) {
    run.capacities.retain(|capacity| capacity.complete);
    let kept: Vec<&String> = run
        .capacities
        .iter()
        .flat_map(|capacity| capacity.steps.iter().map(|step| &step.cell))
        .chain(run.sweeps.iter().flat_map(|sweep| sweep.points.iter().map(|point| &point.cell)))
        .collect();
    let searched = |cell: &crate::results::BenchmarkCase| {
        cell.load.kind == LoadKind::Max
            && run.capacities.iter().any(|capacity| {
                let subject = &capacity.subject;
                (&subject.lab, subject.size, subject.senders, subject.receivers, &subject.set)
                    == (&cell.lab, cell.size, cell.senders, cell.receivers, &cell.set)
            })
    };
    let keep: Vec<bool> = run
        .cells
        .iter()
        .map(|cell| cell.part_of.is_none() || kept.contains(&&cell.id) || searched(cell))
        .collect();
    let mut keep = keep.into_iter();
    run.cells.retain(|_| keep.next().unwrap_or(true));
}

/// `oneway-tcp sustains 1 230 000 messages a second …`.
fn in_words(capacity: &Capacity) -> String {
    let lab = &capacity.subject.lab;
    let objective = format!("p99 within {} ms", capacity.objective.p99_ns as f64 / 1e6);
    let mut words = match capacity.sustainable_per_s {
        Some(rate) => format!("{lab} sustains {rate} messages a second ({objective})"),
        None => format!("{lab} has no sustainable rate ({objective})"),
    };
    match (&capacity.note, capacity.lowest_fail_per_s) {
        (Some(note), _) => words.push_str(&format!("; {note}")),
        (None, Some(fail)) => words.push_str(&format!("; {fail} failed")),
        (None, None) => {}
    }
    words
}
