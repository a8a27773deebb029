//! A whole run: every cell of a plan, trial by trial, in random order, written
//! down as it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use labs::lab::{Broker, Guarantee};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::broker::{self, Options, Server, Source};
use crate::bundle::{Bundle, Cell, FLOOR, Load, LoadKind, Plan, Run, SCHEMA, Skipped, Trial};
use crate::conduct::Housing;
use crate::noise::Meter;
use crate::role::{Handle, floor};
use crate::trial::{self, Script, Spec, Watch};
use crate::{guard, host, load, plan, recording, stats};

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

/// How a run tells its progress.
pub trait Progress {
    /// So many trials are to be made.
    fn begin(&mut self, trials: usize, skipped: &[Skipped]);
    /// A broker is being started.
    fn broker(&mut self, broker: Broker);
    /// A trial goes on.
    fn watch(&mut self, cell: &Cell, watch: &Watch<'_>);
    /// A trial has ended; about so many seconds are left.
    fn trial(&mut self, cell: &Cell, made: usize, left_s: f64);
}

/// One trial that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    cell: usize,
    trial: usize,
}

/// The trials that share one start of a broker.
struct Block {
    broker: Option<(Broker, bool)>,
    steps: Vec<Step>,
}

/// Makes every trial of the plan. What was finished is on disk at every moment.
pub async fn run(request: &Request<'_>, progress: &mut impl Progress) -> Result<Run> {
    let plan = &request.plan;
    plan::check(plan)?;
    let wanted = plan::select(request.handles, &plan.labs)?;
    for handle in &wanted {
        trial::check_shape(handle, plan.senders, plan.receivers)?;
    }
    let cpus = plan.cpus.as_deref().map(plan::parse_cpus).transpose()?.unwrap_or_default();
    let (mut handles, sources, skipped) = available(wanted, &request.urls, request.strict)?;
    handles.extend(floors(plan, &handles));
    let (bundle, run) = open(request, &handles, skipped)?;
    let mut random = SmallRng::seed_from_u64(run.seed);
    let blocks = schedule(&run, &handles, &mut random);
    let total: usize = blocks.iter().map(|block| block.steps.len()).sum();
    progress.begin(total, &run.skipped);
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
        total,
        progress,
    };
    for block in blocks {
        work.block(&block).await?;
    }
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
    total: usize,
    position: usize,
    progress: &'a mut P,
}

