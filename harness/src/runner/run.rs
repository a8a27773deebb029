//! Runs the trials of a plan, and writes the result set after each.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use labs::lab::{Broker, Guarantee};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::available::{TooLarge, available};
use super::broker_slot::BrokerSlot;
use super::cases::{self, baselines, open};
use super::progress::{Next, Progress};
use super::request::Request;
use super::schedule::{Block, Step, schedule};
use crate::broker::{Options, Server, Source};
use crate::compare::reproducibility;
use crate::measure::schedule::null_rate;
use crate::measure::trace;
use crate::process::guard;
use crate::results::{BenchmarkCase, LoadKind, Plan, Raw, ResultSet, Run, Trial};
use crate::roles::Handle;
use crate::roles::protocol::kinds;
use crate::supervisor::{Launch, Placement};
use crate::trial::{self, Spec, TrialOptions};
use crate::{plan, stats};

/// How long a trial is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    pub(super) warmup: f64,
    pub(super) seconds: f64,
}

/// Refuses a plan in which nothing could be measured, before anything is started.
pub fn check(plan: &Plan, handles: &[Handle]) -> Result<()> {
    let wanted = plan::select(handles, &plan.labs)?;
    plan::built_in(&wanted.iter().collect::<Vec<_>>())?;
    let launch = plan::launch(plan)?;
    if launch.is_remote() || plan.listen.is_some() {
        let bound = wanted.iter().find(|handle| handle.entry.one_host());
        let name = bound.map(|handle| &handle.entry.name);
        ensure!(
            name.is_none(),
            "all roles of {} have to be on one host; leave it out, or leave out --launch and --listen",
            name.map_or("", String::as_str)
        );
    }
    let known = |kind| wanted.iter().any(|handle| kinds(handle.entry.pattern).contains(&kind));
    let unused = launch.kinds().find(|kind| !known(*kind));
    ensure!(
        unused.is_none(),
        "none of these labs has a {}: `--launch {}` would do nothing",
        unused.map_or("", |kind| kind.as_str()),
        unused.map_or("", |kind| kind.as_str())
    );
    if plan.pause.is_some() {
        let without = wanted.iter().find(|handle| handle.entry.broker.is_none());
        let name = without.map(|handle| &handle.entry.name);
        ensure!(
            name.is_none(),
            "{} has no broker to pause; leave out --pause-broker",
            name.map_or("", String::as_str)
        );
    }
    cases::settings(&wanted, plan, &mut Vec::new()).map(|_| ())
}

/// Runs every trial of the plan. Finished trials are on disk at every moment.
pub async fn run(request: &Request<'_>, progress: &mut impl Progress) -> Result<Run> {
    let plan = &request.plan;
    plan::check(plan)?;
    let wanted = plan::select(request.handles, &plan.labs)?;
    let cpus = plan.cpus.as_deref().map(plan::parse_cpus).transpose()?.unwrap_or_default();
    let mut available = available(wanted, &request.choices, &plan.sizes, request.strict).await?;
    let mut handles = std::mem::take(&mut available.handles);
    handles.extend(baselines(plan, &handles));
    let (result_set, run, _lock) = open(request, &handles, &available)?;
    let mut random = SmallRng::seed_from_u64(run.seed);
    let rounds = schedule(&run, &handles, &mut random);
    let blocks = rounds.iter().flat_map(|round| &round.blocks);
    let order: Vec<Step> = blocks.flat_map(|block| &block.steps).copied().collect();
    let searches = plan.loads.iter().any(|load| matches!(load.kind, LoadKind::Capacity | LoadKind::Sweep));
    progress.begin(order.len(), &run.skipped);
    // Where there is no room for its account, the trials have none either, and say so.
    let rate = |&size| {
        let rate = std::thread::spawn(move || null_rate(usize::try_from(size).ok()?).ok()).join();
        Some((size, rate.ok()??))
    };
    let mut work = Work {
        handles,
        sources: available.sources,
        too_large: available.too_large,
        cpus,
        null_rates: plan.sizes.iter().filter_map(rate).collect(),
        position: run.cells.iter().map(|cell| cell.trials.len()).sum(),
        result_set,
        run,
        random,
        began: Instant::now(),
        made: 0,
        total: order.len(),
        order,
        progress,
    };
    let mut rounds = rounds.into_iter().peekable();
    while let Some(round) = rounds.next() {
        for block in &round.blocks {
            work.block(block).await?;
        }
        // The last one is reported at the end of the run.
        if rounds.peek().is_some() || searches {
            work.progress.round(work.result_set.dir(), round.trials);
        }
    }
    work.searches().await?;
    work.run.complete = true;
    work.result_set.save(&work.run)?;
    Ok(work.run)
}

