//! The measured loops: one file a pattern, generic over the contract. They are
//! the only ones there are; every lab is driven by these, whether its roles are
//! processes of their own or threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use labs::catalog::{self, Particular, Pattern, Visitor};
use labs::durable::DurablePubSub;
use labs::lab::{Directory, Knob, Lab, Place, Registry};
use labs::oneway::OneWay;
use labs::pipeline::Pipeline;
use labs::pubsub::PubSub;
use labs::queue::Queue;
use labs::reqrep::RequestReply;
use tokio::sync::{mpsc, watch};

use crate::account::Collected;
use crate::clock::{self, Pacer};
use crate::cost::{Own, Usage};
use crate::load::{Schedule, Share};
use crate::record::{Books, INTERVAL, Ledger, Progress, Window};
use crate::results::{Interval, LoadKind};
use crate::stats;

pub mod floor;
pub mod protocol;

mod drive;
mod durable;
mod erased;
mod in_flight;
mod oneway;
mod pipeline;
mod play;
mod pubsub;
mod queue;
mod reqrep;

use protocol::{Act, Event, FromRole, Init, Measure, Report, ToRole};

/// Threads of a role's runtime; 0 is one current-thread runtime, where a
/// message costs no hop between threads.
const RUNTIME_THREADS: Knob =
    Knob::new("runtime-threads", 0, "Threads of a role's runtime; 0: one thread that does everything.");

/// Runs one role of one lab; made from the lab's type, called once a run.
pub type RoleFn = fn(Init, mpsc::UnboundedReceiver<ToRole>, Outbox, Arc<Registry>) -> Result<()>;
/// Removes what a lab has left in the broker; the durable subscribers of these
/// names, too.
pub type RemoveFn = fn(&Place, &[String]) -> Result<()>;

/// Where a role's lines go.
pub type Outbox = Arc<dyn Fn(FromRole) + Send + Sync>;

/// How to run a lab without knowing its type.
#[derive(Clone)]
pub struct Handle {
    /// What the catalog says of it.
    pub entry: catalog::Entry,
    /// Runs a role.
    pub run: RoleFn,
    /// Cleans up.
    pub remove: RemoveFn,
    /// Most publishers, where there is a limit.
    pub publishers: Option<usize>,
    /// A wire floor, which keeps no account but counts.
    pub floor: bool,
}

impl Handle {
    /// A lab that the catalog knows and this build does not have.
    fn not_built_in(entry: catalog::Entry) -> Self {
        let run: RoleFn = |init, _, outbox, _| {
            let error = anyhow::anyhow!("{} is not in this build of `lab`", init.lab);
            outbox(FromRole::Failed { error: error.to_string() });
            Err(error)
        };
        Self { entry, run, remove: |_, _| Ok(()), publishers: None, floor: false }
    }
}

/// Every lab of the catalog, ready to run where it is built in.
pub fn handles() -> Vec<Handle> {
    let mut built = Handles::default();
    catalog::visit(&mut built);
    let handle = |entry: catalog::Entry| {
        let at = built.0.iter().position(|handle| handle.entry.name == entry.name);
        at.map_or_else(|| Handle::not_built_in(entry), |at| built.0[at].clone())
    };
    catalog::entries().into_iter().map(handle).collect()
}

/// Collects handles; also used for labs that are not in the catalog.
#[derive(Default)]
pub struct Handles(pub Vec<Handle>);

impl Handles {
    fn push<L: Lab>(&mut self, pattern: Pattern, particular: Particular, run: RoleFn) {
        let entry = catalog::Entry::of::<L>(pattern, particular);
        self.0.push(Handle { entry, run, remove: remove::<L>, publishers: None, floor: false });
    }
}

