//! A whole run: every cell of a plan, trial by trial, in random order, written
//! down as it goes; then the searches, which decide themselves what comes next.

mod cells;
pub(crate) mod limit;
mod progress;
mod search;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cells::{available, floors, open};
use labs::lab::{Broker, Guarantee};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::broker::{Options, Server, Source};
use crate::conduct::Housing;
use crate::results::private::RESULTS;
use crate::results::{Bundle, Cell, LoadKind, Plan, Raw, Run, Trial};
use crate::role::Handle;
use crate::trial::{self, Script, Spec};
use crate::{agree, guard, host, load, plan, recording, stats};
pub use progress::{Next, Progress};

/// What a run needs besides its plan.
pub struct Request<'a> {
    /// Every lab there is.
    pub handles: &'a [Handle],
    /// What to measure.
    pub plan: Plan,
    /// The user's own brokers, by name.
    pub urls: BTreeMap<String, String>,
    /// The seed of everything random.
    pub seed: u64,
    /// The folder of the bundle.
    pub out: &'a Path,
    /// Go on with a bundle that is there.
    pub resume: bool,
    /// A missing broker is an error, not a skipped lab.
    pub strict: bool,
}

/// One trial that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    cell: usize,
    trial: usize,
}

/// Which broker a lab needs, and whether it has to keep things on disk.
type Need = Option<(Broker, bool)>;

/// The trials that share one start of a broker.
struct Block {
    broker: Need,
    steps: Vec<Step>,
}

/// One trial of every cell that does not have it yet.
struct Round {
    /// How many trials each cell has after it.
    trials: usize,
    blocks: Vec<Block>,
}

/// The broker that trials share, while it is good. One that has seen a failed
/// trial may be dead, stuck or full: the next trial gets a new one.
struct House {
    need: Need,
    server: Option<Server>,
    unstartable: Option<String>,
}

impl House {
    fn new(need: Need) -> Self {
        Self { need, server: None, unstartable: None }
    }

    async fn close(self) -> Result<()> {
        match self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// How long a trial is.
#[derive(Debug, Clone, Copy)]
struct Length {
    warmup: f64,
    seconds: f64,
}

/// Refuses a plan in which nothing could be measured, before anything is started.
pub fn check(plan: &Plan, handles: &[Handle]) -> Result<()> {
    let wanted = plan::select(handles, &plan.labs)?;
    plan::built_in(&wanted.iter().collect::<Vec<_>>())?;
    if plan.pause.is_some() {
        let without = wanted.iter().find(|handle| handle.entry.broker.is_none());
        let name = without.map(|handle| &handle.entry.name);
        ensure!(
            name.is_none(),
            "{} has no broker that could stand still; leave out --pause-broker",
            name.map_or("", String::as_str)
        );
    }
    cells::settings(&wanted, plan, &mut Vec::new()).map(|_| ())
}

/// Makes every trial of the plan. What was finished is on disk at every moment.
pub async fn run(request: &Request<'_>, progress: &mut impl Progress) -> Result<Run> {
    let plan = &request.plan;
    plan::check(plan)?;
    let wanted = plan::select(request.handles, &plan.labs)?;
    let cpus = plan.cpus.as_deref().map(plan::parse_cpus).transpose()?.unwrap_or_default();
    let (mut handles, sources, skipped) = available(wanted, &request.urls, request.strict)?;
    handles.extend(floors(plan, &handles));
    let (bundle, run) = open(request, &handles, skipped)?;
    let mut random = SmallRng::seed_from_u64(run.seed);
    let rounds = schedule(&run, &handles, &mut random);
    let blocks = rounds.iter().flat_map(|round| &round.blocks);
    let order: Vec<Step> = blocks.flat_map(|block| &block.steps).copied().collect();
    let searches = plan.loads.iter().any(|load| matches!(load.kind, LoadKind::Capacity | LoadKind::Sweep));
    progress.begin(order.len(), &run.skipped);
    let null_rate = |&size| Ok((size, load::null_rate(usize::try_from(size)?)?));
    let mut work = Work {
        handles,
        sources,
        cpus,
        null_rates: plan.sizes.iter().map(null_rate).collect::<Result<_>>()?,
        position: run.cells.iter().map(|cell| cell.trials.len()).sum(),
        bundle,
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
        // The end of the run tells of the last one.
        if rounds.peek().is_some() || searches {
            work.progress.round(work.bundle.dir(), round.trials);
        }
    }
    work.searches().await?;
    work.run.complete = true;
    work.bundle.save(&work.run)?;
    Ok(work.run)
}

/// A run that is being made.
struct Work<'a, P> {
    handles: Vec<Handle>,
    sources: BTreeMap<Broker, Source>,
    cpus: Vec<usize>,
    null_rates: BTreeMap<u64, f64>,
    bundle: Bundle,
    run: Run,
    random: SmallRng,
    began: Instant,
    made: usize,
    /// How many there will be, as far as is known.
    total: usize,
    /// The planned ones, in this order; searches decide themselves what comes next.
    order: Vec<Step>,
    position: usize,
    progress: &'a mut P,
}

impl<P: Progress> Work<'_, P> {
    /// The trials that share a broker.
    async fn block(&mut self, block: &Block) -> Result<()> {
        let mut house = House::new(block.broker);
        let length = Length { warmup: self.run.plan.warmup_s, seconds: self.run.plan.seconds };
        for step in &block.steps {
            self.step(&mut house, *step, length).await?;
        }
        house.close().await
    }