/// A run that is being made.
pub(super) struct Work<'a, P> {
    pub(super) handles: Vec<Handle>,
    pub(super) sources: BTreeMap<Broker, Source>,
    pub(super) too_large: TooLarge,
    pub(super) cpus: Vec<usize>,
    pub(super) null_rates: BTreeMap<u64, f64>,
    pub(super) result_set: ResultSet,
    pub(super) run: Run,
    pub(super) random: SmallRng,
    pub(super) began: Instant,
    pub(super) made: usize,
    /// How many there will be, as far as is known.
    pub(super) total: usize,
    /// The planned ones, in this order; searches decide themselves what comes next.
    pub(super) order: Vec<Step>,
    pub(super) position: usize,
    pub(super) progress: &'a mut P,
}

impl<P: Progress> Work<'_, P> {
    /// The trials that share a broker.
    async fn block(&mut self, block: &Block) -> Result<()> {
        let mut slot = BrokerSlot::new(block.broker);
        let length = Length { warmup: self.run.plan.warmup_s, seconds: self.run.plan.seconds };
        for step in &block.steps {
            self.step(&mut slot, *step, length).await?;
        }
        slot.close().await
    }

    /// Makes one trial, and writes it down.
    pub(super) async fn step(&mut self, slot: &mut BrokerSlot, step: Step, length: Length) -> Result<()> {
        if let (None, None, Some(need)) = (&slot.server, &slot.unstartable, slot.need) {
            match self.start(need).await {
                Ok(started) => slot.server = Some(started),
                Err(error) => slot.unstartable = Some(self.unavailable(need.0, &error)),
            }
        }
        if let Some(server) = &slot.server {
            note_settings(&mut self.run.cells[step.cell], server);
        }
        let cell = &self.run.cells[step.cell];
        self.progress.next(&Next {
            cell,
            trial: step.trial,
            of: cell.part_of.is_none().then_some(self.run.plan.trials),
            then: self.order.get(self.made + 1).map(|step| &self.run.cells[step.cell]),
        });
        let good = match &slot.unstartable {
            Some(reason) => self.give_up(step, reason.clone()),
            None => self.make(step, length, slot.server.as_mut()).await?,
        };
        self.result_set.save(&self.run)?;
        (self.made, self.position) = (self.made + 1, self.position + 1);
        if self.made > self.total {
            self.total = self.made;
            self.progress.expect(self.total);
        }
        let left_s = self.began.elapsed().as_secs_f64() / self.made as f64 * (self.total - self.made) as f64;
        self.progress.trial(&self.run.cells[step.cell], self.made, left_s);
        if !good && let Some(old) = slot.server.take() {
            // It has failed already; what stopping it says adds nothing.
            let _ = old.stop().await;
        }
        Ok(())
    }

    async fn start(&mut self, (broker, durable): (Broker, bool)) -> Result<Server> {
        self.progress.broker(broker);
        let options = Options { durable, dir: &guard::session_dir(), settings: &[] };
        let server = Server::start(broker, &self.sources[&broker], &options).await?;
        let variant = if durable { " (durable)" } else { "" };
        let (then, now) = (self.run.versions.brokers.get(broker.as_str()), server.version());
        if let Some(then) = then.filter(|then| *then != now) {
            bail!("this result set was made with version {then} of {broker}, and this one is {now}");
        }
        self.run.versions.settings.insert(format!("{broker}{variant}"), server.settings().clone());
        self.run.versions.brokers.insert(broker.to_string(), server.version().to_owned());
        Ok(server)
    }

    /// Why nothing runs over a broker: a private one is started, the user's own is asked.
    fn unavailable(&self, broker: Broker, error: &anyhow::Error) -> String {
        match &self.sources[&broker] {
            Source::Url(_) => format!("{broker} cannot be used: {error:#}"),
            _ => format!("{broker} does not start: {error:#}"),
        }
    }

    /// Where a baseline's roles run: on the hosts of the labs that it belongs beside.
    fn beside(&self, baseline: &Handle) -> Result<Launch> {
        let direct = baseline.entry.broker.is_none();
        let mut labs = self.handles.iter().filter(|lab| !lab.baseline);
        let lab = labs.find(|lab| lab.entry.broker == baseline.entry.broker);
        let launch = plan::launch(&self.run.plan)?;
        Ok(lab.map_or_else(Launch::default, |lab| {
            launch.between(lab.entry.pattern, baseline.entry.pattern, direct)
        }))
    }

    /// Makes one trial; whether it was good.
    async fn make(&mut self, step: Step, length: Length, server: Option<&mut Server>) -> Result<bool> {
        let (plan, cell) = (&self.run.plan, &self.run.cells[step.cell]);
        let handle = plan::lab(&self.handles, &cell.lab)?;
        let mut knobs = plan.knobs.clone();
        knobs.extend(cell.set.clone());
        let spec = Spec {
            handle: handle.clone(),
            size: usize::try_from(cell.size)?,
            load: cell.load.clone(),
            senders: cell.senders,
            receivers: cell.receivers,
            warmup: length.warmup,
            seconds: length.seconds,
            drain: plan.drain_s,
            window: plan.window,
            knobs,
            seed: self.random.random(),
            placement: Placement {
                threads: handle.entry.in_process(),
                cpus: self.cpus.clone(),
                launch: if handle.baseline { self.beside(handle)? } else { plan::launch(plan)? },
            },
            null_rate: self.null_rate(handle, cell.size),
            options: match cell.part_of {
                // A search measures the limit without a pause of the broker.
                Some(_) => TrialOptions::default(),
                // A baseline keeps no account, and so no recording.
                None => TrialOptions {
                    record: plan.record && !handle.baseline,
                    pause: plan.pause,
                    ..TrialOptions::default()
                },
            },
        };
        let progress = &mut *self.progress;
        let running =
            trial::run(&spec, server, step.trial, self.position, |watch| progress.watch(cell, watch));
        let outcome = match running.await {
            Ok(outcome) => outcome,
            // A machine that has no room for one trial may have room for the next.
            Err(error) => return Ok(self.give_up(step, format!("{error:#}"))),
        };
        let good = outcome.trial.failed.is_none();
        let cell = &mut self.run.cells[step.cell];
        self.result_set.save_raw(&cell.id, step.trial, &outcome.raw)?;
        if let Some(recording) = &outcome.recording {
            self.result_set.save_loose(&trace::file(&cell.id, step.trial), &recording.csv())?;
        }
        cell.knobs.extend(outcome.knobs);
        put(cell, outcome.trial);
        summarize(&self.result_set, cell, self.run.seed)?;
        if let (Some(widening), Some(summary)) = (&self.run.widening, &mut cell.summary) {
            reproducibility::apply(widening, summary);
        }
        Ok(good)
    }

    /// The rate that the generator can offer to a transport that does nothing. The sender of a
    /// baseline writes no header, so the cost of headers does not limit it.
    pub(super) fn null_rate(&self, handle: &Handle, size: u64) -> f64 {
        match handle.baseline {
            true => f64::INFINITY,
            false => self.null_rates.get(&size).copied().unwrap_or(f64::INFINITY),
        }
    }

    /// A trial that could not even begin.
    fn give_up(&mut self, step: Step, reason: String) -> bool {
        let trial =
            Trial { index: step.trial, position: self.position, failed: Some(reason), ..Trial::default() };
        put(&mut self.run.cells[step.cell], trial);
        false
    }
}

/// Puts a trial in its place; one that failed earlier makes room.
fn put(cell: &mut BenchmarkCase, trial: Trial) {
    cell.trials.retain(|other| other.index != trial.index);
    cell.trials.push(trial);
    cell.trials.sort_by_key(|trial| trial.index);
}

/// The guarantee that the broker's settings allow.
fn note_settings(cell: &mut BenchmarkCase, server: &Server) {
    let Some((limit, why)) = server.guarantee_limit() else { return };
    if cell.guarantee == Guarantee::Durable.as_str() && limit < Guarantee::Durable {
        cell.guarantee = limit.to_string();
        cell.guarantee_note = Some(why);
    }
}

/// The summary of the good trials, from the recordings on disk.
fn summarize(result_set: &ResultSet, cell: &mut BenchmarkCase, seed: u64) -> Result<()> {
    let raw = |trial: &Trial| match trial.failed {
        // One that could not even begin has recorded nothing.
        Some(_) => Ok(Raw::default()),
        None => result_set.raw(&cell.id, trial.index),
    };
    let raws = cell.trials.iter().map(raw).collect::<Result<Vec<_>>>()?;
    cell.summary = stats::summarize(cell, &raws, seed)?;
    Ok(())
}