impl Visitor for Handles {
    fn one_way<L: OneWay>(&mut self) {
        self.push::<L>(Pattern::OneWay, Particular::None, |init, inbox, outbox, registry| {
            stage(init, inbox, outbox, registry, oneway::run::<L>)
        });
    }
    fn request_reply<L: RequestReply>(&mut self) {
        self.push::<L>(
            Pattern::RequestReply,
            Particular::Matching(L::MATCHING),
            |init, inbox, outbox, registry| stage(init, inbox, outbox, registry, reqrep::run::<L>),
        );
    }
    fn pub_sub<L: PubSub>(&mut self) {
        self.push::<L>(Pattern::PubSub, Particular::Filters(L::FILTERS), |init, inbox, outbox, registry| {
            stage(init, inbox, outbox, registry, pubsub::run::<L>)
        });
        if let Some(handle) = self.0.last_mut() {
            handle.publishers = L::PUBLISHERS;
        }
    }
    fn pipeline<L: Pipeline>(&mut self) {
        self.push::<L>(
            Pattern::Pipeline,
            Particular::Sharing(L::SHARING),
            |init, inbox, outbox, registry| stage(init, inbox, outbox, registry, pipeline::run::<L>),
        );
        if let Some(handle) = self.0.last_mut() {
            handle.remove = remove_pipeline::<L>;
        }
    }
    fn queue<L: Queue>(&mut self) {
        self.push::<L>(
            Pattern::Queue,
            Particular::Confirmed(L::CONFIRMED),
            |init, inbox, outbox, registry| stage(init, inbox, outbox, registry, queue::run::<L>),
        );
    }
    fn durable<L: DurablePubSub>(&mut self) {
        self.push::<L>(Pattern::Durable, Particular::Filters(L::FILTERS), |init, inbox, outbox, registry| {
            stage(init, inbox, outbox, registry, durable::run::<L>)
        });
        if let Some(handle) = self.0.last_mut() {
            handle.remove = remove_durable::<L>;
            handle.publishers = L::PUBLISHERS;
        }
    }
}

fn remove<L: Lab>(place: &Place, _: &[String]) -> Result<()> {
    block_on(L::remove(place).boxed_local())
}

fn remove_durable<L: DurablePubSub>(place: &Place, subscribers: &[String]) -> Result<()> {
    let forget = async {
        let lab = L::open(place).await?;
        for subscriber in subscribers {
            lab.forget(subscriber).await?;
        }
        L::remove(place).await
    };
    block_on(forget.boxed_local())
}

fn remove_pipeline<L: Pipeline>(place: &Place, _: &[String]) -> Result<()> {
    let both = async {
        L::remove(place).await?;
        <L::Control as Lab>::remove(&place.namespace("control")).await
    };
    block_on(both.boxed_local())
}

/// Runs something of a lab to its end. Boxed, so that a runtime's inside is compiled
/// once and not for each lab.
pub fn block_on<T>(work: LocalBoxFuture<'_, Result<T>>) -> Result<T> {
    runtime(0)?.block_on(work)
}

/// A runtime for one role (or one errand).
pub fn runtime(threads: usize) -> Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.max(1)).enable_all().build().context("cannot start a runtime")
}

/// Sets the stage for a role, lets it play, and tells how it went.
fn stage<F: Future<Output = Result<()>> + 'static>(
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    outbox: Outbox,
    registry: Arc<Registry>,
    play: fn(Stage) -> F,
) -> Result<()> {
    // Boxed once a run, so that what is around it is compiled once and not for each lab.
    set(init, inbox, outbox, registry, &|stage| Box::pin(play(stage)))
}

fn set(
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    outbox: Outbox,
    registry: Arc<Registry>,
    play: &dyn Fn(Stage) -> LocalBoxFuture<'static, Result<()>>,
) -> Result<()> {
    let role = init.role();
    let directory = Arc::new(Directory::conducted());
    let place = Place::new(&init.name, init.url.as_deref())
        .with_role(&role)
        .with_directory(Arc::clone(&directory))
        .with_bind(init.bind.clone())
        .with_knobs(init.knobs.clone())
        .with_registry(registry);
    let threads = place.knob(RUNTIME_THREADS);
    let failed = Arc::clone(&outbox);
    let result = runtime(threads)?.block_on(async {
        let (start, started) = watch::channel(None);
        let (drain, draining) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let (act, acts) = mpsc::unbounded_channel();
        tokio::spawn(listen(inbox, Arc::clone(&directory), Cues { start, drain, stop, act }));
        tokio::spawn(announce(directory, Arc::clone(&outbox)));
        play(Stage { init, place, outbox, started, draining, stopped, acts }).await
    });
    if let Err(error) = &result {
        failed(FromRole::Failed { error: format!("{error:#}") });
    }
    result
}