impl<P: Progress> Work<'_, P> {
    /// The trials that share a broker. One that has seen a failed trial may be
    /// dead, stuck or full: the next trial gets a new one.
    async fn block(&mut self, block: &Block) -> Result<()> {
        let mut server = None;
        let mut unstartable: Option<String> = None;
        for step in &block.steps {
            if let (None, None, Some(kind)) = (&server, &unstartable, block.broker) {
                match self.start(kind, block).await {
                    Ok(started) => server = Some(started),
                    Err(error) => unstartable = Some(format!("{} does not start: {error:#}", kind.0)),
                }
            }
            let good = match &unstartable {
                Some(reason) => self.give_up(*step, reason.clone()),
                None => self.make(*step, server.as_mut()).await?,
            };
            self.bundle.save(&self.run)?;
            (self.made, self.position) = (self.made + 1, self.position + 1);
            let left_s =
                self.began.elapsed().as_secs_f64() / self.made as f64 * (self.total - self.made) as f64;
            self.progress.trial(&self.run.cells[step.cell], self.made, left_s);
            if !good && let Some(old) = server.take() {
                // It has failed already; what stopping it says adds nothing.
                let _ = old.stop().await;
            }
        }
        match server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    async fn start(&mut self, (broker, durable): (Broker, bool), block: &Block) -> Result<Server> {
        self.progress.broker(broker);
        let options = Options { durable, dir: &guard::session_dir() };
        let server = Server::start(broker, &self.sources[&broker], &options).await?;
        let variant = if durable { " (durable)" } else { "" };
        self.run.versions.settings.insert(format!("{broker}{variant}"), server.settings().clone());
        self.run.versions.brokers.insert(broker.to_string(), server.version().to_owned());
        note_settings(&mut self.run, &server, block);
        Ok(server)
    }

    /// Makes one trial; whether it was good.
    async fn make(&mut self, step: Step, server: Option<&mut Server>) -> Result<bool> {
        let (plan, cell) = (&self.run.plan, &self.run.cells[step.cell]);
        let handle = plan::lab(&self.handles, &cell.lab)?;
        let spec = Spec {
            handle: handle.clone(),
            size: usize::try_from(cell.size)?,
            load: cell.load.clone(),
            senders: cell.senders,
            receivers: cell.receivers,
            warmup: plan.warmup_s,
            seconds: plan.seconds,
            drain: plan.drain_s,
            window: plan.window,
            knobs: plan.knobs.clone(),
            seed: self.random.random(),
            housing: Housing { threads: handle.entry.transport == "inproc", cpus: self.cpus.clone() },
            // A floor's sender stamps nothing: what stamping costs does not hold it back.
            null_rate: match handle.floor {
                true => f64::INFINITY,
                false => self.null_rates.get(&cell.size).copied().unwrap_or(f64::INFINITY),
            },
            // A floor keeps no account, and so no recording.
            script: Script { record: plan.record && !handle.floor, pause: plan.pause, lockstep: false },
        };
        let progress = &mut *self.progress;
        let outcome =
            trial::run(&spec, server, step.trial, self.position, |watch| progress.watch(cell, watch)).await?;
        let good = outcome.trial.failed.is_none();
        let cell = &mut self.run.cells[step.cell];
        self.bundle.save_raw(&cell.id, step.trial, &outcome.raw)?;
        if let Some(recording) = &outcome.recording {
            self.bundle.write(&recording::file(&cell.id, step.trial), &recording.csv())?;
        }
        cell.knobs.extend(outcome.knobs);
        put(cell, outcome.trial);
        summarize(&self.bundle, cell, self.run.seed)?;
        Ok(good)
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

/// Which of the labs can run here, from which brokers, and which cannot.
type Available = (Vec<Handle>, BTreeMap<Broker, Source>, Vec<Skipped>);

fn available(wanted: Vec<Handle>, urls: &BTreeMap<String, String>, strict: bool) -> Result<Available> {
    let mut sources = BTreeMap::new();
    let mut missing = BTreeMap::new();
    for broker in wanted.iter().filter_map(|handle| handle.entry.broker) {
        match broker::find(broker, urls) {
            Ok(source) => drop(sources.insert(broker, source)),
            Err(why) => drop(missing.insert(broker, why.to_string())),
        }
    }
    let (mut handles, mut skipped) = (Vec::new(), Vec::new());
    for handle in wanted {
        let entry = &handle.entry;
        let reason = entry.broker.and_then(|broker| match sources.get(&broker) {
            Some(source) => Source::why_not(source, broker, entry.guarantee, entry.transport),
            None => missing.get(&broker).cloned(),
        });
        match reason {
            Some(reason) if strict => bail!("{} cannot run: {reason}", handle.entry.name),
            Some(reason) => skipped.push(Skipped { lab: handle.entry.name, reason }),
            None => handles.push(handle),
        }
    }
    ensure!(!handles.is_empty(), "none of these labs can run here: {}", skipped[0].reason);
    Ok((handles, sources, skipped))
}

/// A new bundle, or the one to go on with.
fn open(request: &Request<'_>, handles: &[Handle], skipped: Vec<Skipped>) -> Result<(Bundle, Run)> {
    if request.resume {
        let (bundle, run) = Bundle::open(request.out)?;
        ensure!(
            run.plan == request.plan,
            "{} was made with another plan; give the same labs and options as then, or a new --out",
            request.out.display()
        );
        return Ok((bundle, run));
    }
    let bundle = Bundle::create(request.out)?;
    let meter = Meter::start();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let noise = meter.stop();
    let plan = &request.plan;
    let mut cells = Vec::new();
    for handle in handles {
        for &size in &plan.sizes {
            for load in &plan.loads {
                cells.push(cell(handle, size, plan, load));
            }
        }
    }
    let all: BTreeSet<String> = cells.iter().map(|cell| cell.id.clone()).collect();
    for cell in &mut cells {
        cell.floor = cell.floor.take().filter(|floor| all.contains(floor));
    }
    let run = Run {
        schema: SCHEMA,
        name: request.out.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        created: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        seed: request.seed,
        complete: false,
        host: host::host(),
        versions: host::versions(BTreeMap::new()),
        noise,
        plan: plan.clone(),
        cells,
        skipped,
    };
    bundle.save(&run)?;
    Ok((bundle, run))
}

/// The wire floors beneath these labs. Floors have one sender and one receiver.
fn floors(plan: &Plan, labs: &[Handle]) -> Vec<Handle> {
    let names: BTreeSet<String> = labs.iter().filter_map(|lab| floor::beneath(&lab.entry)).collect();
    let wanted = plan.floor && (plan.senders, plan.receivers) == (1, 1);
    floor::handles().into_iter().filter(|floor| wanted && names.contains(&floor.entry.name)).collect()
}

fn cell(handle: &Handle, size: u64, plan: &Plan, load: &Load) -> Cell {
    let entry = &handle.entry;
    let label = match load.kind {
        LoadKind::Max => "max".to_owned(),
        LoadKind::Rate => load.label().replace("/s", "ps").replace(' ', "-"),
    };
    let id = |name: &str| format!("{name}.{size}B.{}x{}.{label}", plan.senders, plan.receivers);
    Cell {
        id: id(&entry.name),
        lab: entry.name.clone(),
        pattern: if handle.floor { FLOOR.to_owned() } else { entry.pattern.to_string() },
        transport: entry.transport.to_owned(),
        variant: entry.variant.map(str::to_owned),
        guarantee: entry.guarantee.to_string(),
        guarantee_note: None,
        overload: entry.overload.to_string(),
        broker: entry.broker.map(|broker| broker.to_string()),
        source: entry.source.clone(),
        size,
        senders: plan.senders,
        receivers: plan.receivers,
        load: load.clone(),
        knobs: BTreeMap::new(),
        trials: Vec::new(),
        summary: None,
        floor: floor::beneath(entry).filter(|_| !handle.floor).map(|name| id(&name)),
    }
}

/// What is still to be done, in random order: round by round, broker by broker
/// (one lives at a time and is new in each round), trial by trial.
fn schedule(run: &Run, handles: &[Handle], random: &mut SmallRng) -> Vec<Block> {
    let mut blocks = Vec::new();
    for trial in 0..run.plan.trials {
        let mut round: BTreeMap<Option<(Broker, bool)>, Vec<Step>> = BTreeMap::new();
        for (at, cell) in run.cells.iter().enumerate() {
            let Some(handle) = handles.iter().find(|handle| handle.entry.name == cell.lab) else { continue };
            let durable =
                handle.entry.guarantee == Guarantee::Durable && handle.entry.broker == Some(Broker::Redis);
            let key = handle.entry.broker.map(|broker| (broker, durable));
            if !cell.trials.iter().any(|done| done.index == trial && done.failed.is_none()) {
                round.entry(key).or_default().push(Step { cell: at, trial });
            }
        }
        let mut round: Vec<Block> = round
            .into_iter()
            .map(|(broker, mut steps)| {
                steps.shuffle(random);
                Block { broker, steps }
            })
            .collect();
        round.shuffle(random);
        blocks.extend(round);
    }
    blocks
}

/// What the broker's settings allow to promise.
fn note_settings(run: &mut Run, server: &Server, block: &Block) {
    let Some((limit, why)) = server.guarantee_limit() else { return };
    for step in &block.steps {
        let cell = &mut run.cells[step.cell];
        if cell.guarantee == Guarantee::Durable.as_str() && limit < Guarantee::Durable {
            cell.guarantee = limit.to_string();
            cell.guarantee_note = Some(why.clone());
        }
    }
}

/// What the good trials say together, from the recordings on disk.
fn summarize(bundle: &Bundle, cell: &mut Cell, seed: u64) -> Result<()> {
    let raws: Vec<_> =
        cell.trials.iter().map(|trial| bundle.raw(&cell.id, trial.index).unwrap_or_default()).collect();
    cell.summary = stats::summarize(cell, &raws, seed)?;
    Ok(())
}

/// The folder a run is written to when none is given.
pub fn default_out(name: &str) -> Result<std::path::PathBuf> {
    let host = host::host().name;
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let stem = format!("{}-{host}-{name}", jiff::Zoned::now().strftime("%Y-%m-%d"));
    let results = Path::new("results");
    for number in 1..1000 {
        let dir = results.join(if number == 1 { stem.clone() } else { format!("{stem}-{number}") });
        if !dir.exists() {
            return Ok(dir);
        }
    }
    Err(anyhow::anyhow!("results/ has 999 runs of today already")).context("give a folder with --out")
}