    /// Makes one trial, and writes it down.
    async fn step(&mut self, house: &mut House, step: Step, length: Length) -> Result<()> {
        if let (None, None, Some(need)) = (&house.server, &house.unstartable, house.need) {
            match self.start(need).await {
                Ok(started) => house.server = Some(started),
                Err(error) => house.unstartable = Some(format!("{} does not start: {error:#}", need.0)),
            }
        }
        if let Some(server) = &house.server {
            note_settings(&mut self.run.cells[step.cell], server);
        }
        let cell = &self.run.cells[step.cell];
        self.progress.next(&Next {
            cell,
            trial: step.trial,
            of: cell.part_of.is_none().then_some(self.run.plan.trials),
            then: self.order.get(self.made + 1).map(|step| &self.run.cells[step.cell]),
        });
        let good = match &house.unstartable {
            Some(reason) => self.give_up(step, reason.clone()),
            None => self.make(step, length, house.server.as_mut()).await?,
        };
        self.bundle.save(&self.run)?;
        (self.made, self.position) = (self.made + 1, self.position + 1);
        if self.made > self.total {
            self.total = self.made;
            self.progress.expect(self.total);
        }
        let left_s = self.began.elapsed().as_secs_f64() / self.made as f64 * (self.total - self.made) as f64;
        self.progress.trial(&self.run.cells[step.cell], self.made, left_s);
        if !good && let Some(old) = house.server.take() {
            // It has failed already; what stopping it says adds nothing.
            let _ = old.stop().await;
        }
        Ok(())
    }