/// What a role is told while it plays.
struct Cues {
    start: watch::Sender<Option<u64>>,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    act: mpsc::UnboundedSender<Act>,
}

/// Takes the conductor's lines as they come, whatever the role is busy with.
async fn listen(mut inbox: mpsc::UnboundedReceiver<ToRole>, directory: Arc<Directory>, cues: Cues) {
    let Cues { start, drain, stop, act } = cues;
    while let Some(line) = inbox.recv().await {
        match line {
            ToRole::Init(_) => {}
            ToRole::Peers { peers } => {
                peers.into_iter().for_each(|(namespace, addresses)| directory.tell(&namespace, addresses));
            }
            ToRole::Go { start: at } => start.send_modify(|start| *start = Some(at)),
            ToRole::Drain => drain.send_modify(|drain| *drain = true),
            // A role that has ended needs no more telling.
            ToRole::Act(what) => drop(act.send(what)),
            ToRole::Stop => stop.send_modify(|stop| *stop = true),
        }
    }
    // The conductor has gone: there is nobody to play for.
    stop.send_modify(|stop| *stop = true);
    std::future::pending::<()>().await;
}

async fn announce(directory: Arc<Directory>, outbox: Outbox) {
    let mut announcements = directory.announcements();
    let mut told = 0;
    loop {
        let list = announcements.borrow_and_update().clone();
        for (namespace, address) in &list[told..] {
            outbox(FromRole::Bound { namespace: namespace.clone(), address: address.clone() });
        }
        told = list.len();
        if announcements.changed().await.is_err() {
            return;
        }
    }
}

/// What a role has around it while it plays.
pub(crate) struct Stage {
    init: Init,
    place: Place,
    outbox: Outbox,
    started: watch::Receiver<Option<u64>>,
    draining: watch::Receiver<bool>,
    stopped: watch::Receiver<bool>,
    acts: mpsc::UnboundedReceiver<Act>,
}

impl Stage {
    fn measure(&self) -> Result<&Measure> {
        self.init.measure.as_ref().context("this role was not told what to measure")
    }

    /// Tells that the role has joined.
    fn ready(&self) {
        (self.outbox)(FromRole::Ready);
    }

    /// The common start. Call [`Stage::ready`] first.
    async fn go(&self) -> Result<Window> {
        let measure = self.measure()?;
        let mut started = self.started.clone();
        let start = started.wait_for(Option::is_some).await.context("the conductor has gone")?;
        let start = start.unwrap_or_default();
        if measure.load.kind == LoadKind::Drain {
            // A backlog takes as long as it takes, and all of it counts.
            return Ok(Window { start, from: start, to: u64::MAX });
        }
        let from = start + measure.warmup_ns;
        Ok(Window { start, from, to: from + measure.measure_ns })
    }

    /// Whether a backlog is to be queued up before anything is received.
    fn is_backlog(&self) -> Result<bool> {
        Ok(self.measure()?.load.kind == LoadKind::Drain)
    }

    /// Returns when the backlog is there, and is to be drained.
    async fn backlog(&self) -> Result<()> {
        let mut draining = self.draining.clone();
        draining.wait_for(|drain| *drain).await.context("the conductor has gone")?;
        Ok(())
    }

    /// How many messages this sender has to send, where the load says it: its
    /// share of a backlog.
    fn quota(&self) -> Result<Option<u64>> {
        let (senders, index) = (self.init.senders as u64, self.init.index as u64);
        let share = |all: u64| all / senders + u64::from(index < all % senders);
        Ok(self.measure()?.load.messages.filter(|_| self.is_backlog().is_ok_and(|yes| yes)).map(share))
    }

    /// When this sender's messages are due, at a rate; `None` for other loads.
    fn schedule(&self) -> Result<Option<Schedule>> {
        let measure = self.measure()?;
        let share = Share {
            seed: measure.seed,
            index: self.init.index,
            senders: self.init.senders,
            length_ns: measure.warmup_ns + measure.measure_ns,
        };
        Ok(Schedule::new(&measure.load, share))
    }

    /// How many messages were due in each interval: the schedule says it again,
    /// so that nothing has to be counted while messages move.
    fn offered(&self) -> Result<Vec<Interval>> {
        let measure = self.measure()?;
        let length = measure.warmup_ns + measure.measure_ns;
        let mut series = Vec::new();
        for due in self.schedule()?.into_iter().flatten().take_while(|due| *due < length) {
            let at = (due / INTERVAL) as usize;
            series.resize(series.len().max(at + 1), Interval::default());
            series[at].offered += 1;
        }
        Ok(series)
    }

    /// Returns when the conductor says stop.
    fn stop(&self) -> impl Future<Output = ()> + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // An error means that the conductor has gone, which is a stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    }

    fn event(&self, event: Event) {
        (self.outbox)(FromRole::Event(event));
    }

    fn ledger(&self, window: Window) -> Result<Ledger> {
        let measure = self.measure()?;
        let (role, index) = (self.init.role(), self.init.index);
        let mut ledger = Ledger::open(&measure.accounts, &role, self.init.run, index, measure.size, window)?;
        if measure.record {
            ledger.keep(&measure.accounts, &role)?;
        } else if !measure.load.is_open() {
            ledger.in_a_closed_loop();
        }
        if measure.bare {
            ledger.strip();
        }
        Ok(ledger)
    }

    fn books(&self, progress: Progress, window: Window) -> Result<Books> {
        let measure = self.measure()?;
        let latencies = measure.load.is_open();
        let (role, producers) = (self.init.role(), 0..self.init.senders);
        let run = self.init.run;
        let mut books = Books::open(&measure.accounts, &role, run, producers, progress, latencies, window)?;
        if latencies && !measure.bare && self.init.kind == protocol::Kind::Sink {
            books.keep_times(Collected::open(&measure.accounts, &role, self.init.senders)?);
        }
        if measure.record {
            books.keep(&measure.accounts, &role)?;
        } else if !latencies {
            books.in_a_closed_loop();
        }
        if measure.bare {
            books.strip();
        }
        Ok(books)
    }

    /// Reads the cost of the measured window, beside the role.
    fn meter(&self, window: Window) -> Result<Meter> {
        let threads = self.measure()?.threads;
        let pacer = Pacer::new()?;
        let stop = self.stop();
        let usage = tokio::spawn(async move {
            pacer.sleep_until(window.from).await?;
            let own = Own::begin(threads)?;
            tokio::select! {
                slept = pacer.sleep_until(window.to) => drop(slept?),
                // A backlog's window has no end of its own.
                () = stop, if window.to == u64::MAX => {}
            }
            own.end()
        });
        Ok(Meter { usage })
    }

    fn done(&self, sent: u64) {
        (self.outbox)(FromRole::Done { sent });
    }

    /// The role's last line.
    async fn report(&self, ledger: Option<Ledger>, books: Option<Books>, meter: Meter) -> Result<()> {
        let offered = if ledger.is_some() { self.offered()? } else { Vec::new() };
        let fill = |report: &mut Report| {
            if let Some(ledger) = ledger {
                report.lag = stats::encode(&ledger.lag)?;
                report.pacer = stats::encode(&ledger.pacer)?;
                report.confirm = stats::encode(&ledger.confirm)?;
                report.span = ledger.span;
            }
            if let Some(books) = books {
                report.measured = books.measured;
                report.response = stats::encode(&books.response)?;
                report.service = stats::encode(&books.service)?;
                report.span = Some(books.span());
                report.series = books.series;
            }
            report.series.resize(report.series.len().max(offered.len()), Interval::default());
            for (interval, due) in report.series.iter_mut().zip(&offered) {
                interval.offered = due.offered;
            }
            Ok(())
        };
        self.tell(meter, fill).await
    }