    async fn start(&mut self, (broker, durable): (Broker, bool)) -> Result<Server> {
        self.progress.broker(broker);
        let options = Options { durable, dir: &guard::session_dir() };
        let server = Server::start(broker, &self.sources[&broker], &options).await?;
        let variant = if durable { " (durable)" } else { "" };
        self.run.versions.settings.insert(format!("{broker}{variant}"), server.settings().clone());
        self.run.versions.brokers.insert(broker.to_string(), server.version().to_owned());
        Ok(server)
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
            housing: Housing { threads: handle.entry.transport == "inproc", cpus: self.cpus.clone() },
            null_rate: self.null_rate(handle, cell.size),
            script: match cell.part_of {
                // A search wants the limit of what is left alone.
                Some(_) => Script::default(),
                // A floor keeps no account, and so no recording.
                None => {
                    Script { record: plan.record && !handle.floor, pause: plan.pause, ..Script::default() }
                }
            },
        };
        let progress = &mut *self.progress;
        let outcome =
            trial::run(&spec, server, step.trial, self.position, |watch| progress.watch(cell, watch)).await?;
        let good = outcome.trial.failed.is_none();
        let cell = &mut self.run.cells[step.cell];
        self.bundle.save_raw(&cell.id, step.trial, &outcome.raw)?;
        if let Some(recording) = &outcome.recording {
            self.bundle.save_loose(&recording::file(&cell.id, step.trial), &recording.csv())?;
        }
        cell.knobs.extend(outcome.knobs);
        put(cell, outcome.trial);
        summarize(&self.bundle, cell, self.run.seed)?;
        if let (Some(widening), Some(summary)) = (&self.run.widening, &mut cell.summary) {
            agree::apply(widening, summary);
        }
        Ok(good)
    }

    /// What the generator can offer to a transport that does nothing. A floor's
    /// sender stamps nothing: what stamping costs does not hold it back.
    fn null_rate(&self, handle: &Handle, size: u64) -> f64 {
        match handle.floor {
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
fn put(cell: &mut Cell, trial: Trial) {
    cell.trials.retain(|other| other.index != trial.index);
    cell.trials.push(trial);
    cell.trials.sort_by_key(|trial| trial.index);
}

/// What is still to be done, in random order: round by round, broker by broker
/// (one lives at a time and is new in each round), trial by trial.
fn schedule(run: &Run, handles: &[Handle], random: &mut SmallRng) -> Vec<Round> {
    let mut rounds = Vec::new();
    for trial in 0..run.plan.trials {
        let mut round: BTreeMap<Need, Vec<Step>> = BTreeMap::new();
        for (at, cell) in run.cells.iter().enumerate() {
            let Some(handle) = handles.iter().find(|handle| handle.entry.name == cell.lab) else { continue };
            if cell.part_of.is_some() {
                continue;
            }
            if !cell.trials.iter().any(|done| done.index == trial && done.failed.is_none()) {
                round.entry(need(handle)).or_default().push(Step { cell: at, trial });
            }
        }
        let mut blocks: Vec<Block> = round
            .into_iter()
            .map(|(broker, mut steps)| {
                steps.shuffle(random);
                Block { broker, steps }
            })
            .collect();
        blocks.shuffle(random);
        if !blocks.is_empty() {
            rounds.push(Round { trials: trial + 1, blocks });
        }
    }
    rounds
}

/// The broker that a lab needs. Redis writes to disk only for labs that need it.
fn need(handle: &Handle) -> Need {
    let durable = handle.entry.guarantee == Guarantee::Durable && handle.entry.broker == Some(Broker::Redis);
    handle.entry.broker.map(|broker| (broker, durable))
}

/// What the broker's settings allow to promise.
fn note_settings(cell: &mut Cell, server: &Server) {
    let Some((limit, why)) = server.guarantee_limit() else { return };
    if cell.guarantee == Guarantee::Durable.as_str() && limit < Guarantee::Durable {
        cell.guarantee = limit.to_string();
        cell.guarantee_note = Some(why);
    }
}

/// What the good trials say together, from the recordings on disk.
fn summarize(bundle: &Bundle, cell: &mut Cell, seed: u64) -> Result<()> {
    let raw = |trial: &Trial| match trial.failed {
        // One that could not even begin has recorded nothing.
        Some(_) => Ok(Raw::default()),
        None => bundle.raw(&cell.id, trial.index),
    };
    let raws = cell.trials.iter().map(raw).collect::<Result<Vec<_>>>()?;
    cell.summary = stats::summarize(cell, &raws, seed)?;
    Ok(())
}

/// The folder a run is written to when none is given.
pub fn default_out(name: &str) -> Result<std::path::PathBuf> {
    let host = host::file_name(&host::host());
    let stem = format!("{}-{host}-{name}", jiff::Zoned::now().strftime("%Y-%m-%d"));
    let results = Path::new(RESULTS);
    for number in 1..1000 {
        let dir = results.join(if number == 1 { stem.clone() } else { format!("{stem}-{number}") });
        if !dir.exists() {
            return Ok(dir);
        }
    }
    Err(anyhow::anyhow!("results/ has 999 runs of today already")).context("give a folder with --out")
}