    /// The last line of a role that fills in by itself what it has measured.
    async fn tell(&self, meter: Meter, fill: impl FnOnce(&mut Report) -> Result<()>) -> Result<()> {
        let usage = meter.usage.await.context("the meter has stopped")??;
        let mut report = Report { usage, knobs: self.place.knobs_read(), ..Report::default() };
        fill(&mut report)?;
        (self.outbox)(FromRole::Report(Box::new(report)));
        Ok(())
    }
}

struct Meter {
    usage: tokio::task::JoinHandle<Result<Usage>>,
}

/// Runs the role that the first line of stdin asks for; for a process of its own.
pub fn main(handles: &[Handle]) -> Result<()> {
    use std::io::{BufRead as _, Write as _};
    let (lines, inbox) = mpsc::unbounded_channel();
    let mut input = std::io::stdin().lock().lines();
    let first = input.next().context("no init line came")??;
    let ToRole::Init(init) = serde_json::from_str(&first).context("the first line is not an init line")?
    else {
        anyhow::bail!("the first line must be an init line");
    };
    let floors = floor::handles();
    let handle = handles
        .iter()
        .chain(&floors)
        .find(|handle| handle.entry.name == init.lab)
        .with_context(|| format!("there is no lab `{}`", init.lab))?;
    drop(input);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(line) => drop(lines.send(line)),
                Err(error) => eprintln!("not a line of the protocol: {error}: {line}"),
            }
        }
        // The conductor has gone; a role has no life of its own.
        drop(lines);
        std::thread::sleep(std::time::Duration::from_secs(2));
        std::process::exit(1);
    });
    let outbox: Outbox = Arc::new(|line| {
        let Ok(mut text) = serde_json::to_string(&line) else { return };
        text.push('\n');
        let mut out = std::io::stdout().lock();
        // Nobody listens any more: the reader thread will see the same and end us.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    });
    (handle.run)(*init, inbox, outbox, Arc::default())
}

/// For errors that come one after the other: the first few are refusals, then
/// it is a failure.
struct Patience(u32);

impl Patience {
    const LIMIT: u32 = 10;

    fn new() -> Self {
        Self(0)
    }

    fn good(&mut self) {
        self.0 = 0;
    }

    fn bad(&mut self, error: anyhow::Error) -> Result<()> {
        self.0 += 1;
        if self.0 >= Self::LIMIT {
            return Err(error.context(format!("{} messages in a row were refused", self.0)));
        }
        Ok(())
    }
}

/// The value of a knob of the harness itself, at least 1; recorded with those of the labs.
fn knob(place: &Place, knob: Knob) -> usize {
    place.knob(knob).max(1)
}

/// The knobs of the loops that measure a pattern; labs have their own.
pub fn knobs(pattern: Pattern) -> &'static [Knob] {
    match pattern {
        Pattern::OneWay | Pattern::PubSub => &[drive::FLUSH_EVERY, RUNTIME_THREADS],
        Pattern::RequestReply => &[reqrep::IN_FLIGHT, RUNTIME_THREADS],
        Pattern::Pipeline => {
            &[pipeline::WORK_US, pipeline::WORKER_BATCH, drive::FLUSH_EVERY, RUNTIME_THREADS]
        }
        Pattern::Queue => &[queue::PREFETCH, queue::IN_FLIGHT, queue::PLAY_PREFETCH, RUNTIME_THREADS],
        Pattern::Durable => &[drive::FLUSH_EVERY, RUNTIME_THREADS],
    }
}

/// Namespaces to addresses, as [`ToRole::Peers`] carries them.
pub type Peers = BTreeMap<String, Vec<String>>;

/// The time a role has to leave the stage after it was told to stop, ns.
pub const LEAVE: u64 = 5 * clock::SECOND;
